"""Train taggers with and without generated sentences, and write docs/generation.md.

    python scripts/make_generation.py                                  every set
    python scripts/make_generation.py --only snips-100 --ways vrnn     one of them
    python scripts/make_generation.py --page                           the page alone, from the runs

The sentences are those of scripts/make_defaults.py. A generator of each kind is trained on those of
a set with seed 1, and taggers on them and what it generates. Runs are kept in runs/generation and
not trained again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from make_defaults import ROOM, SETS, tag_tokens, write
from make_results import ROOT, machine, spread, table

from slotfill.config.builtin import compose_config
from slotfill.config.registry import GENERATORS
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split
from slotfill.runs.folder import RunFolder
from slotfill.runs.generate import generate
from slotfill.runs.load import load_generator
from slotfill.runs.train import train

RUNS = ROOT / "runs" / "generation"
PAGE = ROOT / "docs" / "generation.md"
TEXT = Path(__file__).with_name("generation.md")
NUMBERS = {100: 200, 1000: 1000}
"""How many sentences are generated from so many."""
SEEDS = {100: (1, 2, 3), 1000: (1,)}
NAMES = [f"{corpus}-{number}" for number in NUMBERS for corpus in ("mit_restaurant", "snips")]
WAYS = ("none", "copies", *GENERATORS.names())
"""What is added: nothing, as many copies of training sentences drawn at random, or samples."""


def fit(out: Path, config: dict[str, Any], seed: int) -> None:
    """Train a config with a seed unless that has been done."""
    if not out.exists():
        print(f"training {out.relative_to(RUNS)}", flush=True)
        _, loaded = compose_config(config, {"train.seed": seed})
        train(loaded, RunFolder(out))


def add(name: str, way: str) -> Path:
    """Write the training sentences of a set and what is added to them; return the file."""
    file = RUNS / name / f"{way}.jsonl"
    if way == "none":
        return ROOM / name / "train.jsonl"
    if file.exists():
        return file
    config = {"data": {"path": str(ROOM / name)}}
    number = NUMBERS[SETS[name].number]
    _, loaded = compose_config(config | {"generator": "recurrent"}, {"data.holdout": 0.0})
    training = read_split(loaded.data, "train").sentences
    counts: dict[str, Any] = {}
    if way == "copies":
        added = random.Random(1).choices(training, k=number)
    else:
        run = RUNS / name / f"generator-{way}"
        fit(run, config | {"generator": way}, 1)
        result = generate(load_generator(run), number, 1, training)
        added = result.sentences
        counts = {"samples": result.samples, "malformed": result.malformed}
        counts |= {"of_training": result.of_training, "examples": list(map(mark, added[:3]))}
    (RUNS / name).mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps(counts), encoding="utf-8")
    rows = [json.dumps(tag_tokens(sentence), ensure_ascii=False) for sentence in training + added]
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return file


def mark(sentence: Sentence) -> str:
    """Return a sentence with its slots in brackets."""
    parts = sentence.split_by_slot()
    return "".join(f"[{text}]({name})" if name else text for text, name in parts)


def measure(name: str, way: str, seed: int) -> None:
    """Train a tagger of the defaults on a set and what is added, and score it on the test set."""
    data = {"train": str(add(name, way)), "test": str(ROOM / name / "test.jsonl")}
    fit(RUNS / name / f"{way}-seed{seed}", {"data": data}, seed)


def read(name: str, run: str, file: str = "scores.json") -> Any:
    """Return a file of a run, None if it is not trained."""
    path = RUNS / name / run / file
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def f1(name: str, way: str) -> dict[int, float]:
    """Return the F1 of the taggers of a set by seed."""
    runs = {seed: read(name, f"{way}-seed{seed}") for seed in SEEDS[SETS[name].number]}
    return {seed: run["splits"]["test"]["overall"]["f1"] for seed, run in runs.items() if run}


def gain_rows(number: int) -> list[list[str]]:
    """Return the F1 of each way with `number` sentences, a row each, and the gain."""
    rows = []
    for name in NAMES:
        for way in WAYS:
            own, plain = f1(name, way), f1(name, "none")
            if SETS[name].number != number or not own:
                continue
            gains = [own[seed] - plain[seed] for seed in own.keys() & plain.keys()]
            gain = "" if way == "none" or not gains else f"{statistics.mean(gains):+.2f}"
            each = ", ".join(f"{each:+.1f}" for each in gains) if gain else ""
            rows.append([SETS[name].about, way, spread([*own.values()]), gain, each])
    return rows


def generator_rows() -> list[list[str]]:
    """Return the likelihoods of the generators, and what they sample."""
    rows = []
    for name in NAMES:
        for way in GENERATORS.names():
            scores, file = read(name, f"generator-{way}"), RUNS / name / f"{way}.json"
            if scores is None or not file.exists():
                continue
            test = scores["splits"]["test"]
            counts = json.loads(file.read_text(encoding="utf-8"))
            left_out = (counts["malformed"], counts["of_training"])
            shares = [f"{count / counts['samples']:.0%}" for count in left_out]
            perplexity, kl = f"{test['perplexity']:.1f}", f"{test['kl']:.1f}"
            rows.append([SETS[name].about, way, perplexity, f"{test['elbo']:.1f}", kl, *shares])
    return rows


def answer(number: int) -> str:
    """Return whether generated sentences help with `number` training sentences, in words."""
    gains, against_copies = [], []
    for name in NAMES:
        plain, copies = f1(name, "none"), f1(name, "copies")
        for way in GENERATORS.names() if SETS[name].number == number else ():
            own = f1(name, way)
            gains += [own[seed] - plain[seed] for seed in own.keys() & plain.keys()]
            against_copies += [own[seed] - copies[seed] for seed in own.keys() & copies.keys()]
    if not gains:
        return ""
    verdict = "Yes" if statistics.mean(gains) > 0.5 and min(gains) > 0 else "No"
    if verdict == "No" and statistics.mean(gains) > 0.5:
        verdict = "Not reliably"
    mean = f"{statistics.mean(gains):+.2f} (from {min(gains):+.1f} to {max(gains):+.1f})"
    text = f"- **With {number:,} sentences: {verdict.lower()}.** Over corpora, generators and seeds"
    text += f" the mean gain of F1 is {mean}"
    if against_copies:
        than_copies = f"{statistics.mean(against_copies):+.2f}"
        text += f", and {than_copies} against as many copies of training sentences"
    return f"{text}."


def examples(name: str) -> str:
    """Return the first sentences of each generator of a set."""
    lines = []
    for way in GENERATORS.names():
        file = RUNS / name / f"{way}.json"
        if file.exists():
            lines += [f"# {way}", *json.loads(file.read_text(encoding="utf-8"))["examples"]]
    return "```\n{}\n```".format("\n".join(lines))


def page() -> str:
    """Return docs/generation.md: the text of scripts/generation.md with the figures."""
    abouts = [read(name, "none-seed1", "environment.json") for name in NAMES]
    runs = [about for about in abouts if about]
    head = ["", "added", "test F1", "gain", "of each seed"]
    likelihoods = ["", "generator", "perplexity", "ELBO", "KL", "malformed", "of training"]
    text = TEXT.read_text(encoding="utf-8")
    figures = {
        "ANSWERS": "\n".join(filter(None, map(answer, NUMBERS))),
        "GAINS": table(head, [row for number in NUMBERS for row in gain_rows(number)]),
        "LIKELIHOODS": table(likelihoods, generator_rows()),
        "EXAMPLES": examples(NAMES[1]),
        "MACHINE": f"{machine(runs[0])}, {max(run['finished'] for run in runs)[:10]}.",
    }
    for key, value in figures.items():
        text = text.replace(key, value)
    return text


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES, help="train these alone")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS, help="add these alone")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args(words)
    names = () if args.page else args.only
    for name in names:
        write(name)
    for seed in max(SEEDS.values()):
        for name in names:
            for way in args.ways if seed in SEEDS[SETS[name].number] else ():
                measure(name, way, seed)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
