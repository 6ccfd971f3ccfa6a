"""slotfill: learn to fill the slots of sentences from labelled ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slotfill.version import __version__

if TYPE_CHECKING:
    from datetime import datetime

    from slotfill.runs.device import EngineName
    from slotfill.runs.predict import Predictor

__all__ = ["__version__", "load"]


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

    >>> tagger = slotfill.load("runs/taipei")                               # doctest: +SKIP
    >>> tagger.predict(["leave Taipei on November 2nd"])[0].slots[0]        # doctest: +SKIP
    FilledSlot(name='origin', value='Taipei', start=6, end=12)
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
