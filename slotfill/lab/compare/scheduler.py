"""Scheduler of a comparison: train and evaluate jobs, one at a time or several in parallel."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from multiprocessing import connection, get_context
from typing import Any, NoReturn

from slotfill.config.registry import external_parts_trusted, trust_external_parts
from slotfill.data.splits import read_split
from slotfill.errors import SlotfillError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import slot_counts
from slotfill.files import write_atomically
from slotfill.inference.tagging import predict
from slotfill.lab.compare import jobs
from slotfill.lab.compare.jobs import Job, JobResult, Plan
from slotfill.runs.folder import RunFolder, stopped_run
from slotfill.runs.load import load_run, read_text
from slotfill.runs.train import train

JobCallback = Callable[[Job, str], None]
"""Called with a job and a message about it."""

Outcome = tuple[Job, str | None]
"""A job that has ended, and its error, if any."""


class Stopped(BaseException):
    """Ctrl-C: finished jobs are kept, and the others can be resumed from their last epoch.

    It is not a KeyboardInterrupt, which would only end the current training early.
    """


def run_jobs(
    plan: Plan, callback: JobCallback, *, processes: int = 1, device: str = "cpu"
) -> dict[str, str]:
    """Train and evaluate the unfinished jobs of `plan`; return the errors of failed jobs by title.

    Raises Stopped on Ctrl-C.
    """
    waiting = [job for job in plan.jobs if not jobs.is_finished(job)]
    errors = {}
    handler = signal.signal(signal.SIGINT, _raise_stopped)
    try:
        if processes == 1:
            outcomes = _run_sequential(waiting, callback, device)
        else:
            outcomes = _run_parallel(waiting, callback, device, processes)
        for count, (job, error) in enumerate(outcomes, start=1):
            if error is not None:
                errors[job.title] = error
            message = _summary(job) if error is None else f"failed: {error}"
            callback(job, f"{message}; {count} of {len(waiting)} done")
    finally:
        signal.signal(signal.SIGINT, handler)
    return errors


def _raise_stopped(*_: object) -> NoReturn:
    raise Stopped


def _summary(job: Job) -> str:
    """Return the main figures of a finished job."""
    result = jobs.read_result(job)
    assert result is not None
    split, scores = next(iter(result.scores.items()))
    training = json.loads(read_text(job.folder / "scores.json"))
    duration = f"{training['epochs']} epochs in {training['train_seconds']:.0f} s"
    return f"{split} F1 {scores['overall']['f1']:.2f}, {duration}"


def _announce(job: Job, callback: JobCallback) -> None:
    callback(job, "resumes" if stopped_run(job.folder) else "starts")


def _run_sequential(
    waiting: Sequence[Job], callback: JobCallback, device: str
) -> Iterator[Outcome]:
    for job in waiting:
        _announce(job, callback)
        yield job, _run_job(job, device)


def _run_parallel(
    waiting: Sequence[Job], callback: JobCallback, device: str, processes: int
) -> Iterator[Outcome]:
    """Run each job in a new process, at most `processes` at a time."""
    context = get_context("spawn")
    queue = list(waiting)
    running: dict[Any, tuple[Job, Any]] = {}
    try:
        while queue or running:
            while queue and len(running) < processes:
                job = queue.pop(0)
                _announce(job, callback)
                receiver, sender = context.Pipe(duplex=False)
                arguments = (job, device, external_parts_trusted(), sender)
                process = context.Process(target=_work, args=arguments, daemon=True)
                # Processes inherit ignored signals: Ctrl-C is for the parent alone.
                handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
                process.start()
                signal.signal(signal.SIGINT, handler)
                sender.close()
                running[receiver] = job, process
            ready: Any
            for ready in connection.wait(list(running)):
                job, process = running[ready]
                try:
                    error = ready.recv()
                except EOFError:
                    error = "worker process was killed"
                process.join()
                del running[ready]
                yield job, error
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _work(job: Job, device: str, trust: bool, sender: Any) -> None:
    with trust_external_parts(trust):
        sender.send(_run_job(job, device))


def _run_job(job: Job, device: str) -> str | None:
    """Train a job to its end and evaluate it; return the error, if any."""
    try:
        if not jobs.is_trained(job):
            folder = RunFolder(job.folder, resume=stopped_run(job.folder) is not None)
            if not folder.complete():
                train(job.config, folder, lambda progress: None, device=device)
        _evaluate(job, device)
    except SlotfillError as error:
        return str(error)
    except Exception as error:  # A bug in one job must not cost the hours of the others.
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _evaluate(job: Job, device: str) -> None:
    """Evaluate the model of a job on each split and write the result next to its folder."""
    import torch

    torch.set_num_threads(job.config.train.processes)
    run = load_run(job.folder, device, "torch")
    data = job.config.data
    counts, scores, speeds = {}, {}, []
    for split in jobs.evaluated_splits(data):
        sentences = read_split(data, split, tokenizer=run.tokenizer).sentences
        scores[split] = evaluate(run.engine, run.vocab, sentences).to_json()
        # The second prediction is timed: the first one warms up.
        start = time.perf_counter()
        slots = predict(run.engine, run.vocab, sentences)[0]
        speeds.append(scores[split]["tokens"] / (time.perf_counter() - start))
        counts[split] = slot_counts(sentences, slots).tolist()
    weights = jobs.hash_files(job.folder / "model.safetensors")
    result = JobResult(weights, jobs.data_hashes(data), speeds[0], scores, counts)
    write_atomically(job.result_path, json.dumps(asdict(result), ensure_ascii=False))
