"""Event files for TensorBoard, in `logs` of the run folder; `tensorboard --logdir runs` shows them.

Needs TensorBoard: `pip install 'slotfill[tensorboard]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotfill.extras import required_for
from slotfill.training.loggers.base import Logger, metrics_of

if TYPE_CHECKING:
    from slotfill.training.progress import EpochMetrics


class TensorBoard(Logger):
    """Writes each metric of an epoch as a scalar, and the final scores."""

    def __init__(self) -> None:
        with required_for("train.log: tensorboard"):
            import torch.utils.tensorboard  # noqa: F401

    def start(self, run: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / self.folder
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(folder)
        self._epoch = 0

    def log(self, epoch: EpochMetrics) -> None:
        self._epoch = epoch.epoch
        self._write({k: v for k, v in metrics_of(epoch).items() if k != "epoch"})

    def finish(self, scores: Mapping[str, float]) -> None:
        self._write(scores)
        self._writer.close()

    def _write(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, self._epoch)
        self._writer.flush()
