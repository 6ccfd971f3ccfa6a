"""Train the built-in configs with several seeds and write docs/results.md.

    python scripts/make_results.py                        all configs and ablations, seeds 1 to 5
    python scripts/make_results.py --only atis --jobs 2   two runs in parallel; an ablation is named
                                                          atis+label
    python scripts/make_results.py --page                 only the page, from existing runs

Runs are stored in runs/results and not trained again.
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

import numpy as np
import yaml
from measured import BILSTM_CRF, record

from slotfill.data.splits import read_split
from slotfill.evaluation.metrics import slot_counts
from slotfill.inference.tagging import predict
from slotfill.lab.compare.significance import compare_f1
from slotfill.runs.load import load_run

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "results"
PAGE = ROOT / "docs" / "results.md"
CORPORA = {"atis": "ATIS", "snips": "SNIPS", "mit_restaurant": "MIT Restaurant"}
CONFIGS = {
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
NO_NGRAMS = "embedding=[word, char_cnn]"
ABLATIONS = {
    "atis": {
        "plain": [NO_NGRAMS, "intent=null", "ensemble_size=1"],
        "no-ngrams": [NO_NGRAMS],
        "no-intents": ["intent=null"],
        "one": ["ensemble_size=1"],
        "language-model": ["train.language_model_weight=0.1"],
    },
    "snips": {
        "plain": [NO_NGRAMS, "train.language_model_weight=0"],
        "no-ngrams": [NO_NGRAMS],
        "no-language-model": ["train.language_model_weight=0"],
        "intents": ["intent={name: attention, feed: true}"],
    },
    # Its sentences have no intents.
    "mit_restaurant": {
        "plain": [NO_NGRAMS, "train.language_model_weight=0"],
        "no-ngrams": [NO_NGRAMS],
        "no-language-model": ["train.language_model_weight=0"],
        "two": ["ensemble_size=2"],
    },
}
"""Overrides of each config by label; `python scripts/make_results.py` trains each, all seeds."""

TRANSFORMERS = ("atis-minilm", "snips-minilm")
"""Runs of scripts/train_minilm.py."""

PUBLISHED = ROOT / "scripts" / "published.yaml"
ROLES = ("origin", "destination")


@dataclass
class Result:
    """Scores and environment of one run, and its scores on the extra splits."""

    config_name: str
    seed: int
    notes: dict[str, Any]
    environment: dict[str, Any]
    extra: dict[str, dict[str, Any]]
    epoch_seconds: float

    @property
    def megabytes(self) -> float:
        """Size of the ONNX files in 32 bits."""
        return (
            sum(
                file.stat().st_size
                for file in run_folder(self.config_name, self.seed).glob("*.onnx")
            )
            / 1e6
        )

    def f1(self, split: str) -> float:
        """Return the slot F1 on `split`, in percent."""
        score = self.extra.get(split) or self.notes["splits"][split]
        return float(score["overall"]["f1"])

    def cities(self, split: str) -> float:
        """Return the share, in percent, of the cities in `split` with a correct role."""
        rows = [self.extra[split]["slots"][role] for role in ROLES]
        right = sum(row["recall"] * row["support"] for row in rows)
        return float(right / sum(row["support"] for row in rows))


def run_folder(config_name: str, seed: int) -> Path:
    """Return the run folder of a seed of a config, or of an ablation, `config+label`."""
    return RUNS / f"{config_name}-seed{seed}"


def extra_scores_path(config_name: str, seed: int, split: str) -> Path:
    """Return the file of the scores on a split that training does not score."""
    return RUNS / f"{config_name}-seed{seed}.{split}.json"


def slotfill(*words: object) -> str:
    """Run a command and return what it printed; its errors end the script."""
    command = [sys.executable, "-m", "slotfill", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def train(job: tuple[str, int]) -> None:
    """Train one config with one seed if the run is missing, and evaluate its extra splits."""
    config_name, seed = job
    folder = run_folder(config_name, seed)
    if not folder.exists():
        print(f"training {folder.name}", flush=True)
        name, _, label = config_name.partition("+")
        # Times of ablations are not reported, and parallel runs with one process each finish first.
        changes = [*ABLATIONS[name][label], "train.processes=1"] if label else []
        slotfill("train", name, *changes, "--seed", seed, "--out", folder, "--force")
    for split in CONFIGS.get(config_name, ()):
        target = extra_scores_path(config_name, seed, split)
        if not target.exists():
            target.write_text(
                slotfill("evaluate", folder, "--split", split, "--json"), encoding="utf-8"
            )


def read(config_name: str, seed: int) -> Result:
    """Return the result of one finished run."""
    folder = run_folder(config_name, seed)
    rows = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
    column = rows[0].split(",").index("seconds")
    return Result(
        config_name,
        seed,
        json.loads((folder / "scores.json").read_text(encoding="utf-8")),
        json.loads((folder / "environment.json").read_text(encoding="utf-8")),
        {
            split: json.loads(extra_scores_path(config_name, seed, split).read_text("utf-8"))
            for split in CONFIGS.get(config_name, ())
        },
        statistics.median(float(row.split(",")[column]) for row in rows[1:]),
    )


def spread(values: list[float], digits: int = 2) -> str:
    """Return `mean ± sample standard deviation`."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def counts(config_name: str, seeds: list[int]) -> np.ndarray:
    """Return correct, predicted and gold slots on test by run, `(seed, sentence, 3)`."""
    by_run = []
    for seed in seeds:
        run = load_run(run_folder(config_name, seed))
        sentences = read_split(run.config.data, "test").sentences
        by_run.append(slot_counts(sentences, predict(run.engine, run.vocab, sentences)[0]))
    return np.array(by_run)


