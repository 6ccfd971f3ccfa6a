"""Inject label errors into a corpus, let `data --suspects` look for them, and write the table.

    python scripts/make_label_errors.py                    all corpora, seeds 1 to 3
    python scripts/make_label_errors.py --only taipei      one of them; the others keep their rows

The results are in docs/label_errors.json, and the tables of docs/label_errors.md are written from
them and from the judgements in scripts/annotated_suspects.yaml. Runs are not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path
from typing import NamedTuple

import yaml
from measured import BILSTM_CRF, record

from slotfill.config.builtin import load_config
from slotfill.data.corpus import write_sentences
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.splits import read_split
from slotfill.lab.compare.plan import plan
from slotfill.lab.compare.runner import run_jobs
from slotfill.lab.suspects import Suspect, find_suspects

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "label_errors.md"
RESULTS = ROOT / "docs" / "label_errors.json"
JUDGEMENTS = ROOT / "scripts" / "annotated_suspects.yaml"
SHARE = 0.05
"""The share of the sentences that an error is injected into."""
TOP = 100
KINDS = ("name", "boundary", "removed", "added")
CORPORA = {
    "taipei": ("taipei", 2000, ["train.epochs=6", "embedding=[word]"]),
    "mit_restaurant": ("mit_restaurant-small", 3000, ["train.epochs=8", "train.processes=1"]),
}
"""By corpus: the config, the number of training sentences that are drawn, and overrides."""


class Injected(NamedTuple):
    """An error: its line in the file, the characters that it concerns, and its kind."""

    line: int
    start: int
    end: int
    kind: str


def inject(sentences: list[Sentence], draw: random.Random) -> list[Injected]:
    """Change one label of a share of `sentences`, and return what was changed."""
    names = sorted({slot.name for sentence in sentences for slot in sentence.slots or ()})
    lines = draw.sample(range(len(sentences)), len(sentences))
    errors: list[Injected] = []
    for line in lines:
        if len(errors) == round(SHARE * len(sentences)):
            break
        sentence, kind = sentences[line], KINDS[len(errors) % len(KINDS)]
        slots = list(sentence.slots or ())
        free = set(range(len(sentence.tokens)))
        free -= {token for slot in slots for token in range(slot.start, slot.end)}
        old = new = None
        if kind == "added":
            if free:
                start = draw.choice(sorted(free))
                new = Slot(draw.choice(names), start, start + 1)
        elif slots:
            old = draw.choice(slots)
            if kind == "name":
                new = old._replace(name=draw.choice([n for n in names if n != old.name]))
            elif kind == "boundary":
                moved = [old._replace(start=old.start + 1), old._replace(end=old.end - 1)]
                moved = [slot for slot in moved if slot.start < slot.end]
                moved += [old._replace(start=old.start - 1)] * (old.start - 1 in free)
                moved += [old._replace(end=old.end + 1)] * (old.end in free)
                new = draw.choice(moved) if moved else None
        if (old is None and new is None) or (kind == "boundary" and new is None):
            continue
        changed = [slot for slot in slots if slot != old] + ([new] if new else [])
        sentence.slots = sorted(changed, key=lambda slot: slot.start)
        touched = [sentence.span(slot) for slot in (old, new) if slot]
        start, end = min(s for s, _ in touched), max(e for _, e in touched)
        errors.append(Injected(line + 1, start, end, kind))
    return errors


def points_at(suspect: Suspect, error: Injected) -> bool:
    """Return whether the suspect is the label, or the missing label, of an injected error."""
    if int(suspect.location.rpartition(":")[2]) != error.line:
        return False
    spans = [each for each in (suspect.label, suspect.predicted) if isinstance(each, dict)]
    return any(span["start"] < error.end and error.start < span["end"] for span in spans)


def experiment(corpus: str, seed: int) -> dict[str, object]:
    """Return how many of the injected errors are found, and how many suspects are errors."""
    config, size, overrides = CORPORA[corpus]
    draw = random.Random(seed)
    data = load_config(config, [])[1].data
    sentences = draw.sample(read_split(data, "train").sentences, size)
    errors = inject(sentences, draw)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sentences(folder / "train.jsonl", sentences)
        source = [f"data.path={folder / 'train.jsonl'}", "data.train=null", "data.valid=null"]
        changes = [*source, "data.test=null", *overrides]
        jobs = plan([config], folder / "runs", overrides=changes, seeds=[seed], folds=5)
        if failed := run_jobs(jobs, lambda job, text: print(f"{job.title}: {text}", flush=True)):
            raise SystemExit(str(failed))
        noisy = load_config(config, changes)[1].data
        suspects = find_suspects(jobs, noisy)
    top = suspects[:TOP]
    right = [any(points_at(suspect, error) for error in errors) for suspect in top]
    found = Counter(e.kind for e in errors if any(points_at(s, e) for s in suspects))
    kinds = Counter(error.kind for error in errors)
    return {
        "seed": seed,
        "sentences": size,
        "injected": len(errors),
        "precision": 100 * sum(right) / len(right),
        "found_in_top": sum(any(points_at(s, error) for s in top) for error in errors),
        "found": found.total(),
        "suspects": len(suspects),
        "found_by_kind": {kind: [found[kind], kinds[kind]] for kind in KINDS},
    }


def make_injection_table(results: dict[str, list[dict[str, float]]]) -> str:
    """Return the table of the experiments: means and standard deviations over the seeds."""
    lines = [
        f"| corpus | sentences | errors | of the first {TOP} suspects | suspects | errors found |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for corpus, runs in results.items():
        shares = [100 * run["found"] / run["injected"] for run in runs]
        cells = [
            corpus,
            f"{runs[0]['sentences']:,}",
            f"{runs[0]['injected']:,}",
            f"{spread([run['precision'] for run in runs])} % are errors",
            f"{round(statistics.mean(run['suspects'] for run in runs)):,}",
            f"{spread(shares)} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    deviation = f" ± {statistics.stdev(values):.0f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.0f}{deviation}"


def make_annotation_table() -> str:
    """Return the table of the judged suspects."""
    judged = yaml.safe_load(JUDGEMENTS.read_text(encoding="utf-8"))
    verdicts = list(next(iter(judged.values())))
    lines = ["| corpus | judged | " + " | ".join(verdicts) + " |"]
    lines.append("| --- |" + " ---: |" * (len(verdicts) + 1))
    for corpus, ranks in judged.items():
        counts = [len(ranks[verdict]) for verdict in verdicts]
        lines.append(f"| {corpus} | {sum(counts)} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def write_page(results: dict[str, object]) -> None:
    """Replace the tables of the page."""
    text = PAGE.read_text(encoding="utf-8")
    machine = f"{platform.machine()}, {os.cpu_count()} processors"
    note = f"Seeds {results['seeds']}; {machine}; {results['date']}."
    injected = f"{make_injection_table(results['corpora'])}\n\n{note}"
    for mark, table in {"injected": injected, "judged": make_annotation_table()}.items():
        start = f"<!-- {mark} -->\n"
        head, _, rest = text.partition(start)
        text = f"{head}{start}{table}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    """Run the experiments that are asked for, and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=CORPORA)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"corpora": {}}
    if not options.page:
        results |= {"seeds": options.seeds, "date": date.today().isoformat()}
        for corpus in [options.only] if options.only else CORPORA:
            seeds = map(int, options.seeds.split(","))
            results["corpora"][corpus] = [experiment(corpus, seed) for seed in seeds]
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        depends = (*BILSTM_CRF, "slotfill/lab/suspects.py", "scripts/make_label_errors.py")
        record("docs/label_errors.md", "python scripts/make_label_errors.py", *depends)
    if PAGE.exists():
        write_page(results)


if __name__ == "__main__":
    main()
