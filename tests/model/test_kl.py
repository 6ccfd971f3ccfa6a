"""The divergence that KL bottlenecks add to the loss, as history.csv reports it."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slotfill.cli.main import app

TAIPEI = Path(__file__).resolve().parents[2] / "data" / "taipei"


def train_history(cell, folder):
    """The lines of history.csv of a short run on the first sentences of Taipei."""
    for split, count in (("train", 100), ("valid", 10)):
        with (TAIPEI / f"{split}.brackets").open(encoding="utf-8") as lines:
            (folder / f"{split}.brackets").write_text(
                "".join(islice(lines, count)), encoding="utf-8"
            )
    settings = [
        f"data.path={folder}", "embedding={name: word, size: 16}", f"encoder.cell={cell}",
        "encoder.hidden_size=16",
        "train.epochs=5", "train.batch_size=16", "train.learning_rate=0.02",
    ]  # fmt: skip
    done = CliRunner().invoke(
        app, ["train", "taipei", *settings, "--out", str(folder / "run"), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    with (folder / "run" / "history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("prior", ["learned", "fixed"])
def test_kl_term_decreases_in_training(prior, tmp_path):
    rows = train_history(f"{{name: kl_bottleneck, latent_size: 4, prior: {prior}}}", tmp_path)
    divergences = [float(row["kl"]) for row in rows]
    assert all(0 < kl < float(row["loss"]) for kl, row in zip(divergences, rows, strict=True))
    assert divergences[-1] < 0.5 * divergences[0]


def test_no_kl_term_without_kl_bottleneck(trained):
    with (trained / "history.csv").open(encoding="utf-8") as file:
        assert {row["kl"] for row in csv.DictReader(file)} == {"0.0"}