def machine(environment: dict[str, Any]) -> str:
    """Return the machine and the versions of a run."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    machine_text = f"{environment['processors']} processors, {environment['platform']}"
    return f"Machine: {machine_text}; Python {environment['python']}, {versions}"


def ablation_rows(results: dict[str, list[Result]]) -> list[list[str]]:
    """Return a row for each ablation: its scores and the difference from its config, same seeds."""
    rows = []
    for config_name, changes in ABLATIONS.items():
        for label, change in changes.items():
            name = f"{config_name}+{label}"
            own = {run.seed for run in results.get(config_name, [])}
            seeds = [run.seed for run in results.get(name, []) if run.seed in own]
            if not seeds:
                continue
            ablation_counts, config_counts = counts(name, seeds), counts(config_name, seeds)
            found = compare_f1(ablation_counts, config_counts)
            interval, p = "one seed", ""
            if found.interval is not None:
                interval, p = "{:+.2f} to {:+.2f}".format(*found.interval), f"{found.p:.3f}"
            rows.append(
                [
                    f"`{config_name}`",
                    " ".join(f"`{word}`" for word in change),
                    str(len(seeds)),
                    spread([run.f1("valid") for run in results[name]]),
                    spread([run.f1("test") for run in results[name]]),
                    f"{found.difference:+.2f}",
                    interval,
                    p,
                ]
            )
    return rows


def published(results: dict[str, list[Result]]) -> list[list[str]]:
    """Return the rows of published results and ours, by corpus and from low to high."""
    rows = []
    for entry in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")):
        source = "; ".join(filter(None, (entry["source"], entry["note"])))
        about = [entry["system"], str(entry["pretrained"]), str(entry["picked_on"]), source]
        rows.append((list(CORPORA).index(entry["corpus"]), float(entry["f1"]), about))
    for config_name in filter(results.__contains__, CORPORA):
        mean = statistics.mean(run.f1("test") for run in results[config_name])
        about = [
            f"**slotfill `{config_name}`**",
            "none",
            "valid",
            f"mean of {len(results[config_name])} runs",
        ]
        rows.append((list(CORPORA).index(config_name), mean, about))
    return [
        [list(CORPORA.values())[corpus], about[0], f"{f1:.2f}", *about[1:]]
        for corpus, f1, about in sorted(rows, key=lambda row: row[:2])
    ]


def _ideas(rows: list[list[str]]) -> str:
    """Return the section of the ablations, empty if none has been trained."""
    if not rows:
        return ""
    head = ["config", "changed", "seeds", "valid F1", "test F1", "difference", "interval", "p"]
    return f"""## Ablations

