"""Comparison of configs: each trained on each corpus with each seed, a run folder each, none of
them twice.

Beside a run folder stands `NAME-seedN.json`: what its model gave to each sentence that it is scored
on.
"""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from multiprocessing import connection, get_context
from os.path import relpath
from pathlib import Path
from typing import Any

from slotfill.config.models import Config, DataConfig
from slotfill.config.recipes import expand_configs, load_config
from slotfill.config.yaml_reader import parse
from slotfill.data.splits import evaluation_split, read_split, split_names, split_path
from slotfill.errors import ConfigError, SlotfillError, UsageError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import slot_counts
from slotfill.files import write_new_file
from slotfill.inference.tagging import tag
from slotfill.model.build import check_built
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import load_run, partial_path, read_text
from slotfill.runs.train import train
from slotfill.version import FORMAT


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a config, by its name, on a corpus, by its name, with a seed, in a folder of its
    own.
    """

    name: str
    corpus: str
    config: Config
    folder: Path

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.config.train.seed

    @property
    def title(self) -> str:
        """What the run is called in messages."""
        return f"{self.corpus}/{self.folder.name}"

    @property
    def result(self) -> Path:
        """The file beside the run folder with what the run gave to each sentence."""
        return self.folder.with_name(f"{self.folder.name}.json")


@dataclass(slots=True)
class Plan:
    """What is compared: configs by name, as each was given; corpora by name, where each is; the
    seeds; the runs.
    """

    seeds: list[int]
    configs: dict[str, str] = field(default_factory=dict)
    corpora: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)


Report = Callable[[Job, str], None]


class Stopped(BaseException):
    """Ctrl-C while runs train: they stay as their last epoch left them, to go on from to the bit."""


def plan(
    words: Sequence[str],
    out: Path,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (1,),
    data: Sequence[str] = (),
) -> Plan:
    """Return the runs that compare the configs `words` on the corpora `data`, or each on its own;
    all checked.

    Raises ConfigError that lists every fault of configs and sentences, or the one fault itself, and
    UsageError where a run folder is of another config.
    """
    found = Plan(list(seeds))
    faults: list[SlotfillError] = []
    readable: dict[Any, Any] = {}
    # What is given twice counts once, so that the first may be one of a folder: lab/lstm lab
    configs = dict.fromkeys(
        config for word in words for config in _collect_error(faults, expand_configs, word) or ()
    )
    for config, path in product(configs, dict.fromkeys(data) or (None,)):
        given = [*overrides, *([] if path is None else _on_corpus(path))]
        loaded = _collect_error(faults, load_config, config, given, need_data=True)
        if loaded is None:
            continue
        name, complete = loaded
        _collect_error(faults, check_built, complete, config, given)
        sentences = complete.data.model_dump_json(), bool(complete.intent)
        if sentences not in readable:
            readable[sentences] = _collect_error(faults, _read, complete)
        corpus, place = _corpus(complete.data)
        for names, called, value in ((found.configs, name, config), (found.corpora, corpus, place)):
            if names.setdefault(called, value) != value:
                faults.append(
                    UsageError(
                        f"{value} and {names[called]} are both called '{called}'; rename one"
                    )
                )
        for seed in seeds:
            seeded = complete.model_copy(
                update={"train": complete.train.model_copy(update={"seed": seed})}
            )
            found.jobs.append(Job(name, corpus, seeded, out / corpus / f"{name}-seed{seed}"))
    if faults:
        lines = list(dict.fromkeys(line for fault in faults for line in str(fault).splitlines()))
        raise faults[0] if len(lines) == 1 else ConfigError(lines)
    # All configs with one seed before any with the next, so that what is there early can be
    # compared.
    found.jobs.sort(
        key=lambda job: (found.seeds.index(job.seed), list(found.corpora).index(job.corpus))
    )
    if twice := {
        job.title
        for job in found.jobs
        if [other.folder for other in found.jobs].count(job.folder) > 1
    }:
        raise UsageError(f"{min(twice)}: the same run twice; give each config and each corpus once")
    for job in found.jobs:
        check_same_config(job)
    return found


def _collect_error(
    faults: list[SlotfillError], do: Callable[..., Any], *given: Any, **options: Any
) -> Any:
    """Return what `do` returns, or None where it raises a fault, which is noted."""
    try:
        return do(*given, **options)
    except SlotfillError as fault:
        faults.append(fault)
        return None


def _on_corpus(path: str) -> list[str]:
    """Return the overrides that put the corpus at `path` in place of a config's own data."""
    return [
        f"data.path={json.dumps(path, ensure_ascii=False)}",
        "data.train=null",
        "data.valid=null",
        "data.test=null",
    ]


