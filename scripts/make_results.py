"""Train the recipes over several seeds and write docs/results.md from what the runs say of themselves.

    python scripts/make_results.py                       all recipes, seeds 1, 2, 3
    python scripts/make_results.py --only atis --jobs 2  two runs at a time
    python scripts/make_results.py --page                the page alone, from the runs that are there

Runs are kept in runs/results and not trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "results"
PAGE = ROOT / "docs" / "results.md"
RECIPES = {
    "taipei": ("unseen", "pairs"),
    "taipei-feedforward": ("unseen", "pairs"),
    "taipei_zh": ("unseen", "pairs"),
    "atis": (),
    "snips": (),
    "mit_restaurant": (),
    "atis-small": (),
    "snips-small": (),
    "mit_restaurant-small": (),
}
ROLES = ("origin", "destination")


@dataclass
class Result:
    """What one run says of itself, and its scores on the extra splits."""

    recipe: str
    seed: int
    notes: dict[str, Any]
    environment: dict[str, Any]
    extra: dict[str, dict[str, Any]]
    epoch_seconds: float

    def f1(self, split: str) -> float:
        """Return the slot F1 on `split`, in percent."""
        score = self.extra.get(split) or self.notes["splits"][split]
        return float(score["overall"]["f1"])

    def cities(self, split: str) -> float:
        """Return the share, in percent, of the cities in `split` that were found in their role."""
        rows = [self.extra[split]["slots"][role] for role in ROLES]
        right = sum(row["recall"] * row["support"] for row in rows)
        return float(right / sum(row["support"] for row in rows))


def folder_of(recipe: str, seed: int) -> Path:
    """Return the run folder of a recipe's seed."""
    return RUNS / f"{recipe}-seed{seed}"


def extra_of(recipe: str, seed: int, split: str) -> Path:
    """Return the file of the scores on a split that training does not score."""
    return RUNS / f"{recipe}-seed{seed}.{split}.json"


def slotfill(*words: object) -> str:
    """Run a command and return what it printed; its errors end the script."""
    command = [sys.executable, "-m", "slotfill", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def train(job: tuple[str, int]) -> None:
    """Train one recipe with one seed, unless that has been done, and score its extra splits."""
    recipe, seed = job
    folder = folder_of(recipe, seed)
    if not folder.exists():
        print(f"training {folder.name}", flush=True)
        slotfill("train", recipe, "--seed", seed, "--out", folder, "--force")
    for split in RECIPES[recipe]:
        target = extra_of(recipe, seed, split)
        if not target.exists():
            target.write_text(slotfill("evaluate", folder, "--split", split, "--json"), encoding="utf-8")


def read(recipe: str, seed: int) -> Result:
    """Return the result of one finished run."""
    folder = folder_of(recipe, seed)
    rows = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
    column = rows[0].split(",").index("seconds")
    return Result(
        recipe,
        seed,
        json.loads((folder / "scores.json").read_text(encoding="utf-8")),
        json.loads((folder / "environment.json").read_text(encoding="utf-8")),
        {split: json.loads(extra_of(recipe, seed, split).read_text("utf-8")) for split in RECIPES[recipe]},
        statistics.median(float(row.split(",")[column]) for row in rows[1:]),
    )


def spread(values: list[float], digits: int = 2) -> str:
    """Return `mean ± deviation`, the deviation that of a sample."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(results: dict[str, list[Result]]) -> str:
    """Return docs/results.md."""
    first = next(iter(results.values()))[0].environment
    rows, seeds = [], []
    for recipe, runs in results.items():
        rows.append(
            [
                f"`{recipe}`",
                str(len(runs)),
                spread([run.f1("valid") for run in runs]),
                spread([run.f1("test") for run in runs]),
                spread([run.notes["splits"]["test"]["sentence_accuracy"] for run in runs]),
                f"{runs[0].notes['parameters']:,}",
                spread([run.notes["epochs"] for run in runs], 0),
                f"{statistics.median(run.epoch_seconds for run in runs):.2f}",
                spread([run.notes["train_seconds"] for run in runs], 0),
            ]
        )
        for run in runs:
            low, high = run.notes["splits"]["test"]["f1_interval"]
            seeds.append(
                [
                    f"`{recipe}`",
                    str(run.seed),
                    str(run.notes["best_epoch"]),
                    f"{run.f1('valid'):.2f}",
                    f"{run.f1('test'):.2f}",
                    f"{low:.2f} to {high:.2f}",
                    run.environment["finished"][:10],
                ]
            )
    desk = [
        [
            f"`{recipe}`",
            spread([run.f1("test") for run in runs]),
            spread([run.f1("unseen") for run in runs]),
            spread([run.f1("pairs") for run in runs]),
            spread([run.cities("pairs") for run in runs]),
        ]
        for recipe, runs in results.items()
        if "pairs" in RECIPES[recipe]
    ]
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    return f"""# Results

Written by `python scripts/make_results.py` from the run folders it trained; not edited by hand.

No external data and no pretrained weights. The epoch is picked on valid, the score is on test, and test picks
nothing. F1 is over whole slots, as seqeval counts them in its default mode; `±` is the deviation of a sample over
the seeds. Times are wall-clock seconds on as many processors as the recipe's `train.threads` says, validation
included.

Machine: {first["processors"]} processors, {first["platform"]}; Python {first["python"]}, {versions}.

## Recipes

{
        table(
            [
                "recipe",
                "seeds",
                "valid F1",
                "test F1",
                "test sentences right",
                "parameters",
                "epochs",
                "s an epoch",
                "s in all",
            ],
            rows,
        )
    }

## The booking desk

`unseen` holds cities and airlines that never occur in training. `pairs` holds sentences that differ only in
*arrive* or *leave* (抵達 or 離開): "cities" is the share of their cities found as what they are, origin or
destination. Each city occurs once as either, so no tagger without memory gets more than half of them.

{table(["recipe", "test F1", "unseen F1", "pairs F1", "pairs: cities right, %"], desk)}

## Every run

The interval is the 95 % bootstrap interval of test F1 over sentences.

{table(["recipe", "seed", "best epoch", "valid F1", "test F1", "interval", "date"], seeds)}
"""


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3", help="seeds, parted by commas")
    parser.add_argument("--only", action="append", choices=RECIPES, help="train this recipe alone; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--page", action="store_true", help="train nothing")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    if not given.page:
        jobs = [(recipe, seed) for recipe in given.only or RECIPES for seed in seeds]
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(train, jobs))
    done = {recipe: [read(recipe, seed) for seed in seeds if folder_of(recipe, seed).exists()] for recipe in RECIPES}
    PAGE.write_text(page({recipe: runs for recipe, runs in done.items() if runs}), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