A config with a change, trained by one process, against the config itself with the same seeds and
its own number of processes, which changes the random numbers: the difference in mean test F1, its
95 % interval and its p-value over seeds and sentences ([compare.md](compare.md#the-statistics)).

{table(head, rows)}

"""


def _over_transformers(results: dict[str, list[Result]]) -> str:
    """Return the section on pretrained transformers, empty if none has been trained."""
    rows = [
        [
            f"`{name}`",
            ", ".join(str(run.seed) for run in runs),
            spread([run.f1("valid") for run in runs]),
            spread([run.f1("test") for run in runs]),
            spread([run.notes["epochs"] for run in runs], 0),
            spread([run.notes["train_seconds"] for run in runs], 0),
        ]
        for name, runs in results.items()
        if name in TRANSFORMERS
    ]
    if not rows:
        return ""
    return f"""## With a pretrained transformer

A BiLSTM-CRF on a learned mix of the layers of all-MiniLM-L6-v2, 22 million frozen weights, instead
of word and character embeddings; trained by `python scripts/train_minilm.py`, on one processor.

{table(["run", "seeds", "valid F1", "test F1", "epochs", "total s"], rows)}

"""


def page(results: dict[str, list[Result]]) -> str:
    """Return docs/results.md."""
    first = next(iter(results.values()))[0].environment
    rows, seeds = [], []
    sizes, intents = [], []
    for config_name, runs in results.items():
        if config_name not in CONFIGS:
            continue
        scores = [run.notes["splits"]["test"] for run in runs]
        rows.append(
            [
                f"`{config_name}`",
                str(len(runs)),
                spread([run.f1("valid") for run in runs]),
                spread([run.f1("test") for run in runs]),
                spread([score["sentence_accuracy"] for score in scores]),
            ]
        )
        sizes.append(
            [
                f"`{config_name}`",
                f"{runs[0].notes['parameters']:,}",
                f"{runs[0].megabytes:.1f}",
                spread([run.notes["epochs"] for run in runs], 0),
                f"{statistics.median(run.epoch_seconds for run in runs):.2f}",
                spread([run.notes["train_seconds"] for run in runs], 0),
            ]
        )
        if scores[0].get("intent"):
            right = [
                spread([score["intent"][key] for score in scores])
                for key in ("accuracy", "frame_accuracy")
            ]
            intents.append([f"`{config_name}`", *right])
        for run in runs:
            low, high = run.notes["splits"]["test"]["f1_interval"]
            seeds.append(
                [
                    f"`{config_name}`",
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
            f"`{config_name}`",
            spread([run.f1("test") for run in runs]),
            spread([run.f1("unseen") for run in runs]),
            spread([run.f1("pairs") for run in runs]),
            spread([run.cities("pairs") for run in runs]),
        ]
        for config_name, runs in results.items()
        if "pairs" in CONFIGS.get(config_name, ())
    ]
    return f"""# Results

This page has the scores of the built-in configs, what each of their parts contributes, and how they
compare with published results. `python scripts/make_results.py` writes it from the runs that it
trains.

No external data and no pretrained weights. Models are selected on valid and scored on test. F1 is
computed over exact slots, as in seqeval's default mode; `±` is the sample standard deviation over
the seeds. Times are wall-clock seconds on as many processors as the config's `train.processes`,
including validation.

{machine(first)}.

## Built-in configs

{table(["config", "seeds", "valid F1", "test F1", "sentence accuracy"], rows)}

Size is that of the files that prediction reads, in float32.

{table(["config", "parameters", "MB", "epochs", "s per epoch", "total s"], sizes)}

For configs with intents: the percentage of test sentences whose intents are all correct, and of
those whose slots are correct too. An intent that does not occur in training counts as an error.

{table(["config", "intent accuracy, %", "frame accuracy, %"], intents)}

{_ideas(ablation_rows(results))}{_over_transformers(results)}## Published results

"Selected on" is the split on which the system's released code selects its epoch. The table notes,
as far as it could be found, if a score is the best of many runs, was selected on test, or uses
external features or vectors. Ours are means of runs selected on valid, without external data.

{table(["corpus", "system", "F1", "pretrained", "selected on", "source"], published(results))}

## The booking desk

`unseen` has cities and airlines that never occur in training. `pairs` has sentences that differ
only in *arrive* or *leave* (抵達 or 離開): "cities" is the percentage of their cities that are
correctly tagged as origin or destination. Each city occurs once as either, so a tagger without
memory gets at most half of them.

{table(["config", "test F1", "unseen F1", "pairs F1", "pairs: cities, %"], desk)}

## All runs

The interval is the 95 % bootstrap interval of test F1 over sentences.

{table(["config", "seed", "best epoch", "valid F1", "test F1", "interval", "date"], seeds)}
"""


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [
        *CONFIGS,
        *(
            f"{config_name}+{label}"
            for config_name, changes in ABLATIONS.items()
            for label in changes
        ),
    ]
    parser.add_argument("--seeds", default="1,2,3,4,5", help="seeds, separated by commas")
    parser.add_argument(
        "--only", action="append", choices=names, help="train this alone; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    if not args.page:
        jobs = [(config_name, seed) for config_name in args.only or names for seed in seeds]
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(train, jobs))
    known = [*names, *TRANSFORMERS]
    done = {
        config_name: [
            read(config_name, seed) for seed in seeds if run_folder(config_name, seed).exists()
        ]
        for config_name in known
    }
    PAGE.write_text(
        page({config_name: runs for config_name, runs in done.items() if runs}), encoding="utf-8"
    )
    folders = [run_folder(run.config_name, run.seed) for runs in done.values() for run in runs]
    record(
        "docs/results.md",
        "python scripts/make_results.py",
        *BILSTM_CRF,
        "configs/*.yaml",
        runs=folders,
    )
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
