"""Write docs/systems.md and a page per cell, encoder and tagger, from the code and the lab.

    python scripts/make_systems_docs.py                               write the pages
    python scripts/make_systems_docs.py --take ALL.json GREFF.json    update the results first
    python scripts/make_systems_docs.py --check                       exit 1 if a page is not up to
                                                                      date

A page's equations are the docstring of the part's file, and its diagrams are described in
scripts/diagrams.txt. The results are those of docs/systems.json, taken from the output of two
commands: all systems against the LSTM, and the variants of Greff et al. against theirs:

    slotfill compare lab/lstm lab --data data/taipei --data ../shared/data/atis --out runs/lab
        --json ALL.json
    slotfill compare configs/lab/greff-vanilla.yaml configs/lab/greff-*.yaml --data data/taipei
        --data ../shared/data/atis --out runs/lab --json GREFF.json

and of benchmarks/cells.json and cells-scans.json, which benchmarks/cells.py writes.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from make_diagrams import read_diagrams
from measured import record

from slotfill.config.builtin import config_summary, expand_configs, load_config
from slotfill.config.registry import CELLS, ENCODERS, TAGGERS, Registry

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "systems.md"
FOLDER = ROOT / "docs" / "systems"
FIGURES = ROOT / "docs" / "systems.json"
SPEED = ROOT / "benchmarks" / "cells.json"
SCANS = ROOT / "benchmarks" / "cells-scans.json"
REGISTRIES = (ENCODERS, CELLS, TAGGERS)
ROLES = ("origin", "destination")
COLUMNS = {
    ("taipei", "test"): "Taipei",
    ("taipei", "unseen"): "Taipei, unseen names",
    ("taipei", "pairs"): "Taipei, pairs",
    ("atis", "test"): "ATIS",
}
Report = dict[str, Any]

# The figures


def take(everything: Path, greff: Path) -> None:
    """Write docs/systems.json, the part of two comparisons that the pages need."""
    report: Report = json.loads(everything.read_text(encoding="utf-8"))
    variants: Report = json.loads(greff.read_text(encoding="utf-8"))
    cities: dict[str, list[float]] = {}
    runs = report.pop("runs")
    for run in runs:
        if run["failed"]:
            raise SystemExit(f"{run['folder']} failed: {run['failed']}")
        if "pairs" in run["scores"]:
            rows = [
                run["scores"]["pairs"]["slots"].get(role, {"recall": 0.0, "support": 0})
                for role in ROLES
            ]
            right = sum(row["recall"] * row["support"] for row in rows)
            cities.setdefault(run["config"], []).append(right / sum(row["support"] for row in rows))
    for config in report["configs"]:
        config["cities in pairs right"] = cities[config["name"]]
    del variants["runs"]
    FIGURES.write_text(
        json.dumps({"all": report, "greff": variants}, ensure_ascii=False, indent=1) + "\n", "utf-8"
    )
    folders = [ROOT / run["folder"] for run in runs]
    depends = (
        *("slotfill/model", "slotfill/training/*.py", "slotfill/evaluation"),
        *("slotfill/lab/compare", "configs/lab", "data/taipei"),
    )
    command = "python scripts/make_systems_docs.py --take, with the commands that it names"
    record("docs/systems.md", command, *depends, runs=folders)


class Lab:
    """The figures of docs/systems.json, by system."""

    def __init__(self) -> None:
        figures = json.loads(FIGURES.read_text(encoding="utf-8"))
        self.all: Report = figures["all"]
        self.configs: dict[str, Report] = {
            config["name"]: config for config in figures["all"]["configs"]
        }
        self.variants: dict[str, Report] = {
            config["name"]: config for config in figures["greff"]["configs"]
        }

    def split(self, name: str, corpus: str, split: str) -> Report:
        """Return mean, deviation and difference from the LSTM of one system on one split."""
        found: Report = self.configs[name]["corpora"][corpus]["splits"][split]
        return found

    def f1(self, name: str, corpus: str, split: str = "test") -> float:
        """Return the mean F1 over the seeds, in percent."""
        return float(self.split(name, corpus, split)["mean"])

    def cities(self, name: str) -> float:
        """Return the mean percentage of the cities of `pairs` that are tagged with their role."""
        return statistics.mean(self.configs[name]["cities in pairs right"])

    def parameters(self, name: str) -> int:
        """Return the number of parameters of one system on Taipei."""
        return int(self.configs[name]["corpora"]["taipei"]["parameters"])

    def row(self, name: str) -> list[str]:
        """Return a system's cells under `HEAD`."""
        config = self.configs[name]
        cells = []
        for corpus, split in COLUMNS:
            found = self.split(name, corpus, split)
            difference = mark(found.get("difference_from_first"))
            cells.append(f"{found['mean']:.2f} ± {found['deviation']:.2f}{difference}")
        speed = config["corpora"]["atis"]["predict_tokens_per_second"]
        return [*cells, f"{self.cities(name):.1f}", f"{self.parameters(name):,}", f"{speed:,.0f}"]