def _read(config: Config) -> None:
    """Raise DataError where some split cannot be read."""
    for split in split_names(config.data):
        read_split(config.data, split, intents=bool(config.intent))


def _corpus(data: DataConfig) -> tuple[str, str]:
    """Return the name of the corpus that `data` names, and where it is, seen from here."""
    path = Path(data.path) if data.path else Path(str(data.train)).parent
    given = [each for each in (data.path, data.train, data.valid, data.test) if each]
    return path.name if path.is_dir() else path.stem, ", ".join(relpath(each) for each in given)


def check_same_config(job: Job) -> None:
    """Raise UsageError, naming the key, where the run folder is of another config, or of other
    sentences since.
    """
    there = job.folder if _trained(job) else _stopped(job)
    if there is None:
        if job.folder.exists():
            raise UsageError(f"{job.folder} is not a whole run; remove it, or choose another --out")
        return
    mend = f"remove {there}, or choose another --out"
    saved = parse(read_text(there / "config.yaml"), str(there / "config.yaml"))[0]
    for key, old, new in config_diff(saved, parse(job.config.to_yaml(), "")[0]):
        was, now = (
            "nothing" if each is None else json.dumps(each, ensure_ascii=False)
            for each in (old, new)
        )
        raise UsageError(f"{there}: trained with {key} {was}, not {now}; {mend}")
    trained_on = read_result(job).get("sentences") if there == job.folder else None
    for split in ("train", "valid"):
        if trained_on and trained_on.get(split) != _digests(job.config.data).get(split):
            raise UsageError(
                f"{there}: the {split} sentences have changed since it was trained; {mend}"
            )


def config_diff(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each key with another value, and the two values; None where one has no such key."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield path, old, new
        return
    for key in dict.fromkeys((*old, *new)):
        yield from config_diff(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))


def _trained(job: Job) -> bool:
    """Tell whether the run is trained to its end."""
    return (job.folder / "model.safetensors").is_file() and not (job.folder / "checkpoint").exists()


def _stopped(job: Job) -> Path | None:
    """Return the folder from which the run, stopped before its end, goes on; None where there is no
    such.
    """
    folders = (partial_path(job.folder), job.folder)
    return next(
        (path for path in folders if (path / "checkpoint" / "state.safetensors").is_file()), None
    )


def is_finished(job: Job) -> bool:
    """Tell whether the run is trained to its end and its sentences are tagged."""
    if not _trained(job):
        return False
    result, weights = read_result(job), _digest(job.folder / "model.safetensors")
    return result.get("weights") == weights and result["sentences"] == _digests(job.config.data)


def run(plan: Plan, report: Report, *, jobs: int = 1, device: str = "cpu") -> dict[str, str]:
    """Train the runs of `plan` that are not finished, `jobs` side by side; return the faults of
    those that failed.

    They are named by title. Raises Stopped at Ctrl-C; what is finished stays, and every epoch of
    the others.
    """
    left = [job for job in plan.jobs if not is_finished(job)]
    faults = {}
    with _stopping():
        ends = (
            _run_sequential(left, report, device)
            if jobs == 1
            else _run_parallel(left, report, device, jobs)
        )
        for done, (job, fault) in enumerate(ends, start=1):
            report(
                job, f"{f'failed: {fault}' if fault else _outcome(job)}; {done} of {len(left)} done"
            )
            if fault:
                faults[job.title] = fault
    return faults


def _outcome(job: Job) -> str:
    result = read_result(job)
    f1 = result["scores"][result["final"]]["overall"]["f1"]
    notes = json.loads(read_text(job.folder / "scores.json"))
    return (
        f"{result['final']} F1 {f1:.2f}, {notes['epochs']} epochs in {notes['train_seconds']:.0f} s"
    )


