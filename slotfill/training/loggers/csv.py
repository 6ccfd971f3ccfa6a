"""The file `history.csv` in the run folder: one row per epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotfill.training.loggers.base import Logger, metrics_of

if TYPE_CHECKING:
    from slotfill.training.progress import EpochMetrics


class Csv(Logger):
    """Writes `history.csv`, which the pages on a run read."""

    def start(self, run: Path, config: Mapping[str, Any]) -> None:
        self._path = run / "history.csv"
        self._path.unlink(missing_ok=True)
        self._columns: list[str] = []

    def log(self, epoch: EpochMetrics) -> None:
        row = metrics_of(epoch)
        is_first = not self._columns
        self._columns = self._columns or list(row)
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore", lineterminator="\n")
            if is_first:
                writer.writeheader()
            writer.writerow(row)
