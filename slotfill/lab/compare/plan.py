"""The plan of a comparison: each config is trained on each corpus with each seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from os.path import relpath
from pathlib import Path

from slotfill.config.builtin import expand_configs, load_config
from slotfill.config.models import Config
from slotfill.config.sections import DataConfig
from slotfill.data.splits import evaluation_split, input_paths, read_split, split_names
from slotfill.errors import ConfigError, ErrorDetail, SlotfillError, UsageError
from slotfill.lab.compare.job import Job, check_same_config
from slotfill.lab.compare.resampling import Resampling, Subset
from slotfill.model.build import check_buildable
from slotfill.runs.shard import parse_shard

_NO_SPLITS = ("data.train=null", "data.valid=null", "data.test=null")


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
