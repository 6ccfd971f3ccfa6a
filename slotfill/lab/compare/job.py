"""A job of a comparison, one run, and its result, which is stored next to the run folder.

The result, `NAME-seedN.json`, has the scores and the slot counts of each sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from slotfill.config.models import Config
from slotfill.config.sections import DataConfig
from slotfill.config.yaml_reader import parse
from slotfill.data.folders import list_shards
from slotfill.data.splits import SPLITS, evaluation_split, split_names, split_path
from slotfill.errors import UsageError
from slotfill.files import check_no_link, parse_json, read_regular_file
from slotfill.runs.environment import environment, list_differences
from slotfill.runs.folder import find_stopped_run
from slotfill.runs.load import parse_run_config
from slotfill.runs.manifest import ENVIRONMENT, RunFiles, is_completed
from slotfill.runs.sources import SOURCES, check_sources
from slotfill.version import FORMAT

_RESULT = {
    "format": int,
    "weights": str,  # SHA-256
    "sentences": {str: str},  # SHA-256 of the files of each split
    "tokens_per_second": float,  # of prediction on the first of the evaluated splits
    "scores": dict,  # by split, as `slotfill evaluate` reports them
    "counts": dict,  # by split, for each sentence the slots that are correct, predicted and gold
}
"""The shape of a result: the predictions of a model on the evaluated splits, in numbers."""


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


def check_same_config(job: Job) -> None:
    """Raise UsageError if the run folder belongs to another config or to other sentences."""
    check_no_link(job.result_path)
    folder = job.folder if is_trained(job) else find_stopped_run(job.folder)
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
        hashes = hash_data(job.config.data)
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


def is_trained(job: Job) -> bool:
    return is_completed(job.folder) and find_stopped_run(job.folder) is None


def is_finished(job: Job) -> bool:
    """Whether the run is trained and evaluated on the sentences as they are now."""
    result = read_result(job)
    return (
        result is not None
        and is_trained(job)
        and result["weights"] == hash_files(job.folder / "model.safetensors")
        and result["sentences"] == hash_data(job.config.data)
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


def hash_data(data: DataConfig) -> dict[str, str]:
    paths = {s: split_path(data, s) for s in ("train", "valid", *list_evaluated_splits(data))}
    return {split: hash_files(path) for split, path in paths.items() if path}


def hash_files(path: Path) -> str:
    """Return the SHA-256 of the files of a split."""
    files = sorted(path.rglob("*")) if path.is_dir() else list_shards(path)
    return sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()
