"""Simulate labelling in random and in active order, continue runs, and write docs/labelling.md.

    python scripts/make_labelling.py                        both corpora, seeds 1 to 3
    python scripts/make_labelling.py --only snips --seeds 1
    python scripts/make_labelling.py --page                 the page alone, from the results

Labelling starts with 30 sentences drawn at random from the training sentences, whose labels are
known here. At 60, 100, 150, 210 and 300 a small run is trained from scratch on all of them, which
ranks the other sentences, and F1 is measured on the complete test set.

Runs to continue are trained on 300 sentences without one intent of SNIPS, or one slot of MIT
Restaurant, and continued with 20 sentences that have it; or a run is trained on all from scratch.

Results are kept in runs/labelling and not measured again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from make_results import CORPORA, ROOT, machine, spread, table
from measured import BILSTM_CRF, record
from samples import read_corpus, write_conll

import slotfill
from slotfill.data.sentence import Sentence
from slotfill.lab.labelling.ranking import Ranking
from slotfill.lab.labelling.session import measure_confidence
from slotfill.runs.continuation import f1_of_names
from slotfill.runs.folder import environment
from slotfill.runs.predict import Predictor

ROOM = ROOT / "build" / "labelling"
RUNS = ROOT / "runs" / "labelling"
PAGE = ROOT / "docs" / "labelling.md"
TEXT = Path(__file__).with_name("labelling.md")
NAMES = ("snips", "mit_restaurant")
ORDERS = ("random", "active")
SEEDS = (1, 2, 3)
SIZES = (30, 60, 100, 150, 210, 300)
"""Sentences labelled when a run is trained."""
SMALL = {"embedding": ["word", "static"], "encoder": {"hidden_size": 64}}
"""The network of the simulation, which trains in a third of the time of the default one."""
RANKED = 2000
"""Of the sentences that are left, so many are ranked, as in `slotfill label`."""


def simulate(corpus: str, seed: int) -> None:
    """Label one corpus in each order, and write F1 by the number of sentences."""
    out = RUNS / f"{corpus}-seed{seed}.json"
    if out.exists():
        return
    start = time.process_time()
    pool = read_corpus(corpus, "train")
    test = write_conll(ROOM / corpus / "test.conll", read_corpus(corpus, "test"))
    folder = ROOM / corpus / f"seed{seed}"
    scores: dict[str, dict[int, float]] = {order: {} for order in ORDERS}
    tokens: dict[str, dict[int, int]] = {order: {} for order in ORDERS}

    def train(labelled: list[int]) -> Predictor:
        sentences = write_conll(folder / "train.conll", [pool[index] for index in labelled])
        data = {"train": str(sentences), "test": str(test), "holdout": 0}
        data |= {"tokenizer": "whitespace"}
        settings: dict[str, Any] = {"data": data, **SMALL, "train": {"seed": seed}}
        return slotfill.train(settings, out=folder / "run", force=True)

    first: Predictor | None = None
    for order in ORDERS:
        draw = random.Random(seed)
        left = draw.sample(range(len(pool)), len(pool))
        labelled: list[int] = []
        tagger: Predictor | None = None
        for size in SIZES:
            number = size - len(labelled)
            chosen = left[:number]
            if order == "active" and tagger is not None:
                chosen = choose(tagger, pool, left[:RANKED], labelled, number)
            labelled += chosen
            left = [index for index in left if index not in set(chosen)]
            draw.shuffle(left)
            if size > SIZES[0] or first is None:
                tagger = train(labelled)
                first = first or tagger
            else:
                tagger = first
            scores[order][size] = tagger.scores["test"].overall.f1
            tokens[order][size] = sum(len(pool[index].tokens) for index in labelled)
            print(f"{corpus} {order} {seed}, {size}: {scores[order][size]:.2f}", flush=True)
    shutil.rmtree(folder)
    seconds = time.process_time() - start
    result = {"scores": scores, "tokens": tokens, "seconds": seconds, "environment": environment()}
    RUNS.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1), encoding="utf-8")


def choose(
    tagger: Predictor, pool: list[Sentence], ranked: list[int], labelled: list[int], number: int
) -> list[int]:
    """Return the sentences of `ranked` that are labelled next, as `slotfill label` shows them."""
    ranking = Ranking([pool[i].tokens for i in ranked], [pool[i].tokens for i in labelled])
    found = tagger.tag([pool[index].text for index in ranked])
    ranking.set_confidences([measure_confidence(each) for each in found])
    chosen = []
    for _ in range(number):
        position = ranking.next()
        assert position is not None
        ranking.take(position)
        chosen.append(ranked[position])
    return chosen


def has_new(corpus: str, sentence: Sentence) -> bool:
    """Return whether a sentence has what the run to continue does not know."""
    if corpus == "snips":
        return sentence.intent == "BookRestaurant"
    return any(slot.name == "Dish" for slot in sentence.slots or ())


def continue_run(corpus: str, seed: int) -> None:
    """Continue a run on 20 sentences, and write F1 of its slots and of the new ones."""
    out = RUNS / f"{corpus}-continued-seed{seed}.json"
    if out.exists():
        return
    draw, pool, test = (
        random.Random(seed),
        read_corpus(corpus, "train"),
        read_corpus(corpus, "test"),
    )
    old = draw.sample([each for each in pool if not has_new(corpus, each)], 300)
    new = draw.sample([each for each in pool if has_new(corpus, each)], 20)
    folder = ROOM / corpus / f"continued-seed{seed}"
    files = {"old": old, "new": new, "all": old + new}
    paths = {name: write_conll(folder / f"{name}.conll", files[name]) for name in files}
    known = {slot.name for sentence in old for slot in sentence.slots or ()}
    others = {slot.name for sentence in new for slot in sentence.slots or ()} - known
    result: dict[str, Any] = {"environment": environment()}
    for name, file in {"before": "old", "continued": "new", "from scratch": "all"}.items():
        data = {"train": str(paths[file]), "tokenizer": "whitespace"}
        data |= {} if name == "continued" else {"holdout": 0}
        base = folder / "before" if name == "continued" else None
        settings = {"data": data, "train": {"seed": seed}}
        start = time.process_time()
        tagger = slotfill.train(settings, from_run=base, out=folder / name, force=True)
        seconds = time.process_time() - start
        predicted = [each.slots or [] for each in tagger.tag([each.text for each in test])]
        f1 = [f1_of_names(test, predicted, names) for names in (known, others)]
        result[name] = {"f1": f1, "seconds": seconds}
        print(f"{corpus} {name} {seed}: {f1}", flush=True)
    shutil.rmtree(folder)
    RUNS.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1), encoding="utf-8")


def results(pattern: str) -> dict[str, list[Any]]:
    """Return the results whose files are called so, by corpus."""
    return {
        corpus: [
            json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(RUNS.glob(f"{corpus}-{pattern}"))
        ]
        for corpus in NAMES
    }


def order_rows() -> list[list[str]]:
    """Return the rows of the table of orders: F1 by number of sentences."""
    rows = []
    for corpus, found in results("seed*.json").items():
        for order in ORDERS if found else ():
            cells = [spread([run["scores"][order][str(size)] for run in found]) for size in SIZES]
            length = statistics.mean(run["tokens"][order]["300"] / 300 for run in found)
            rows.append([f"{CORPORA[corpus]}, {order}", str(len(found)), *cells, f"{length:.1f}"])
    return rows


def needed_rows() -> list[list[str]]:
    """Return how many sentences in random order have the F1 of some in active order."""
    rows = []
    for corpus, found in results("seed*.json").items():
        for size in SIZES[2:] if found else ():
            needed = [interpolate(run["scores"], size) for run in found]
            cells = [f"more than {SIZES[-1]}" if each is None else f"{each:.0f}" for each in needed]
            rows.append([CORPORA[corpus], str(size), ", ".join(cells)])
    return rows


def interpolate(scores: dict[str, dict[str, float]], size: int) -> float | None:
    """Return the number of sentences at which random order has the F1 of `size` in active order.

    Between two sizes F1 is taken as linear; None if it is not reached.
    """
    target, curve = scores["active"][str(size)], scores["random"]
    for low, high in pairwise(SIZES):
        before, after = curve[str(low)], curve[str(high)]
        if before <= target <= after or (low == SIZES[0] and target < before):
            return low + (high - low) * max(target - before, 0) / max(after - before, 1e-9)
    return None


def continued_rows() -> list[list[str]]:
    """Return the rows of the table of runs that are continued."""
    rows = []
    for corpus, found in results("continued-seed*.json").items():
        for name in ("before", "continued", "from scratch") if found else ():
            cells = [spread([run[name]["f1"][kind] for run in found], 1) for kind in (0, 1)]
            cells[1] = "-" if name == "before" else cells[1]
            seconds = statistics.mean(run[name]["seconds"] for run in found)
            what = {"before": "300 sentences", "continued": "continued with 20 more"}
            title = f"{CORPORA[corpus]}, {what.get(name, 'all 320 from scratch')}"
            rows.append([title, str(len(found)), *cells, f"{seconds:.0f} s"])
    return rows


def page() -> str:
    """Return docs/labelling.md: the text of scripts/labelling.md with the figures."""
    sizes = [f"{size} sentences" for size in SIZES]
    needed = ["", "active order", "random order, each seed"]
    continued = ["", "seeds", "F1 of old slots", "F1 of new slots", "processor time"]
    runs = [
        run
        for pattern in ("seed*", "continued*")
        for all in results(pattern).values()
        for run in all
    ]
    latest = max((run["environment"] for run in runs), key=lambda each: each["finished"])
    figures = {
        "ORDERS": table(["", "seeds", *sizes, "tokens a sentence"], order_rows()),
        "NEEDED": table(needed, needed_rows()),
        "CONTINUED": table(continued, continued_rows()),
        "MACHINE": f"{machine(latest)}, {latest['finished'][:10]}.",
    }
    text = TEXT.read_text(encoding="utf-8")
    for name, figure in figures.items():
        text = text.replace(name, figure)
    return text


def main() -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=NAMES, help="this corpus alone")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="so many seeds")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    args = parser.parse_args()
    for seed in () if args.page else SEEDS[: args.seeds]:
        for corpus in args.only or NAMES:
            simulate(corpus, seed)
            continue_run(corpus, seed)
    PAGE.write_text(page(), encoding="utf-8")
    if not args.page:
        depends = (*BILSTM_CRF, "slotfill/lab/labelling", "slotfill/runs/continuation.py")
        record("docs/labelling.md", "python scripts/make_labelling.py", *depends)
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
