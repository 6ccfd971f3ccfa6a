"""Jobs of a comparison: each config trained on each corpus with each seed, one run folder each.

Next to a run folder, `NAME-seedN.json` holds the scores and the slot counts of each sentence.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice, product
from multiprocessing import connection, get_context
from os.path import relpath
from pathlib import Path
from typing import Any, NoReturn

from slotfill.config.builtin import expand_configs, load_config
from slotfill.config.models import Config, DataConfig
from slotfill.config.registry import (
    are_external_parts_trusted,
    loaded_part_files,
    trust_external_parts,
)
from slotfill.config.yaml_reader import parse
from slotfill.data.folders import list_shards
from slotfill.data.splits import (
    SPLITS,
    evaluation_split,
    input_paths,
    read_split,
    split_names,
    split_path,
)
from slotfill.errors import ConfigError, ErrorDetail, SlotfillError, UsageError, format_count
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import slot_counts
from slotfill.files import check_no_link, parse_json, read_regular_file, write_in_folder
from slotfill.inference.tagging import predict
from slotfill.lab.compare.resampling import Resampling, Subset
from slotfill.lab.contracts.check import find_part_problem
from slotfill.model.build import check_buildable
from slotfill.runs.environment import environment, list_differences
from slotfill.runs.folder import RunFolder, find_stopped_run, is_in_use
from slotfill.runs.load import load_run, parse_run_config, read_scores
from slotfill.runs.lock import LockedError
from slotfill.runs.manifest import ENVIRONMENT, RunFiles, is_completed
from slotfill.runs.shard import parse_shard
from slotfill.runs.sources import SOURCES, check_sources
from slotfill.runs.train import train
from slotfill.version import FORMAT

Outcome = tuple["Job", str | None]
"""A job that has ended, and its error, if any."""

JobCallback = Callable[["Job", str], None]
"""Called with a job and a message about it."""

_RESULT = {
    "format": int,
    "weights": str,  # SHA-256
    "sentences": {str: str},  # SHA-256 of the files of each split
    "tokens_per_second": float,  # of prediction on the first of the evaluated splits
    "scores": dict,  # by split, as `slotfill evaluate` reports them
    "counts": dict,  # by split, for each sentence the slots that are correct, predicted and gold
}
"""The shape of a result: the predictions of a model on the evaluated splits, in numbers."""

_IN_USE = "is trained by another process"
"""The outcome of a job that another process trains."""

_INTERVAL = 1.0
"""Seconds between two looks at jobs that other processes train."""

_NO_SPLITS = ("data.train=null", "data.valid=null", "data.test=null")


@dataclass(frozen=True, slots=True)
class Job:
    """One run: the config called `name` is trained on `corpus` and saved in `folder`."""

    name: str
    corpus: str
    config: Config
    folder: Path
    fold: int = 0
    """The number of the fold that is held out for scoring, from 1; 0 if there are no folds."""

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.config.train.seed

    @property
    def title(self) -> str:
        """The name of the job in messages."""
        fold = f"fold{self.fold}/" if self.fold else ""
        return f"{self.corpus}/{fold}{self.folder.name}"

    @property
    def result_path(self) -> Path:
        """The file next to the run folder with the job's result."""
        return self.folder.with_name(f"{self.folder.name}.json")


@dataclass(slots=True)
class Plan:
    """The jobs of a comparison."""

    seeds: list[int]
    configs: dict[str, str]
    """By name, the name or path of each config, as on the command line; empty without one."""
    corpora: dict[str, str]
    """By name, the paths of each corpus."""
    jobs: list[Job]
    folds: int = 0
    """How many folds each corpus is divided into; 0 if it is not."""
    subsets: dict[str, Subset] = field(default_factory=dict)
    """By name, what each corpus is a subset of, if it is one."""
    inputs: list[Path] = field(default_factory=list)
    """The configs, and the files and folders of their sentences."""


