"""Jobs of a comparison: each config trained on each corpus with each seed, one run folder each.

Next to a run folder, `NAME-seedN.json` holds the scores and the slot counts of each sentence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from os.path import relpath
from pathlib import Path
from typing import Any

from slotfill.config.builtin import expand_configs, load_config
from slotfill.config.models import Config, DataConfig
from slotfill.config.yaml_reader import parse
from slotfill.data.splits import SPLITS, evaluation_split, read_split, split_names, split_path
from slotfill.errors import ConfigError, ErrorDetail, SlotfillError, UsageError
from slotfill.model.build import check_buildable
from slotfill.runs.folder import stopped_run
from slotfill.runs.load import read_text
from slotfill.runs.manifest import is_completed
from slotfill.version import FORMAT

_NO_SPLITS = ("data.train=null", "data.valid=null", "data.test=null")


@dataclass(frozen=True, slots=True)
class Job:
    """One run: the config called `name` is trained on `corpus` and saved in `folder`."""

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
        """The name of the job in messages."""
        return f"{self.corpus}/{self.folder.name}"

    @property
    def result_path(self) -> Path:
        """The file next to the run folder with the job's result."""
        return self.folder.with_name(f"{self.folder.name}.json")


@dataclass(slots=True)
class Plan:
    """The jobs of a comparison."""

    seeds: list[int]
    configs: dict[str, str] = field(default_factory=dict)
    """By name, the name or path of each config, as on the command line."""
    corpora: dict[str, str] = field(default_factory=dict)
    """By name, the paths of each corpus."""
    jobs: list[Job] = field(default_factory=list)


@dataclass(slots=True)
class JobResult:
    """The predictions of a trained model on the evaluated splits, in numbers."""

    weights: str
    """SHA-256 of the weights."""
    sentences: dict[str, str]
    """SHA-256 of the files of each split."""
    tokens_per_second: float
    """Speed of prediction on the first of the evaluated splits."""
    scores: dict[str, Any]
    """Scores by split, as `slotfill evaluate` reports them."""
    counts: dict[str, list[list[int]]]
    """By split, for each sentence the slots that are correct, predicted and gold."""
    format: int = FORMAT


def plan(
    words: Sequence[str],
    out: Path,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (1,),
    data: Sequence[str] = (),
) -> Plan:
    """Return the checked jobs that compare configs on the corpora `data`, or each on its own data.

    Args:
        words: Built-in configs, YAML files, and folders of these.
        out: The folder for the run folders.

    Raises:
        ConfigError: All errors in configs and data, or the only error itself.
        UsageError: A run folder exists and was trained with another config.
    """
    result = Plan(list(seeds))
    errors: list[SlotfillError] = []
    # Configs listed twice count once, so that `lab/lstm lab` compares all of lab with lstm.
    configs: dict[str, None] = {}
    for word in words:
        with _collect(errors):
            configs |= dict.fromkeys(expand_configs(word))
    checked_data = set()
    for source, path in product(configs, dict.fromkeys(data) or (None,)):
        changes = list(overrides)
        if path is not None:
            changes += [f"data.path={json.dumps(path, ensure_ascii=False)}", *_NO_SPLITS]
        with _collect(errors):
            name, config = load_config(source, changes, need_data=True)
            with _collect(errors):
                check_buildable(config)
            data_key = config.data.model_dump_json(), bool(config.intent)
            if data_key not in checked_data:
                checked_data.add(data_key)
                with _collect(errors):
                    evaluation_split(config.data)
                    for split in split_names(config.data):
                        read_split(config.data, split, intents=bool(config.intent))
            corpus, location = _corpus(config.data)
            _register(result.configs, name, source)
            _register(result.corpora, corpus, location)
            for seed in seeds:
                seeded = config.train.model_copy(update={"seed": seed})
                job_config = config.model_copy(update={"train": seeded})
                folder = out / corpus / f"{name}-seed{seed}"
                result.jobs.append(Job(name, corpus, job_config, folder))
    if messages := dict.fromkeys(message for error in errors for message in error.messages):
        raise errors[0] if len(messages) == 1 else ConfigError(list(map(ErrorDetail, messages)))
    # All configs with one seed before the next seed, so that early results can be compared.
    corpora = list(result.corpora)
    result.jobs.sort(key=lambda job: (result.seeds.index(job.seed), corpora.index(job.corpus)))
    (title, count), *_ = Counter(job.title for job in result.jobs).most_common(1)
    if count > 1:
        raise UsageError(f"{title} is listed twice")
    for job in result.jobs:
        _check_same_config(job)
    return result