HEAD = [*COLUMNS.values(), "cities in pairs right, %", "parameters", "tokens/s"]


def mark(against: Report | None) -> str:
    """Return the sign of a difference that chance hardly gives: two after Holm's correction."""
    if against is None or against["p"] >= 0.05:
        return ""
    return "\\*\\*" if against["p_corrected"] < 0.05 else "\\*"


def format_difference(against: Report) -> str:
    """Return a difference in words: what it is, its interval, and p."""
    low, high = against["interval"]
    p = "p < 0.0001" if against["p"] < 0.0001 else f"p = {against['p']:.4f}"
    return f"{against['difference']:+.2f} ({low:+.2f} to {high:+.2f}, {p})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# The systems


def list_parts(config: Any) -> list[tuple[str, str]]:
    """Return kind and name of each encoder, cell and tagger in a checked config."""
    found = [("encoder", part.name) for part in config.encoders] + [
        ("tagger", config.tagger["name"])
    ]
    return found + [
        ("cell", part["cell"]["name"])
        for part in (*config.encoders, config.tagger)
        if "cell" in part
    ]


def find_subjects() -> dict[str, tuple[str, str]]:
    """Return the characteristic part of each system of the lab: the one that fewest others have."""
    parts = {name: list_parts(load_config(name)[1]) for name in expand_configs("lab")}
    counts = Counter(part for found in parts.values() for part in set(found))
    return {
        name.rpartition("/")[2]: min(found, key=lambda part: (counts[part], part))
        for name, found in parts.items()
    }


def part_page(registry: Registry, name: str, lab: Lab) -> str:
    """Return the page of one part."""
    part = registry.part(name)
    text = ast.get_docstring(part.tree) or ""
    lines = text.partition("\n")[2].strip("\n").split("\n\n")
    body = [piece for piece in lines if not piece.startswith("Source:")]
    mine = [
        system for system, subject in find_subjects().items() if subject == (registry.kind, name)
    ]
    sections = [
        f"# The {registry.kind} `{name}`",
        part.summary,
        *body,
        *(
            f"![{diagram.title}](../{diagram.name})\n\n{diagram.title}."
            for diagram in read_diagrams()
            if diagram.part == name
        ),
        f"Source: {part.source}." if part.source else "",
        (
            f"The code: [{part.path.name}](../../{registry.package.replace('.', '/')}/{name}.py). "
            f"Its options: [config.md](../config.md#{registry.kind}-{name})."
        ),
    ]
    if mine:
        sections.append("## In the lab")
    for system in mine:
        file = f"configs/lab/{system}.yaml"
        yaml = (ROOT / file).read_text(encoding="utf-8").partition("\n")[2]
        sections += [
            f"[{system}](../../{file}): {config_summary(f'lab/{system}')}",
            f"```yaml\n{yaml}```",
        ]
    if mine:
        rows = [[system, *lab.row(system)] for system in mine if system in lab.configs]
        sections += [
            table(["system", *HEAD], rows) if rows else "It is not compared yet.",
            "What the columns mean: [systems.md](../systems.md)." if rows else "",
        ]
    return "\n\n".join(filter(None, sections)) + "\n"


# What the figures say


