"""slotfill: learn to fill the slots of sentences from labelled ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slotfill.version import __version__

if TYPE_CHECKING:
    from slotfill.inference.engine import EngineName
    from slotfill.runs.predict import Predictor

__all__ = ["__version__", "load"]


def load(run: str | Path, device: str = "cpu", engine: EngineName = "auto") -> Predictor:
    """Return the tagger in the run folder `run`; on a CPU its ONNX files compute, without torch, if
    it has them.

    >>> tagger = slotfill.load("runs/taipei")                               # doctest: +SKIP
    >>> tagger.predict(["leave Taipei on November 2nd"])[0].slots[0]        # doctest: +SKIP
    FilledSlot(name='origin', value='Taipei', start=6, end=12)
    """
    from slotfill.runs.predict import Predictor

    return Predictor.load(run, device, engine)
