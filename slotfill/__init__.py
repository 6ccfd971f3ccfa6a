"""slotfill: a toolkit for slot filling with recurrent sequence taggers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotfill.version import __version__

if TYPE_CHECKING:
    from datetime import datetime

    from slotfill.config.models import Config
    from slotfill.data.sentence import Sentence
    from slotfill.evaluation.metrics import EvaluationResult
    from slotfill.integrations.sklearn import SlotTagger
    from slotfill.runs.batches import Batches
    from slotfill.runs.device import DeviceName, EngineName
    from slotfill.runs.predict import Predictor
    from slotfill.training.progress import EpochMetrics

__all__ = ["evaluate", "load", "read", "train"]
__all__ += ["Batches", "SlotTagger", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "SlotTagger":
        from slotfill.integrations.sklearn import SlotTagger

        return SlotTagger
    if name == "Batches":
        from slotfill.runs.batches import Batches

        return Batches
    raise AttributeError(f"module 'slotfill' has no attribute '{name}'")


def load(
    run: str | Path,
    device: str = "cpu",
    engine: EngineName = "auto",
    *,
    confidence: bool = True,
    nbest: int = 0,
    now: datetime | None = None,
    threshold: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    intent_threshold: float | None = None,
    trust: bool = False,
) -> Predictor:
    """Return the tagger of the run `run`, ready to predict.

    Args:
        run: The run folder that training wrote, a file that `slotfill pack` wrote, or
            `hf://USER/NAME`.
        device: "cpu", "cuda" or "auto".
        engine: "onnx", "torch" or "auto": ONNX Runtime on a CPU if the run is exported.
        confidence: Whether predictions have probabilities.
        nbest: How many of the most probable readings predictions have.
        now: What dates such as `tomorrow` are relative to, if the run resolves dates; by default
            the current time.
        threshold: The confidence below which slots are left out; by default the run's thresholds.
        thresholds: The same for the slots of a name.
        intent_threshold: The confidence below which the intent is None.
        trust: Whether to execute the files of user-defined parts that the run names.

    Raises:
        UsageError: There is no such run, a part must not be executed, or an extra is missing.
        ConfigError: `thresholds` names a slot that the run does not know.
        RunError: A file is missing, damaged, or of another version.

    Examples:
        >>> tagger = slotfill.load("runs/taipei")
        >>> slot = tagger.predict(["leave Taipei on November 2nd"])[0].slots[0]
        >>> slot.name, slot.value, slot.start, slot.end
        ('origin', 'Taipei', 6, 12)
    """
    from slotfill.config.registry import trust_external_parts
    from slotfill.runs.predict import Predictor

    with trust_external_parts(trust):
        return Predictor.load(
            run,
            device,
            engine,
            confidence,
            nbest,
            now,
            threshold=threshold,
            thresholds=thresholds,
            intent_threshold=intent_threshold,
        )


def train(
    config: str | Path | Mapping[str, Any] | Config | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    from_run: str | Path | None = None,
    out: str | Path | None = None,
    on_epoch: Callable[[EpochMetrics], object] | None = None,
    device: DeviceName = "auto",
    force: bool = False,
    trust: bool = False,
) -> Predictor:
    """Train a tagger, save it as a run folder, and return it, ready to predict.

    Needs `slotfill[train]`. Likely problems of the sentences are warnings. Ctrl-C ends training
    early and keeps the best epoch so far.

    Args:
        config: The name of a built-in config, a YAML file, or its content as a mapping; by default
            `taipei`, or, if `overrides` set a key of `data`, the defaults.
        overrides: Values by their keys, which have dots, such as `{"train.epochs": 5}` or
            `{"train": {"epochs": 5}}`, which leaves the other keys of `train` as they are.
        from_run: The run folder whose weights training starts from, on new sentences and some of
            its own; the keys of the network are its own.
        out: The run folder to write; by default `runs/NAME`, with the name of the config.
        on_epoch: Called after each epoch, with its loss, its scores on valid and more.
        device: "cpu", "cuda" or "auto".
        force: Whether to replace the run folder if it exists.
        trust: Whether to execute the files of user-defined parts that the config names.

    Returns:
        The tagger; its `scores` are those of the epoch that is kept, by split.

    Raises:
        UsageError: There is no such config, the run folder exists, or an extra is missing.
        ConfigError: The config has errors; all of them are listed.
        DataError: The sentences cannot be read.
        RunError: Training failed; if an epoch was done, `slotfill train --resume` continues.

    Examples:
        >>> tagger = slotfill.train("taipei", {"train.epochs": 5}, out="runs/five")
        >>> round(tagger.scores["test"].overall.f1)
        98
    """
    import warnings
    from functools import partial

    from slotfill.config.builtin import compose_config
    from slotfill.config.registry import catch_part_errors, trust_external_parts
    from slotfill.errors import UsageError
    from slotfill.extras import required_for
    from slotfill.paths import to_path
    from slotfill.runs.continuation import load_with_base
    from slotfill.runs.device import check_names, resolve_device
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.predict import Predictor
    from slotfill.training.launch import is_launched

    check_names(device, "auto")
    if not callable(on_epoch or print):
        raise UsageError(
            f"on_epoch is a function that is called after each epoch, not {on_epoch!r}"
        )
    if is_launched():
        raise UsageError("torchrun starts the command: torchrun ... -m slotfill train")
    with trust_external_parts(trust):
        base = None if from_run is None else to_path(from_run)
        changes = overrides or {}
        if base is not None and isinstance(changes, Mapping):
            changes = {**changes, "train.from_run": str(base)}
        name, loaded, lost = load_with_base(partial(compose_config, config, changes), base)
        loaded.check_tagger()
        for message in lost:
            warnings.warn(message, stacklevel=2)
        with required_for("slotfill.train"):
            from slotfill.runs.train import train as train_run
        room = len(".partial.lock")  # The longest name of what is beside a run folder.
        path = Path("runs", name) if out is None else to_path(out, room)
        folder = RunFolder(path, force=force)
        with catch_part_errors():
            result = train_run(
                loaded,
                folder,
                on_epoch=on_epoch or (lambda epoch: None),
                on_finding=lambda finding: warnings.warn(finding, stacklevel=4),
                device=resolve_device(device),
            )
        return Predictor.load(result.path)


def evaluate(
    run: str | Path | Predictor,
    data: str | Path | list[Sentence] | None = None,
    *,
    split: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> EvaluationResult:
    """Return the scores of a run on labelled sentences: precision, recall and F1, and more.

    Args:
        run: What `load` takes, or what `load` or `train` returned.
        data: A file of sentences, the folder of a split, or labelled sentences of `read`.
        split: A split of the run's own data, if `data` is None; by default test, or valid without
            test.
        overrides: Keys of `data` for sentences that are written otherwise than the run's, such as
            `{"data.scheme": "bioes"}`.
        trust: Whether to execute the files of user-defined parts that the run names.

    Raises:
        UsageError: There is no such run or split, `overrides` do not apply, or an extra is missing.
        ConfigError: An override is not valid.
        DataError: The sentences cannot be read.
        RunError: A file of the run is missing, damaged, or of another version.

    Examples:
        >>> round(slotfill.evaluate("runs/taipei", split="unseen").overall.f1)
        99
    """
    from slotfill.config.builtin import to_words
    from slotfill.config.registry import catch_part_errors, trust_external_parts
    from slotfill.errors import UsageError
    from slotfill.paths import to_path
    from slotfill.runs.evaluate import evaluate_run, evaluate_sentences
    from slotfill.runs.predict import Predictor

    _check_split(split)
    if data is not None and split is not None:
        raise UsageError("split names a split of the run's own data, data other data: give one")
    has_sentences = isinstance(data, list | tuple)
    if has_sentences and overrides:
        raise UsageError("overrides say how a file is written; sentences are read already")
    path = None if data is None or has_sentences else to_path(data)
    # Its data may name the file of a format, too.
    with trust_external_parts(trust), catch_part_errors():
        tagger = run if isinstance(run, Predictor) else load(run, trust=trust)
        if isinstance(data, list | tuple):
            return evaluate_sentences(tagger.run, data)
        return evaluate_run(tagger.run, split=split, path=path, overrides=to_words(overrides or {}))


def read(
    path: str | Path,
    format: str | Mapping[str, Any] | None = None,
    *,
    scheme: str = "iob2",
    split: str | None = None,
) -> list[Sentence]:
    """Return the sentences of a file or folder in any format that slotfill reads.

    A file's own tokens are kept; other texts are split into words. Slots that overlap a longer one
    are left out, with a warning.

    Args:
        path: The file, or the folder if the format has several files.
        format: The name of the format, or a mapping with the `name` and its options; by default it
            is guessed from the name of the file and its content.
        scheme: The tag scheme of a file with tags.
        split: The split to read of a file that names the split of each sentence; by default all.

    Returns:
        The sentences: `text`, `tokens`, `slots`, which are runs of tokens, or None where the
        sentence has no labels, and `intent`.

    Raises:
        UsageError: There is no such file, or an extra is missing.
        ConfigError: There is no such format, or no such option of it.
        DataError: The file cannot be read in its format.

    Examples:
        >>> sentence = slotfill.read("data/taipei/pairs.brackets")[0]
        >>> [(slot.name, sentence.value(slot)) for slot in sentence.slots]
        [('destination', 'taipei'), ('arrival_date', 'mar 27')]
    """
    import warnings

    from slotfill.data.corpus import read_sentences
    from slotfill.data.findings import describe_overlaps
    from slotfill.data.schemes import check_scheme
    from slotfill.errors import UsageError
    from slotfill.paths import to_path

    if not isinstance(format, str | Mapping | None):
        raise UsageError(f"a format is its name, or a mapping with it, not {format!r}")
    if isinstance(format, Mapping):
        from slotfill.config.builtin import check_format

        format = check_format(format)
    check_scheme(scheme)
    _check_split(split)
    result = read_sentences(
        to_path(path), format=format, scheme=scheme, split=split, keep_tokens=True, labelled=False
    )
    if overlaps := describe_overlaps(result.issues("overlap")):
        warnings.warn(overlaps, stacklevel=2)
    return [*result.sentences]


def _check_split(split: Any) -> None:
    """Raise UsageError if `split` is not the name of a split, or None."""
    from slotfill.errors import UsageError

    if not isinstance(split, str | None):
        raise UsageError(f"split is the name of a split, such as 'test', not {split!r}")