def claims(lab: Lab) -> Iterator[tuple[str, bool, str]]:
    """Yield each claim of the lecture or of a paper, whether it holds here, and the figures."""
    tests = ("taipei", "atis")
    words = {"taipei": "Taipei", "atis": "ATIS"}

    def pair(one: str, other: str) -> str:
        return ", ".join(
            f"{words[corpus]} {lab.f1(one, corpus):.2f} against {lab.f1(other, corpus):.2f}"
            for corpus in tests
        )

    def above(one: str, other: str) -> bool:
        return all(lab.f1(one, corpus) > lab.f1(other, corpus) for corpus in tests)

    def vs_lstm(name: str) -> str:
        return ", ".join(
            f"{words[c]} {format_difference(lab.split(name, c, 'test')['difference_from_first'])}"
            for c in tests
        )

    yield (
        (
            "A network without memory gives the same word the same answer, and gets at most half of"
            " the cities in `pairs`."
        ),
        lab.cities("feedforward") <= 50 < 95 < lab.cities("lstm"),
        (
            f"Cities right in `pairs`: feed-forward {lab.cities('feedforward'):.1f} %, Elman"
            f" {lab.cities('elman'):.1f} %, LSTM {lab.cities('lstm'):.1f} %."
        ),
    )
    yield (
        "A window is not a memory: what stands outside of it is not seen.",
        lab.cities("feedforward-window") < lab.cities("lstm"),
        (
            f"With three words on each side {lab.cities('feedforward-window'):.1f} % of the cities"
            f" are right, with an LSTM {lab.cities('lstm'):.1f} %; F1, window against LSTM:"
            f" {pair('feedforward-window', 'lstm')}."
        ),
    )
    yield (
        (
            "What comes later in the sentence matters too: reading both ways is better than reading"
            " forwards."
        ),
        above("lstm", "lstm-forward") and above("elman", "elman-forward"),
        f"LSTM: {pair('lstm', 'lstm-forward')}. Elman: {pair('elman', 'elman-forward')}.",
    )
    elman = [lab.split("elman", corpus, "test")["difference_from_first"] for corpus in tests]
    yield (
        "A gated memory is better than a plain one.",
        all(against["interval"][1] < 0 for against in elman),
        (
            f"Elman, less the LSTM: {vs_lstm('elman')}. These sentences are short; how far back"
            " each memory reaches is what [slotfill probe](probe.md) measures."
        ),
    )
    yield (
        "A fed-back tag (Jordan) is a narrower memory than a fed-back hidden layer (Elman).",
        above("elman-forward", "jordan"),
        f"Elman forwards against Jordan: {pair('elman-forward', 'jordan')}; the hybrid, with both: "
        + ", ".join(f"{words[c]} {lab.f1('elman-jordan', c):.2f}" for c in tests)
        + ".",
    )
    yield (
        (
            "Gates that see only the input (the LSTM as drawn) do with less than gates that see the"
            " past."
        ),
        above("lstm", "lstm-lecture"),
        f"As drawn, with sigmoids for g and h too, less the LSTM: {vs_lstm('lstm-lecture')}.",
    )
    smaller = 100 * (1 - lab.parameters("gru") / lab.parameters("lstm"))
    close = [
        lab.split("gru", corpus, "test")["difference_from_first"]["interval"] for corpus in tests
    ]
    yield (
        "A GRU is as good as an LSTM, and smaller.",
        all(low > -1 for low, _ in close) and smaller > 0,
        (
            f'GRU, less the LSTM: {vs_lstm("gru")}, with {smaller:.0f} % fewer parameters. "As'
            ' good" is taken as: not worse by a point of F1 within the interval.'
        ),
    )
    yield (
        "The cells found by search (MUT1 to MUT3) are about as good as the LSTM.",
        all(
            lab.split(m, c, "test")["difference_from_first"]["interval"][0] > -1
            for m in MUTS
            for c in tests
        ),
        " ".join(f"{name.upper()}, less the LSTM: {vs_lstm(name)}." for name in MUTS),
    )
    variants = {
        name: found["corpora"] for name, found in lab.variants.items() if name != "greff-vanilla"
    }

    def change(name: str, corpus: str) -> Report:
        found: Report = variants[name][corpus]["splits"]["test"]["difference_from_first"]
        return found

    better = [
        (n, c)
        for n in variants
        for c in tests
        if change(n, c)["difference"] > 0 and signed(change(n, c))
    ]
    yield (
        "None of the eight variants of Greff et al. is better than the LSTM with peepholes.",
        not better,
        "Better, after Holm's correction: "
        + (
            ", ".join(f"{n} on {words[c]} {format_difference(change(n, c))}" for n, c in better)
            or "none"
        )
        + ".",
    )
    ranks = {
        words[c]: ", ".join(
            f"{short(n)} {change(n, c)['difference']:+.2f}"
            for n in sorted(variants, key=lambda n: change(n, c)["difference"])
        )
        for c in tests
    }
    for name, what in (("greff-nfg", "the forget gate"), ("greff-noaf", "the output activation")):
        worse = [c for c in tests if change(name, c)["difference"] < 0 and signed(change(name, c))]
        yield (
            f"An LSTM can least do without {what}.",
            len(worse) == len(tests),
            f"{short(name)}, less the LSTM with peepholes: "
            + ", ".join(f"{words[c]} {format_difference(change(name, c))}" for c in tests)
            + ". All variants, from the worst: "
            + "; ".join(f"{word} {rank}" for word, rank in ranks.items())
            + ".",
        )
    for name, what in ADDED.items():
        against = [lab.split(name, corpus, "test")["difference_from_first"] for corpus in tests]
        yield (
            what,
            all(a["interval"][0] > 0 for a in against),
            f"Less the LSTM: {vs_lstm(name)}.",
        )


