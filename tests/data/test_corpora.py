"""Built-in configs on complete corpora, one seed each (slow); docs/results.md has the means."""

from __future__ import annotations

from pathlib import Path

import pytest

from slotfill.config.builtin import load_config
from slotfill.runs.evaluate import evaluate_run
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import load_run
from slotfill.runs.train import train

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = pytest.mark.slow


def trained(config_name: str, folder: Path, *overrides: str) -> Path:
    _, config = load_config(config_name, overrides, need_data=True)
    return train(config, RunFolder(folder / config_name), lambda progress: None).path


# Half a point below what the mean over seeds must be: a seed deviates by a few tenths.
@pytest.mark.parametrize(
    ("config_name", "least"), [("atis", 95.3), ("snips", 94.5), ("mit_restaurant", 78.5)]
)
def test_config_reaches_its_score(config_name, least, tmp_path):
    if not (CORPORA / config_name).is_dir():
        pytest.skip(f"the corpus {config_name} is not in {CORPORA}")
    run = load_run(trained(config_name, tmp_path, f"data.path={CORPORA / config_name}"))
    assert evaluate_run(run).overall.f1 >= least


def cities_right(run: Path) -> float:
    """Return the percentage of the cities in `pairs` with the correct role."""
    rows = [
        evaluate_run(load_run(run), split="pairs").slots[role] for role in ("origin", "destination")
    ]
    return sum(row.recall * row.support for row in rows) / sum(row.support for row in rows)


@pytest.mark.parametrize("config_name", ["taipei", "taipei_zh"])
def test_recurrent_encoder_distinguishes_arrival_from_departure(config_name, tmp_path):
    run = trained(config_name, tmp_path)
    assert evaluate_run(load_run(run)).overall.f1 >= 99
    assert evaluate_run(load_run(run), split="unseen").overall.f1 >= 95
    assert cities_right(run) >= 99


def test_feedforward_encoder_gets_at_most_half_of_the_cities(tmp_path):
    assert cities_right(trained("taipei-feedforward", tmp_path)) <= 50