def plan(
    words: Sequence[str | None],
    out: Path,
    *,
    overrides: Sequence[str] = (),
    variants: Sequence[Sequence[str]] = (),
    seeds: Sequence[int] = (1,),
    data: Sequence[str] = (),
    folds: int = 0,
    percentages: Sequence[int] = (),
    shard: str | None = None,
) -> Plan:
    """Return the checked jobs that compare configs on the corpora `data`, or each on its own data.

    `words` are built-in configs, YAML files, and folders of these; None is the config of
    `overrides` alone, with the data that they set. Each of `variants` has more overrides, with
    which each config is compared as well. `out` is for the run folders.
    With `folds`, the training sentences are divided to be scored on, and with `percentages`, each
    share of them is trained on as a corpus of its own. With the shard `K/N`, every N-th job.

    Raises ConfigError with all errors in configs and data, or the only error itself, and UsageError
    if a run folder exists and was trained with another config.
    """
    errors: list[SlotfillError] = []
    # Configs listed twice count once, so that `lab/lstm lab` compares all of lab with lstm.
    sources: dict[str | None, None] = {}
    for word in words:
        with _collect(errors):
            sources |= dict.fromkeys([None] if word is None else expand_configs(word))
    part = parse_shard(shard)
    result = Plan(list(seeds), {}, {}, [], folds)
    checked: list[tuple[str, str, Config]] = []
    checked_data = set()
    locations: dict[str, str] = {}
    for source, variant, path in product(sources, ((), *variants), dict.fromkeys(data) or (None,)):
        changes = [*overrides, *variant]
        if path is not None:
            changes += [f"data.path={json.dumps(path, ensure_ascii=False)}", *_NO_SPLITS]
        with _collect(errors):
            name, config = load_config(source, changes, need_data=True)
            name = "+".join([name, *variant]).replace("/", "_")  # It is that of a folder.
            with _collect(errors):
                config.check_tagger()
                check_buildable(config)
                if "csv" not in {logger.name for logger in config.train.log}:
                    raise ConfigError("compare reads history.csv; add csv", key="train.log")
            sentences = config.data
            if sentences.limit and (folds or percentages):
                with _collect(errors):
                    message = "does not go with --folds and --percentages, which draw themselves"
                    raise ConfigError(message, key="data.limit")
            if folds and sentences.holdout is None:  # Each fold has test sentences.
                sentences = sentences.model_copy(update={"holdout": 0.0})
            data_key = sentences.model_dump_json(), bool(config.intent)
            if data_key not in checked_data:
                checked_data.add(data_key)
                with _collect(errors):
                    if not folds:
                        evaluation_split(sentences, "set data.test=FILE, or use --folds 5")
                    for split in split_names(sentences):
                        read_split(sentences, split, intents=bool(config.intent))
            result.inputs += [*map(Path, filter(None, [source])), *input_paths(config.data)]
            corpus, location = name_corpus(config.data)
            _register(result.configs, name, source or "")
            _register(locations, corpus, location)
            checked.append((name, corpus, config))
    if messages := dict.fromkeys(message for error in errors for message in error.messages):
        raise errors[0] if len(messages) == 1 else ConfigError(list(map(ErrorDetail, messages)))
    # All configs with one seed before the next seed, so that early results can be compared.
    resampling = Resampling(out, folds, percentages)
    for seed, (name, corpus, config) in product(seeds, checked):
        seeded = config.train.model_copy(update={"seed": seed})
        for sample in resampling.draw(corpus, config.data, seed):
            folder = out / sample.name / (f"fold{sample.fold}" if folds else "")
            folder /= f"{name}-seed{seed}"
            sampled = config.model_copy(update={"train": seeded, "data": sample.data})
            job = Job(name, sample.name, sampled, folder, sample.fold)
            if any(job.folder == other.folder for other in result.jobs):
                raise UsageError(f"{job.title} is listed twice")
            result.jobs.append(job)
            result.corpora[sample.name] = locations[corpus]
            if sample.subset:
                result.subsets[sample.name] = sample.subset
    result.jobs = part.select(result.jobs)
    for job in result.jobs:
        check_same_config(job)
    return result


@contextmanager
def _collect(errors: list[SlotfillError]) -> Iterator[None]:
    """Append an error raised in the `with` block to `errors` instead of raising it."""
    try:
        yield
    except SlotfillError as error:
        errors.append(error)


def name_corpus(data: DataConfig) -> tuple[str, str]:
    """Return the name of the corpus, and its paths relative to the current folder."""
    path = Path(data.path) if data.path else Path(str(data.train)).parent
    paths = filter(None, (data.path, data.train, data.valid, data.test))
    return path.name if path.is_dir() else path.stem, ", ".join(map(relpath, paths))


