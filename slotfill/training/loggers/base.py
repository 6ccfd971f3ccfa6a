"""Base class of loggers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slotfill.training.progress import EpochMetrics


class Logger(ABC):
    """Records the epochs of a training as they end.

    A run that is resumed logs all its epochs again, from the first one, since the last ones may not
    have been recorded before it stopped: `start` removes what an earlier process has written, or
    `log` skips the epochs that it finds there.
    """

    folder = "logs"
    """The folder for files of loggers in a run folder."""

    @abstractmethod
    def start(self, run: Path, config: Mapping[str, Any]) -> None:
        """Prepare to log a run before its first epoch, or before it is resumed.

        Args:
            run: The folder that it trains in, which is renamed after `finish`; files of the logger
                are in `run / self.folder`.
            config: The complete config of the run, as in its `config.yaml`.
        """

    @abstractmethod
    def log(self, epoch: EpochMetrics) -> None:
        """Record an epoch."""

    def finish(self, scores: Mapping[str, float]) -> None:  # noqa: B027 - Not all need it.
        """End the record after the last epoch.

        Args:
            scores: The scores of the epoch that is kept, in percent: `test.f1`, and `test.intents`
                (their accuracy) if intents are learned, for `valid` and `test`.
        """


def metrics_of(epoch: EpochMetrics) -> dict[str, float]:
    """Return the metrics of an epoch by name, without those that are None."""
    return {name: value for name, value in asdict(epoch).items() if value is not None}
