"""Train taggers with and without generated sentences, and write docs/generation.md.

    python scripts/make_generation.py                                  every sample
    python scripts/make_generation.py --only snips-100 --ways vrnn     one of them
    python scripts/make_generation.py --page                           the page alone

A generator of each kind is trained on a sample of few_sentences.md with seed 1, and taggers on the
sample and what it generates. Results are kept in docs/generation.json and not measured again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from make_results import CORPORA, ROOT, machine, spread, table
from measured import BILSTM_CRF, record
from samples import write_conll, write_sample

from slotfill.config.builtin import compose_config
from slotfill.config.registry import GENERATORS
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split, split_names
from slotfill.runs.environment import environment
from slotfill.runs.folder import RunFolder
from slotfill.runs.generate import generate, read_labelled
from slotfill.runs.load import load_generator
from slotfill.runs.train import TrainResult, train

PAGE = ROOT / "docs" / "generation.md"
RESULTS = ROOT / "docs" / "generation.json"
TEXT = Path(__file__).with_name("generation.md")
COMMAND = "python scripts/make_generation.py"
NUMBERS = {100: 200, 1000: 1000}
"""How many sentences are generated from so many."""
SEEDS = {100: (1, 2, 3), 1000: (1,)}
WAYS = {
    100: ("none", "copies", *GENERATORS.names()),
    1000: ("none", "copies", "recurrent"),
}
"""What is added: nothing, as many copies of training sentences drawn at random, or samples."""
SAMPLES = {
    f"{corpus}-{number}": (corpus, number)
    for number in NUMBERS
    for corpus in ("mit_restaurant", "snips")
}


def fit(config: dict[str, Any], seed: int, out: Path) -> TrainResult:
    """Train a config with a seed."""
    _, loaded = compose_config(config, {"train.seed": seed})
    return train(loaded, RunFolder(out))


def measure(results: dict[str, Any], name: str, way: str) -> None:
    """Train taggers on a sample and what is added to it, unless that is done."""
    corpus, number = SAMPLES[name]
    found = results.setdefault(name, {}).setdefault(way, {"f1": {}})
    seeds = [seed for seed in SEEDS[number] if str(seed) not in found["f1"]]
    if not seeds:
        return
    folder = write_sample(corpus, number)
    with TemporaryDirectory() as room:
        added = add(found, {"data": {"path": str(folder)}}, way, NUMBERS[number], Path(room))
        # What is held out to select the epoch is the same with and without added sentences.
        _, config = compose_config({"data": {"path": str(folder)}}, {})
        data = {"test": str(folder / "test.conll")}
        for split in {"train", "valid"}.intersection(split_names(config.data)):
            sentences = read_split(config.data, split).sentences
            sentences = [*sentences, *(added if split == "train" else ())]
            data[split] = str(write_conll(Path(room, f"{split}.conll"), sentences))
        for seed in seeds:
            print(f"training {name} {way} {seed}", flush=True)
            tagger = fit({"data": data}, seed, Path(room, f"tagger{seed}"))
            found["f1"][str(seed)] = round(tagger.scores["test"].overall.f1, 3)
            found["machine"], found["date"] = machine(environment()), str(date.today())
            RESULTS.write_text(f"{json.dumps(results, indent=1)}\n", encoding="utf-8")


def add(
    found: dict[str, Any], config: dict[str, Any], way: str, number: int, room: Path
) -> list[Sentence]:
    """Return `number` sentences to add to those of `config`; note in `found` how they were made."""
    if way == "none":
        return []
    if way == "copies":
        _, loaded = compose_config(config, {"data.holdout": 0.0})
        return random.Random(1).choices(read_split(loaded.data, "train").sentences, k=number)
    print(f"training the generator {way}", flush=True)
    trained = fit(config | {"generator": way}, 1, room / "generator")
    run = load_generator(trained.path)
    result = generate(run, number, 1, read_labelled(run) or ())
    assert trained.likelihoods is not None
    likelihood = trained.likelihoods["test"]
    found["perplexity"], found["elbo"] = round(likelihood.perplexity, 2), round(likelihood.elbo, 2)
    found["kl"] = round(likelihood.kl, 2)
    found["malformed"] = round(result.malformed / result.samples, 3)
    found["copies"] = round(result.copies / result.samples, 3)
    found["examples"] = list(map(mark, result.sentences[:3]))
    return result.sentences


def mark(sentence: Sentence) -> str:
    """Return a sentence with its slots in brackets."""
    parts = sentence.split_by_slot()
    return "".join(f"[{text}]({name})" if name else text for text, name in parts)


def f1(results: dict[str, Any], name: str, way: str) -> dict[int, float]:
    """Return the F1 of the taggers of a sample by seed."""
    by_seed = results.get(name, {}).get(way, {}).get("f1", {})
    return {int(seed): f1 for seed, f1 in by_seed.items()}


def gains(results: dict[str, Any], name: str, way: str, base: str = "none") -> list[float]:
    """Return the differences of F1 between two ways, one for each seed that both have."""
    own, other = f1(results, name, way), f1(results, name, base)
    return [own[seed] - other[seed] for seed in sorted(own.keys() & other.keys())]


def about(name: str) -> str:
    """Return what a sample is, in words."""
    corpus, number = SAMPLES[name]
    return f"{CORPORA[corpus]}, {number:,} sentences"


def gain_rows(results: dict[str, Any]) -> list[list[str]]:
    """Return the F1 of each way with each sample, a row each, and the gain."""
    rows = []
    for name in results:
        for way in WAYS[SAMPLES[name][1]]:
            if own := f1(results, name, way):
                each = gains(results, name, way) if way != "none" else []
                mean = f"{statistics.mean(each):+.2f}" if each else ""
                signed = ", ".join(f"{gain:+.1f}" for gain in each)
                rows.append([about(name), way, spread([*own.values()]), mean, signed])
    return rows


def generator_rows(results: dict[str, Any]) -> list[list[str]]:
    """Return the likelihoods of the generators, and what they sample."""
    rows = []
    for name in SAMPLES:
        for way, found in results.get(name, {}).items():
            if "perplexity" in found:
                figures = [f"{found[key]:.1f}" for key in ("perplexity", "elbo", "kl")]
                shares = [f"{found[key]:.0%}" for key in ("malformed", "copies")]
                rows.append([about(name), way, *figures, *shares])
    return rows


def answer(results: dict[str, Any], number: int) -> str:
    """Return whether generated sentences help with `number` training sentences, in words."""
    pairs = [
        (name, way)
        for name in SAMPLES
        for way in WAYS[number]
        if SAMPLES[name][1] == number and way in GENERATORS.names()
    ]
    own = [gain for pair in pairs for gain in gains(results, *pair)]
    against_copies = [gain for pair in pairs for gain in gains(results, *pair, "copies")]
    if not own:
        return ""
    verdict = "yes" if statistics.mean(own) > 0.5 and min(own) > 0 else "no"
    if verdict == "no" and statistics.mean(own) > 0.5:
        verdict = "not reliably"
    text = f"- **With {number:,} sentences: {verdict}.** "
    if len(own) == 1:
        text += f"The gain of F1 is {own[0]:+.2f}, measured once"
    else:
        text += "Over corpora, generators and seeds the mean gain of F1 is"
        text += f" {statistics.mean(own):+.2f} (from {min(own):+.1f} to {max(own):+.1f})"
    if against_copies:
        text += f", and {statistics.mean(against_copies):+.2f} against as many copies of training"
        text += " sentences"
    return f"{text}."


def examples(results: dict[str, Any], name: str) -> str:
    """Return the first sentences of each generator of a sample."""
    lines = []
    for way, found in results.get(name, {}).items():
        if "examples" in found:
            lines += [f"# {way}", *found["examples"]]
    return "```\n{}\n```".format("\n".join(lines))


def page(results: dict[str, Any]) -> str:
    """Return docs/generation.md: the text of scripts/generation.md with the figures."""
    made = [found for ways in results.values() for found in ways.values()]
    latest = max(made, key=lambda each: str(each["date"]))
    head = ["", "added", "test F1", "gain", "of each seed"]
    likelihoods = ["", "generator", "perplexity", "ELBO", "KL", "malformed", "copies"]
    text = TEXT.read_text(encoding="utf-8")
    figures = {
        "ANSWERS": "\n".join(filter(None, (answer(results, number) for number in NUMBERS))),
        "GAINS": table(head, gain_rows(results)),
        "LIKELIHOODS": table(likelihoods, generator_rows(results)),
        "EXAMPLES": examples(results, "snips-100"),
        "MACHINE": f"{latest['machine']}, {latest['date']}.",
    }
    for key, value in figures.items():
        text = text.replace(key, value)
    return text


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SAMPLES, default=[*SAMPLES])
    parser.add_argument("--ways", nargs="*", choices=WAYS[100], default=WAYS[100])
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args(words)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in () if args.page else args.only:
        for way in WAYS[SAMPLES[name][1]]:
            if way in args.ways:
                measure(results, name, way)
    PAGE.write_text(page(results), encoding="utf-8")
    if not args.page:
        depends = (*BILSTM_CRF, "slotfill/model/generators", "slotfill/runs/generate.py")
        record("docs/generation.md", COMMAND, *depends)
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