@contextmanager
def _stopping() -> Iterator[None]:
    """Let Ctrl-C end everything: training alone takes a KeyboardInterrupt for its own early end,
    and goes on.
    """

    def stop(*_: object) -> None:
        raise Stopped

    kept = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)


def _run_sequential(
    left: Sequence[Job], report: Report, device: str
) -> Iterator[tuple[Job, str | None]]:
    for job in left:
        report(job, "goes on" if _stopped(job) else "starts")
        yield job, _train(job, device)


def _run_parallel(
    left: Sequence[Job], report: Report, device: str, jobs: int
) -> Iterator[tuple[Job, str | None]]:
    """Train each run in a process of its own, `jobs` of them at a time."""
    context = get_context("spawn")
    waiting = list(left)
    working: dict[Any, tuple[Job, Any]] = {}
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                job = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, device, theirs), daemon=True)
                report(job, "goes on" if _stopped(job) else "starts")
                # Ctrl-C is for this process alone; a process inherits what is ignored when it
                # starts.
                kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
                process.start()
                signal.signal(signal.SIGINT, kept)
                theirs.close()
                working[ours] = job, process
            pipe: Any
            for pipe in connection.wait(list(working)):
                job, process = working[pipe]
                try:
                    fault = pipe.recv()
                except EOFError:
                    fault = "its process was ended from outside"
                process.join()
                del working[pipe]
                yield job, fault
    finally:
        for _, process in working.values():
            process.kill()
            process.join()


def _work(job: Job, device: str, done: Any) -> None:
    done.send(_train(job, device))


def _train(job: Job, device: str) -> str | None:
    """Bring a run to its end and tag its sentences; return what was at fault, if anything was."""
    try:
        if not _trained(job):
            resume = _stopped(job) is not None
            folder = RunFolder.resume(job.folder)[0] if resume else RunFolder(job.folder)
            train(job.config, folder, lambda progress: None, device=device, resume=resume)
        _tag(job, device)
    except SlotfillError as fault:
        return str(fault)
    except Exception as fault:  # A fault of ours in one part must not cost the hours of the others.
        return f"{type(fault).__name__}: {' '.join(str(fault).split())}"
    return None


def _tag(job: Job, device: str) -> None:
    """Tag every split that the run is scored on, and write what it gave to each sentence beside its
    folder.
    """
    import torch

    torch.set_num_threads(job.config.train.processes)
    loaded = load_run(job.folder, device, "torch")
    data = job.config.data
    counts, scores, speeds = {}, {}, {}
    for split in scored_splits(data):
        sentences = read_split(data, split).sentences
        scores[split] = evaluate(loaded.engine, loaded.vocab, sentences).to_json()
        # Timed the second time, since the first is slow for reasons that are not the network's.
        began = time.perf_counter()
        slots = tag(loaded.engine, loaded.vocab, sentences)
        speeds[split] = scores[split]["tokens"] / (time.perf_counter() - began)
        counts[split] = slot_counts(sentences, slots).tolist()
    result = {
        "format": FORMAT,
        "weights": _digest(job.folder / "model.safetensors"),
        "sentences": _digests(data),
        "final": evaluation_split(data),
        "tokens_per_second": speeds[evaluation_split(data)],
        "scores": scores,
        "counts": counts,
    }
    write_new_file(job.result, json.dumps(result, ensure_ascii=False))


def scored_splits(data: DataConfig) -> list[str]:
    """Return the splits that runs are compared on: test (valid where there is none), and those that
    are more.
    """
    more = [split for split in split_names(data) if split not in ("train", "valid", "test")]
    return [evaluation_split(data), *more]


def read_result(job: Job) -> dict[str, Any]:
    """Return what stands beside the run folder; nothing where it is not there, or of another
    version.
    """
    try:
        result = json.loads(job.result.read_text(encoding="utf-8"))
        return result if result["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digests(data: DataConfig) -> dict[str, str]:
    """Return what tells the sentences of each split from others."""
    paths = {split: split_path(data, split) for split in ("train", "valid", *scored_splits(data))}
    return {split: _digest(path) for split, path in paths.items() if path}


def _digest(path: Path) -> str:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in files if file.is_file())
    ).hexdigest()
