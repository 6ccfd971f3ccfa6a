"""Continued training: from the weights of a run, on new sentences and some of its own.

The network is that of the run; its vocabulary, slots and intents grow by those of the new
sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slotfill.config.inherit import check_same_network
from slotfill.config.models import Config
from slotfill.config.sections import DataConfig
from slotfill.data.corpus import ReadResult
from slotfill.data.sentence import Sentence, Slot
from slotfill.errors import ConfigError, UsageError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import EvaluationResult, slot_f1
from slotfill.files import shorten_path
from slotfill.inference.tagging import predict
from slotfill.runs.load import Run, is_generator, load_run, open_run, parse_run_config
from slotfill.runs.manifest import RunFiles


def read_base_config(run: Path) -> tuple[Config, list[str]]:
    """Return the config of a run to continue, without sentences that are gone, and what is gone.

    Raises UsageError if there is no such run, or if it has no weights to start from.
    """
    files = check_has_weights(run)
    config = parse_run_config(files["config.yaml"], run)
    lost: list[str] = []
    data = _drop_missing(config.data, lost)
    if data.path is None and data.train is None:
        lost = [
            f"{run} was trained with {', '.join(lost)}, which is gone; without those sentences its"
            " slots may be unlearned"
        ]
    else:
        lost = [f"{each}, which {run} was trained with, is gone" for each in lost]
    return config.model_copy(update={"data": data}), lost


def load_with_base(
    load: Callable[[Config | None], tuple[str, Config]], run: Path | None
) -> tuple[str, Config, list[str]]:
    """Return the name of a config, the config, and warnings on sentences that are gone.

    Args:
        load: Returns the name and the config, given the config of the run that it continues.
        run: That run; None if it is the one that the config names, if any.
    """
    if run is None:
        name, config = load(None)
        if config.train.from_run is None:
            return name, config, []
        run = find_base(config)
    base, lost = read_base_config(run)
    return *load(base), lost


def check_has_weights(run: Path) -> RunFiles:
    """Return the files of a run; raises UsageError if it has no weights to start from."""
    if is_generator(run):
        raise UsageError(
            f"{run} is a generator, from whose weights no training starts; give the run folder of a"
            f" tagger, or train on what it writes: slotfill generate {run} --sentences 100 --out"
            " FILE"
        )
    files = open_run(run)
    if files.is_packed:
        raise UsageError(
            f"{run}: a packed run has no weights to start from; give the run folder that it was"
            " packed from"
        )
    return files


def find_base(config: Config) -> Path:
    """Return the path of the run that `config` continues.

    Raises ConfigError if it is gone, or has no weights to start from.
    """
    assert config.train.from_run is not None
    path = shorten_path(config.train.from_run)
    try:
        check_has_weights(path)
    except UsageError as error:
        problem = f"the run whose training continues: {error}"
        raise ConfigError(problem, "train.from_run") from None
    return path


def _drop_missing(data: DataConfig, lost: list[str]) -> DataConfig:
    """Return `data` without files that are gone, whose paths are added to `lost`."""
    keys = ("path", "train", "valid", "test")
    gone = [key for key in keys if (path := getattr(data, key)) and not Path(path).exists()]
    lost += [str(shorten_path(getattr(data, key))) for key in gone]
    changes = dict.fromkeys(gone)
    if data.earlier:
        earlier = _drop_missing(data.earlier, lost)
        changes["earlier"] = earlier if earlier.path or earlier.train else None
    if "valid" in gone:
        changes["holdout"] = 0.0  # Otherwise sentences of train would become those of valid.
    return data.model_copy(update=changes)


def load_base(config: Config, out: Path | None = None) -> Run | None:
    """Return the run that training with `config` continues; None if it continues none.

    Raises UsageError if `out`, the folder to write, is the same, ConfigError where `config`
    describes another network, and what `load_run` raises.
    """
    if config.train.from_run is None:
        return None
    path = find_base(config)
    if out is not None and out.exists() and out.samefile(path):
        raise UsageError(f"{path} is the run that training continues; choose another --out")
    base = load_run(path, engine="torch")
    check_continues(config, base.config, path)
    return base


def check_continues(config: Config, base: Config, run: Path) -> None:
    """Raise ConfigError if training with `config` cannot continue `run`, whose config is `base`."""
    check_same_network(config, base, str(run))


@dataclass(frozen=True)
class Comparison:
    """The scores of a split before training continued, beside those after it."""

    before: EvaluationResult
    """The scores of the run that training continued."""
    old_f1: tuple[float, float]
    """F1 of the slots that this run knew, before and after."""
    new_f1: float | None
    """F1 of the other slots; None if the split has none of them."""

    @classmethod
    def measure(cls, base: Run, run: Run, sentences: Sequence[Sentence]) -> Comparison:
        """Compare `run` to `base`, which it continues, on labelled sentences."""
        before = evaluate(base.engine, base.vocab, sentences, base.calibration)
        old = set(base.vocab.slot_names)
        new = {slot.name for each in sentences for slot in each.slots or ()} - old
        base_slots, slots = (
            predict(each.engine, each.vocab, sentences, each.calibration)
            .above_thresholds(each.calibration)
            .slots
            for each in (base, run)
        )
        old_f1 = f1_of_names(sentences, base_slots, old), f1_of_names(sentences, slots, old)
        return cls(before, old_f1, f1_of_names(sentences, slots, new) if new else None)


def f1_of_names(
    gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]], names: Set[str]
) -> float:
    """Return the micro-averaged F1 of the slots called `names`, in percent."""

    def keep(slots: Sequence[Slot] | None) -> list[Slot]:
        return [slot for slot in slots or () if slot.name in names]

    named = [replace(sentence, slots=keep(sentence.slots)) for sentence in gold]
    return slot_f1(named, [*map(keep, predicted)])


@dataclass(frozen=True)
class Continuation:
    """What a training has continued, and what has become of its slots."""

    run: Path
    """The run whose weights it has started from."""
    new_sentences: int
    """How many of the training sentences are new."""
    earlier_sentences: int
    """How many are those of `run`."""
    of_earlier: int
    """How many sentences `run` was trained on that are still there."""
    new_slots: list[str]
    """The slots that `run` did not know."""
    comparisons: dict[str, Comparison]
    """The scores by split, before and after."""

    @classmethod
    def measure(cls, base: Run, run: Run, results: Mapping[str, ReadResult]) -> Continuation:
        """Compare `run` to `base`, which it continues, on the splits that were read."""
        train = results["train"]
        earlier, of_earlier = train.earlier
        return cls(
            base.files.path,
            len(train.sentences) - earlier,
            earlier,
            of_earlier,
            sorted({*run.vocab.slot_names} - {*base.vocab.slot_names}),
            {
                split: Comparison.measure(base, run, result.sentences)
                for split, result in results.items()
                if split != "train"
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `scores.json` has of it."""
        return {
            "run": str(self.run),
            "new_sentences": self.new_sentences,
            "earlier_sentences": self.earlier_sentences,
            "new_slots": self.new_slots,
            "splits": {
                split: {"old_f1": each.old_f1, "new_f1": each.new_f1}
                for split, each in self.comparisons.items()
            },
        }