MUTS = ("mut1", "mut2", "mut3")
ADDED = {
    "lstm-deep": "A second layer helps.",
    "depth-gated": "A gate from the memory below makes two layers better than one.",
    "grid-lstm": "A memory along depth, as along time, helps.",
    "attention": "Attention over the LSTM's outputs helps.",
    "self-attention": "Multi-head self-attention over the LSTM's outputs helps.",
    "focus": "Knowing the tag before (focus) helps.",
    "aligned": "Knowing the tag before, and attention, help (aligned encoder-decoder).",
    "clockwork": "Modules with periods of their own make a plain network better than an LSTM.",
    "kl_bottleneck": "A KL bottleneck at each step with a learned prior helps.",
    "kl_bottleneck-fixed": "A KL bottleneck at each step with a fixed prior helps.",
}


def short(name: str) -> str:
    """Return what Greff et al. call a variant."""
    return name.removeprefix("greff-").upper()


def signed(against: Report) -> bool:
    """Return whether a difference is significant after Holm's correction."""
    return bool(against["p_corrected"] < 0.05)


def speed_table() -> str:
    """Return the times of benchmarks/cells.json."""
    speed = json.loads(SPEED.read_text(encoding="utf-8"))
    rows = []
    sizes = list(speed["hidden size"])
    for name in speed["hidden size"][sizes[0]]:
        columns = [speed["hidden size"][size][name] for size in sizes]
        cells = [
            cell
            for row in columns
            for cell in (f"{row['milliseconds']:.1f}", f"{row['of torch nn.LSTM']:.2f}")
        ]
        rows.append([name, *cells])
    head = ["cell", *(text for size in sizes for text in (f"ms, {size} hidden", "of nn.LSTM"))]
    return table(head, rows)


def scans_section() -> str:
    """Return what benchmarks/cells-scans.json says of linear recurrences."""
    scans = json.loads(SCANS.read_text(encoding="utf-8"))
    head = ["steps", "autograd, ms", "loop, ms", "parallel scan, ms"]
    rows = [
        [steps, *(f"{row[way]:.2f}" for way in ("autograd", "loop", "parallel"))]
        for steps, row in scans["steps"].items()
    ]
    return f"""## Linear recurrences

The memory of [mingru](systems/mingru.md), [minlstm](systems/minlstm.md), [qrnn](systems/qrnn.md),
[lru](systems/lru.md), and of [sru](systems/sru.md) without its peepholes, is c_t = a_t * c_(t-1) +
b_t with a_t and b_t from the input alone, so a parallel scan can compute all steps in log2(T)
operations. On a CPU, where each operation takes as long as it has elements, a loop of one operation
in each step with its own gradient is faster, for short sentences and for long ones, so that is what
trains there; on a GPU the parallel scan is used. Forward and backward pass of the recurrence alone,
{scans["hidden size"]} units, both directions, {scans["batch"]} sentences, medians of
{scans["repeats"]} interleaved repeats, time of the processor, one thread: `python
benchmarks/cells.py --scans`, {scans["environment"]["finished"][:10]}.

{table(head, rows)}
"""