def _register(names: dict[str, str], name: str, value: str) -> None:
    """Set `names[name]`; raise UsageError if it has another value."""
    if names.setdefault(name, value) != value:
        raise UsageError(f"{value} and {names[name]} are both called '{name}'; rename one")


def check_same_config(job: Job) -> None:
    """Raise UsageError if the run folder belongs to another config or to other sentences."""
    check_no_link(job.result_path)
    folder = job.folder if _is_trained(job) else find_stopped_run(job.folder)
    if folder is None:
        if job.folder.exists():
            raise UsageError(
                f"{job.folder}: not a complete run; remove it, or choose another --out"
            )
        return
    hint = f"remove {folder}, or choose another --out"
    # Complete, so that a key which is newer than the run has its default, and with equal paths.
    contents = read_regular_file(folder / "config.yaml"), job.config.to_yaml().encode()
    configs = (parse(parse_run_config(each, folder).to_yaml(), "")[0] for each in contents)
    for change in diff_configs(*configs):
        raise UsageError(f"{folder}: trained with {change}; {hint}")
    sources = folder / SOURCES
    content = read_regular_file(sources) if sources.exists() else None
    check_sources(sources, content, job.config.external_files, hint, UsageError)
    if folder == job.folder and (result := read_result(job)):
        hashes = _hash_data(job.config.data)
        for split in ("train", "valid"):
            if result["sentences"].get(split) != hashes.get(split):
                raise UsageError(f"{folder}: the {split} sentences changed after training; {hint}")


def diff_configs(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield `KEY OLD, not NEW` for each key whose values differ."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            inner = f"{path}.{key}" if path else str(key)
            yield from diff_configs(old.get(key), new.get(key), inner)
    elif old != new:
        words = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
        yield "{} {}, not {}".format(path, *("nothing" if w == "null" else w for w in words))


def _is_trained(job: Job) -> bool:
    return is_completed(job.folder) and find_stopped_run(job.folder) is None


def is_finished(job: Job) -> bool:
    """Whether the run is trained and evaluated on the sentences as they are now."""
    result = read_result(job)
    return (
        result is not None
        and _is_trained(job)
        and result["weights"] == _hash_files(job.folder / "model.safetensors")
        and result["sentences"] == _hash_data(job.config.data)
    )


def list_changes(jobs: Iterable[Job]) -> list[str]:
    """Return in what software and processor the finished jobs differ from this process."""
    finished = [RunFiles(job.folder).parse(ENVIRONMENT, {}) for job in jobs if is_finished(job)]
    return list_differences([*finished, environment()]) if finished else []


def list_evaluated_splits(data: DataConfig) -> list[str]:
    """Return the splits to compare on: test (valid if there is none) and custom ones."""
    return [evaluation_split(data), *(name for name in split_names(data) if name not in SPLITS)]


def read_result(job: Job) -> dict[str, Any] | None:
    """Return the result of a job; None if there is none of this version."""
    try:
        result = parse_json(read_regular_file(job.result_path), _RESULT)
    except (OSError, ValueError):
        return None
    return result if result["format"] == FORMAT else None


def _hash_data(data: DataConfig) -> dict[str, str]:
    paths = {s: split_path(data, s) for s in ("train", "valid", *list_evaluated_splits(data))}
    return {split: _hash_files(path) for split, path in paths.items() if path}


def _hash_files(path: Path) -> str:
    """Return the SHA-256 of the files of a split."""
    files = sorted(path.rglob("*")) if path.is_dir() else list_shards(path)
    return sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


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
    if _is_trained(job):
        return
    try:
        folder = RunFolder(job.folder, resume=find_stopped_run(job.folder) is not None)
        if not folder.complete():
            train(job.config, folder, lambda progress: None, device=device)
    except UsageError:
        if not _is_trained(job):  # By another process, which was faster.
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
        "weights": _hash_files(job.folder / "model.safetensors"),
        "sentences": _hash_data(data),
        "tokens_per_second": speeds[0],
        "scores": scores,
        "counts": counts,
    }
    write_in_folder(job.result_path, json.dumps(result, ensure_ascii=False))
