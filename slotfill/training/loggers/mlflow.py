"""A run of MLflow, with the config as its parameters and a metric for each score.

It has the name of the run folder. Its id is in `logs/mlflow_run_id`, by which a training that is
resumed goes on with it. Needs MLflow: `pip install 'slotfill[mlflow]'`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotfill.errors import RunError
from slotfill.extras import required_for
from slotfill.files import read_regular_file, write_in_folder
from slotfill.training.loggers.base import Logger, metrics_of

if TYPE_CHECKING:
    from slotfill.training.progress import EpochMetrics

_MAX_PARAMETER = 500
"""The characters of a parameter that every store of MLflow takes."""


class MLflow(Logger):
    """Logs to the tracking server or store that MLflow is set to.

    experiment: The name of the experiment, which is made if there is none.
    tracking_uri: The server or store, such as `sqlite:///mlflow.db`; null: that of the variable
        `MLFLOW_TRACKING_URI`, or MLflow's default.
    """

    def __init__(self, *, experiment: str = "slotfill", tracking_uri: str | None = None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        with required_for("train.log: mlflow"):
            from mlflow import MlflowClient
        self.experiment = experiment
        with _reported_errors():
            self._client = MlflowClient(tracking_uri)

    def start(self, run: Path, config: Mapping[str, Any]) -> None:
        file = run / self.folder / "mlflow_run_id"
        with _reported_errors():
            if file.exists():
                self._run = read_regular_file(file).decode()
                logged = self._client.get_metric_history(self._run, "loss")
                self._logged = {metric.step for metric in logged}
                self._client.update_run(self._run, status="RUNNING")
                return
            found = self._client.get_experiment_by_name(self.experiment)
            experiment = (
                found.experiment_id if found else self._client.create_experiment(self.experiment)
            )
            name = run.name.removesuffix(".partial")
            self._run = self._client.create_run(experiment, run_name=name).info.run_id
            self._logged = set()
            file.parent.mkdir(exist_ok=True)
            write_in_folder(file, self._run)
            for key, value in _flatten(config):
                self._client.log_param(self._run, key, str(value)[:_MAX_PARAMETER])

    def log(self, epoch: EpochMetrics) -> None:
        if epoch.epoch not in self._logged:
            metrics = {k: v for k, v in metrics_of(epoch).items() if k != "epoch"}
            self._write(metrics, epoch.epoch)

    def finish(self, scores: Mapping[str, float]) -> None:
        self._write(scores, 0)
        with _reported_errors():
            self._client.set_terminated(self._run)

    def _write(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with _reported_errors():
            metrics = [Metric(name, value, now, step) for name, value in values.items()]
            self._client.log_batch(self._run, metrics)


def _flatten(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a config with its key, which has dots."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{key}.{index}")
    else:
        yield key, value


@contextmanager
def _reported_errors() -> Iterator[None]:
    """Within the block, an error of MLflow is a RunError in one line."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = " ".join(str(error).split())
        raise RunError(f"train.log: mlflow: {reason}") from None
