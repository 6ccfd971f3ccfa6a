"""Prediction of batches of Arrow, for engines such as Ray Data, Spark, Dask and Daft."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from slotfill.config.registry import check_trust
from slotfill.data.arrow import append_columns, check_batch, describe_columns, read_texts
from slotfill.data.tables import check_types
from slotfill.errors import UsageError
from slotfill.paths import to_path
from slotfill.runs.device import EngineName, check_names
from slotfill.runs.hub import is_on_hub
from slotfill.runs.parallel import load_once
from slotfill.runs.tables import predict_values, prediction_columns

_Batch = TypeVar("_Batch")
"""A `pyarrow.Table` or a `pyarrow.RecordBatch`."""


class Batches:
    """From tables with a column of texts to the same with the columns of their predictions.

    A call takes and returns a `pyarrow.Table` or a `pyarrow.RecordBatch`, and what it adds is what
    `slotfill predict` adds to Parquet. It can be pickled: each process loads the run when it is
    first called there, from the same path. With Ray Data, a call is
    `ray.data.read_parquet("logs").map_batches(tag, batch_format="pyarrow")`.

    Examples:
        >>> import pyarrow
        >>> tag = slotfill.Batches("runs/taipei", text_column="utterance")
        >>> tag(pyarrow.table({"utterance": ["leave Taipei"]})).column_names
        ['utterance', 'slots', 'confidence', 'in_domain']
    """

    def __init__(
        self,
        run: str | Path,
        text_column: str = "text",
        device: str = "cpu",
        engine: EngineName = "auto",
        *,
        confidence: bool = True,
        now: datetime | None = None,
        threshold: float | None = None,
        thresholds: Mapping[str, float] | None = None,
        intent_threshold: float | None = None,
        trust: bool = False,
    ) -> None:
        """Predict the column `text_column`, where a null is a text without slots.

        Other arguments are those of `slotfill.load`. Raises UsageError for one of another type.
        That there is no such run is known to the first call only, maybe on another machine.
        """
        for name, value, wanted, allowed in (
            ("run", run or None, str | Path, "the path of a run"),
            ("text_column", text_column, str, "the name of a column"),
            ("confidence", confidence, bool, "True or False"),
            ("now", now, datetime | None, "a datetime"),
            ("thresholds", thresholds, Mapping | None, "probabilities by the names of slots"),
        ):
            if not isinstance(value, wanted):
                raise UsageError(f"Batches: {name} is {allowed}, not {value!r}")
        check_names(device, engine)
        check_trust(trust)
        path = to_path(run)
        self.run = path if is_on_hub(path) else path.absolute()
        self.text_column = text_column
        self.trust = trust
        self.options = {
            "device": device,
            "engine": engine,
            "confidence": confidence,
            "now": now or datetime.now(),  # All processes mean the same day by `tomorrow`.
            "threshold": threshold,
            "thresholds": tuple((thresholds or {}).items()),
            "intent_threshold": intent_threshold,
        }

    def __call__(self, batch: _Batch) -> _Batch:
        """Return the rows of `batch` with the columns of their predictions.

        Raises UsageError if it is something else or has no column of texts, and DataError if that
        has no texts, or if one of the new columns is there already.
        """
        check_batch(batch)
        predictor = load_once(self.run, self.trust, **self.options)
        columns = prediction_columns(predictor)
        table: Any = batch
        types = describe_columns(table.schema, "batch")
        check_types(types, self.text_column, columns, "batch")
        texts = read_texts(table, self.text_column)
        render = partial(predictor.render_stream, format="jsonl")
        return append_columns(table, columns, [*predict_values(texts, columns, render)])
