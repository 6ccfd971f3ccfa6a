"""Training and evaluation of the jobs of a comparison, in this process or in several."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing import connection, get_context
from typing import Any, NoReturn

from slotfill.config.registry import (
    are_external_parts_trusted,
    loaded_part_files,
    trust_external_parts,
)
from slotfill.data.splits import read_split
from slotfill.errors import SlotfillError, UsageError, format_count
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import slot_counts
from slotfill.files import write_in_folder
from slotfill.inference.tagging import predict
from slotfill.lab.compare.job import (
    Job,
    hash_data,
    hash_files,
    is_finished,
    is_trained,
    list_evaluated_splits,
    read_result,
)
from slotfill.lab.compare.plan import Plan
from slotfill.lab.contracts.check import find_part_problem
from slotfill.runs.folder import RunFolder, find_stopped_run, is_in_use
from slotfill.runs.load import load_run, read_scores
from slotfill.runs.lock import LockedError
from slotfill.runs.manifest import RunFiles
from slotfill.runs.train import train
from slotfill.version import FORMAT

Outcome = tuple[Job, str | None]
"""A job that has ended, and its error, if any."""

JobCallback = Callable[[Job, str], None]
"""Called with a job and a message about it."""

_IN_USE = "is trained by another process"
"""The outcome of a job that another process trains."""

_INTERVAL = 1.0
"""Seconds between two looks at jobs that other processes train."""


class Stopped(BaseException):
    """Ctrl-C: finished jobs are kept, and the others can be resumed from their last epoch.

    It is not a KeyboardInterrupt, which would only end the current training early.
    """


def run_jobs(
    plan: Plan, callback: JobCallback, *, processes: int = 1, device: str = "cpu"
) -> dict[str, str]:
    """Train and evaluate the unfinished jobs of `plan`; return the errors of failed jobs by title.

    Jobs that other processes train are waited for, and taken over if these end. Raises Stopped on
    Ctrl-C.
    """
    unfinished = [job for job in plan.jobs if not is_finished(job)]
    pending, waiting, errors = unfinished, set[str](), dict[str, str]()
    done = 0
    handler = signal.signal(signal.SIGINT, _raise_stopped)
    try:
        while pending:
            in_use = [job for job in pending if is_in_use(job.folder)]
            starting = _announce([job for job in pending if job not in in_use], callback)
            outcomes: Iterator[Outcome] = ((job, _run_job(job, device)) for job in starting)
            if processes > 1:
                outcomes = _run_parallel(starting, device, processes)
            for job, error in outcomes:
                if error == _IN_USE:
                    in_use.append(job)
                    continue
                done += 1
                if error is not None:
                    errors[job.title] = error
                message = _summarize(job) if error is None else f"failed: {error}"
                callback(job, f"{message}; {done} of {len(unfinished)} done")
            for job in in_use:
                if job.title not in waiting:
                    callback(job, _IN_USE)
                waiting.add(job.title)
            if in_use:
                time.sleep(_INTERVAL)
            pending = in_use
    finally:
        signal.signal(signal.SIGINT, handler)
    return errors


def _raise_stopped(*_: object) -> NoReturn:
    raise Stopped


def _announce(jobs: Iterable[Job], callback: JobCallback) -> Iterator[Job]:
    """Yield each job when it is about to start; one that another process has finished, silently."""
    for job in jobs:
        if not is_finished(job):
            callback(job, "resumes" if find_stopped_run(job.folder) else "starts")
        yield job


def _summarize(job: Job) -> str:
    result = read_result(job)
    assert result is not None
    split, scores = next(iter(result["scores"].items()))
    training, _ = read_scores(RunFiles(job.folder))
    duration = f"{format_count(training['epochs'], 'epoch')} in {training['train_seconds']:.0f} s"
    return f"{split} F1 {scores['overall']['f1']:.2f}, {duration}"


def _run_parallel(jobs: Iterator[Job], device: str, processes: int) -> Iterator[Outcome]:
    """Run each job in a new process, at most `processes` at a time; yield it and its error."""
    # The processes are forks of a server that has imported torch, and has used no device.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    running: dict[Any, tuple[Job, Any]] = {}
    try:
        while True:
            for job in islice(jobs, processes - len(running)):
                receiver, sender = context.Pipe(duplex=False)
                arguments = (job, device, are_external_parts_trusted(), sender)
                process = context.Process(target=_work, args=arguments, daemon=True)
                # Processes inherit ignored signals: Ctrl-C is for the parent alone.
                handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
                process.start()
                signal.signal(signal.SIGINT, handler)
                sender.close()
                running[receiver] = job, process
            if not running:
                return
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
        if not is_finished(job):  # Another process may have finished it.
            _train(job, device)
            _evaluate(job, device)
    except LockedError:
        return _IN_USE
    except SlotfillError as error:
        return str(error)
    except (Exception, SystemExit) as error:
        problem = find_part_problem(error) if loaded_part_files() else None
        if problem is None and isinstance(error, SystemExit):
            raise
        # A bug in one job must not cost the hours of the others.
        return problem or f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _train(job: Job, device: str) -> None:
    """Train a job to its end unless it is."""
    if is_trained(job):
        return
    try:
        folder = RunFolder(job.folder, resume=find_stopped_run(job.folder) is not None)
        if not folder.complete():
            train(job.config, folder, lambda progress: None, device=device)
    except UsageError:
        if not is_trained(job):  # By another process, which was faster.
            raise


def _evaluate(job: Job, device: str) -> None:
    """Evaluate the model of a job on each split and write the result next to its folder."""
    import torch

    torch.set_num_threads(job.config.train.processes)
    run = load_run(job.folder, device, "torch")
    data = job.config.data
    counts, scores, speeds = {}, {}, []
    for split in list_evaluated_splits(data):
        sentences = read_split(data, split, tokenizer=run.vocab.tokenizer).sentences
        scores[split] = evaluate(run.engine, run.vocab, sentences, run.calibration).to_json()
        # The second prediction is timed: the first one warms up.
        start = time.perf_counter()
        slots = predict(run.engine, run.vocab, sentences)[0]
        speeds.append(scores[split]["tokens"] / (time.perf_counter() - start))
        counts[split] = slot_counts(sentences, slots).tolist()
    result = {
        "format": FORMAT,
        "weights": hash_files(job.folder / "model.safetensors"),
        "sentences": hash_data(data),
        "tokens_per_second": speeds[0],
        "scores": scores,
        "counts": counts,
    }
    write_in_folder(job.result_path, json.dumps(result, ensure_ascii=False))
