"""Evaluation of a run on a split of its data, or on other sentences."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from slotfill.config.messages import is_within
from slotfill.config.overrides import overridden_keys
from slotfill.config.sections import DataConfig
from slotfill.config.validate import parse_config
from slotfill.data.alignment import align, to_example
from slotfill.data.corpus import ReadResult, read_sentences
from slotfill.data.detection import FormatPart, format_from_suffix
from slotfill.data.sentence import Sentence
from slotfill.data.splits import evaluation_split, input_paths, read_split
from slotfill.errors import ConfigError, DataError, SlotfillError, UsageError
from slotfill.evaluation.errors import ErrorAnalysis, TrainingSlots, analyze_errors
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.files import shorten_path
from slotfill.inference.tagging import predict
from slotfill.runs.load import LoadedRun, Run
from slotfill.runs.manifest import FILES


def evaluate_run(
    run: Run, *, split: str | None = None, path: Path | None = None, overrides: Sequence[str] = ()
) -> EvaluationResult:
    """Return the scores of `run` on labelled sentences; see `read_labelled` for the arguments."""
    sentences = read_labelled(run, split=split, path=path, overrides=overrides).sentences
    return evaluate(run.engine, run.vocab, sentences, run.calibration)


def evaluate_sentences(run: Run, sentences: Sequence[Sentence]) -> EvaluationResult:
    """Return the scores of `run` on labelled sentences, which are tokenized as the run needs them.

    Raises UsageError if there is something else among them, and DataError if none has labels.
    """
    for each in sentences:
        if not isinstance(each, Sentence):
            raise UsageError(
                f"sentences to evaluate on are those of slotfill.read, not {type(each).__name__}"
            )
    examples = [to_example(each) for each in sentences if each.slots is not None]
    if not examples:
        raise DataError("none of the sentences has labels, which scoring needs")
    aligned = align(examples, run.vocab.tokenizer, run.config.data.misaligned, keep_tokens=False)
    return evaluate(run.engine, run.vocab, aligned, run.calibration)


def analyze_run(run: Run, sentences: Sequence[Sentence]) -> ErrorAnalysis:
    """Return the errors of `run` on labelled `sentences`."""
    predictions = predict(run.engine, run.vocab, sentences, run.calibration)
    training = _training_slots(run)
    return analyze_errors(sentences, predictions, run.vocab, run.calibration, training)


def input_files(run: Run, sentences: Sequence[Sentence], path: Path | None) -> list[Path]:
    """Return the files of `run` and its data, and those of `sentences`, which are in `path`."""
    location = run.files.path
    own = [location] if run.files.is_archive else [location / name for name in FILES]
    files = {Path(sentence.location.rpartition(":")[0]) for sentence in sentences}
    return [*own, *input_paths(run.config.data), *files, *filter(None, [path])]


def _training_slots(run: Run) -> TrainingSlots | None:
    """Return the slots of the training sentences; None if they are gone."""
    with suppress(SlotfillError):
        sentences = read_split(run.config.data, "train", tokenizer=run.vocab.tokenizer).sentences
        return TrainingSlots.from_sentences(sentences)
    return None


def read_labelled(
    run: LoadedRun,
    *,
    split: str | None = None,
    path: Path | None = None,
    overrides: Sequence[str] = (),
) -> ReadResult:
    """Return labelled sentences, tokenized as the run needs them.

    Args:
        split: A split of its own data; None is test, or valid without test.
        path: Other sentences, of the format of their suffix, or else that of the run's data.
        overrides: Settings of `data` for them, such as `data.scheme=bioes`.

    Raises:
        ConfigError: An override is not valid.
        DataError: The sentences cannot be read.
    """
    data = _override_data(run, overrides)
    if path is None:
        split = _find_split(run, data, split)
        return read_split(data, split, tokenizer=run.vocab.tokenizer)
    name = data.format if isinstance(data.format, str) else data.format["name"]
    format: FormatPart | None = format_from_suffix(path)
    if format in (None, name) or any(
        is_within(key, "data.format") for key in overridden_keys(overrides)
    ):
        format = data.format
    return read_sentences(
        path,
        format=format,
        scheme=data.scheme,
        tokenizer=run.vocab.tokenizer,
        misaligned=data.misaligned,
        strict=data.strict,
    )


def name_sentences(
    run: LoadedRun, split: str | None, path: Path | None, overrides: Sequence[str] = ()
) -> str:
    """Return what the sentences are called that `read_labelled` reads; it raises the same."""
    return str(path) if path else _find_split(run, _override_data(run, overrides), split)


def check_own_sentences(run: LoadedRun, data: DataConfig, split: str, hint: str) -> None:
    """Raise DataError, which ends in `hint`, if what `run` has for the split of `data` is gone."""
    own = run.config.data
    for key in (split, "path", "train"):
        if (named := getattr(data, key, None)) and isinstance(named, str):
            if named == getattr(own, key) and not Path(named).exists():
                problem = f"was trained with {shorten_path(named)}, which is gone"
                raise DataError(f"{run.files.path}: {problem}; {hint}")
            return


def _find_split(run: LoadedRun, data: DataConfig, split: str | None) -> str:
    """Return the split of `data` to score on: `split`, or else test or valid."""
    hint = "give other sentences with --data FILE (evaluate: or data.test=FILE), or put it back"
    check_own_sentences(run, data, split or ("test" if data.test or data.path else "valid"), hint)
    return split or evaluation_split(data)


def _override_data(run: LoadedRun, overrides: Sequence[str]) -> DataConfig:
    """Return the data of `run` with other settings; raises ConfigError if one is not valid."""
    data = run.config.data
    if not overrides:
        return data
    for key in overridden_keys(overrides):
        if not is_within(key, "data"):
            raise ConfigError(
                "only keys of data can be set, as data.scheme=bioes; train again to change others",
                key=key,
            )
    is_packed = run.files.is_packed
    data = parse_config(run.config.to_yaml(), "config", overrides, is_packed=is_packed).data
    for key in ("tokenizer", "normalization"):
        if getattr(data, key) != getattr(run.config.data, key):
            trained_with = getattr(run.config.data, key)
            raise ConfigError(
                f"the run was trained with {trained_with}; train again to change it",
                key=f"data.{key}",
            )
    return data