@contextmanager
def _collect(errors: list[SlotfillError]) -> Iterator[None]:
    """Append an error raised in the `with` block to `errors` instead of raising it."""
    try:
        yield
    except SlotfillError as error:
        errors.append(error)


def _corpus(data: DataConfig) -> tuple[str, str]:
    """Return the name of the corpus, and its paths relative to the current folder."""
    path = Path(data.path) if data.path else Path(str(data.train)).parent
    paths = filter(None, (data.path, data.train, data.valid, data.test))
    return path.name if path.is_dir() else path.stem, ", ".join(map(relpath, paths))


def _register(names: dict[str, str], name: str, value: str) -> None:
    """Set `names[name]`; raise UsageError if it has another value."""
    if names.setdefault(name, value) != value:
        raise UsageError(f"{value} and {names[name]} are both called '{name}'; rename one")


def _check_same_config(job: Job) -> None:
    """Raise UsageError if the run folder belongs to another config or to other sentences."""
    folder = job.folder if is_trained(job) else stopped_run(job.folder)
    if folder is None:
        if job.folder.exists():
            raise UsageError(
                f"{job.folder}: not a complete run; remove it, or choose another --out"
            )
        return
    hint = f"remove {folder}, or choose another --out"
    path = folder / "config.yaml"
    saved, _ = parse(read_text(path), str(path))
    for change in config_diff(saved, parse(job.config.to_yaml(), "")[0]):
        raise UsageError(f"{folder}: trained with {change}; {hint}")
    if folder == job.folder and (result := read_result(job)):
        hashes = data_hashes(job.config.data)
        for split in ("train", "valid"):
            if result.sentences.get(split) != hashes.get(split):
                raise UsageError(f"{folder}: the {split} sentences changed after training; {hint}")


def config_diff(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield `KEY OLD, not NEW` for each key whose values differ."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            inner = f"{path}.{key}" if path else str(key)
            yield from config_diff(old.get(key), new.get(key), inner)
    elif old != new:
        words = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
        yield "{} {}, not {}".format(path, *("nothing" if w == "null" else w for w in words))


def is_trained(job: Job) -> bool:
    """Whether training is complete."""
    return is_completed(job.folder) and stopped_run(job.folder) is None


def is_finished(job: Job) -> bool:
    """Whether the run is trained and evaluated on the sentences as they are now."""
    result = read_result(job)
    return (
        result is not None
        and is_trained(job)
        and result.weights == hash_files(job.folder / "model.safetensors")
        and result.sentences == data_hashes(job.config.data)
    )


def evaluated_splits(data: DataConfig) -> list[str]:
    """Return the splits to compare on: test (valid if there is none) and custom ones."""
    return [evaluation_split(data), *(name for name in split_names(data) if name not in SPLITS)]


def read_result(job: Job) -> JobResult | None:
    """Return the result of a job; None if there is none of this version."""
    try:
        result = JobResult(**json.loads(job.result_path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return result if result.format == FORMAT else None


def data_hashes(data: DataConfig) -> dict[str, str]:
    """Return the SHA-256 of the files of each split."""
    paths = {s: split_path(data, s) for s in ("train", "valid", *evaluated_splits(data))}
    return {split: hash_files(path) for split, path in paths.items() if path}


def hash_files(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()