def page(lab: Lab) -> str:
    """Return docs/systems.md."""
    about, environment = find_subjects(), lab.all["environment"]
    speed = json.loads(SPEED.read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    index = "\n".join(
        f"- **{registry.kind}s**: "
        + ", ".join(f"[{name}](systems/{name}.md)" for name in registry.names())
        for registry in REGISTRIES
    )
    summaries = "\n".join(
        f"| [{system}](../configs/lab/{system}.yaml) | {config_summary(f'lab/{system}')} |"
        for system in about
    )
    rows = [
        [f"[{system}](systems/{part}.md)", *lab.row(system)]
        for system, (_, part) in about.items()
        if system in lab.configs
    ]
    missing = [system for system in about if system not in lab.configs]
    not_compared = f"Not compared yet: {', '.join(missing)}.\n\n" if missing else ""
    seeds = ", ".join(map(str, lab.all["seeds"]))
    verdicts = "\n".join(
        f"- **{claim}** {'It holds here' if holds else 'It does not hold here'}. {evidence}"
        for claim, holds, evidence in claims(lab)
    )
    return f"""# Every recurrent system, side by side

This page compares all recurrent networks of slotfill on the same sentences, and says which claims
about them hold. `python scripts/make_systems_docs.py` writes it; do not edit it. Each part has a
page with its equations and source:

{index}

## The systems

Each is a few lines of YAML in [configs/lab](../configs/lab) and is trained by its name: `slotfill
train lab/elman`.

| config | what it is |
| --- | --- |
{summaries}

## The same budget for all

All have word vectors of size 100, a hidden size of 100 per direction, dropout 0.3 before the
encoder and the tagger, and a softmax over the tags; other options, such as the sizes of decoders
and of attention, have their defaults. All train for 10 epochs in batches of 32 at the same learning
rate. So this page compares architectures; [results.md](results.md) has the scores of the best
configs. Ten epochs are few, which is a disadvantage for systems that learn slowly.

    {lab.all["command"]}

F1 in percent on test: mean ± sample standard deviation over the seeds {seeds}; the epoch is
selected on valid. `unseen` has cities and airlines that never occur in training; in `pairs`
adjacent sentences differ only in *arrive* or *leave*, and "cities right" are those tagged with
their role. \\* differs from `lstm` with p < 0.05, \\*\\* also after Holm's correction for the
number of systems ([compare.md](compare.md#the-statistics)). Test: {lab.all["statistics"]["test"]}.
tokens/s: prediction of the ATIS test set, one thread, median of the seeds.

{table(["system", *HEAD], rows)}

{not_compared}Machine: {environment["processors"]} processors, {environment["platform"]};
Python {environment["python"]}, {versions}.
{lab.all["date"][:10]}.

## What the figures say

Each claim is from the lecture or a paper; whether it holds is computed from the figures above.
"Helps" means better than the LSTM on both corpora, with an interval above zero.

{verdicts}

## The loop over time

Forward and backward pass of one layer, both directions, {speed["batch"]} sentences of
{speed["steps"]} tokens, input size equal to hidden size, one thread, medians of
{speed["repeats"]} interleaved repeats: `python benchmarks/cells.py`,
{speed["environment"]["finished"][:10]}, the same machine. "of nn.LSTM" is the time as a multiple of
that of torch's own.

{speed_table()}

{scans_section()}"""


def pages() -> dict[Path, str]:
    """Return each page and its text."""
    lab = Lab()
    found = {
        FOLDER / f"{name}.md": part_page(registry, name, lab)
        for registry in REGISTRIES
        for name in registry.names()
    }
    return {PAGE: page(lab), **found}


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a page would change"
    )
    parser.add_argument(
        "--take",
        nargs=2,
        type=Path,
        metavar=("ALL", "GREFF"),
        help="the JSON of the two comparisons",
    )
    args = parser.parse_args()
    if args.take:
        take(*args.take)
    texts = pages()
    stale = [
        path
        for path, text in texts.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    stale += [path for path in FOLDER.glob("*.md") if path not in texts]
    if args.check:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} is not what scripts/make_systems_docs.py writes: run it",
                file=sys.stderr,
            )
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        if path in texts:
            path.write_text(texts[path], encoding="utf-8", newline="\n")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
