"""Write docs/systems.md and a page per cell, encoder and tagger, from the code and the lab.

    python scripts/make_systems_docs.py            write the pages
    python scripts/make_systems_docs.py --check    exit 1 if a page is not up to date

A page's equations are the docstring of the part's file, and its diagrams are described in
scripts/diagrams.txt. The results are those of docs/systems.json, which `scripts/train_systems.py`
writes, and of benchmarks/cells.json and cells-scans.json, which benchmarks/cells.py writes. Every
sentence about the results is computed from them.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make_diagrams import read_diagrams
from system_claims import GREFF, Claim, list_claims

from slotfill.config.builtin import config_summary, expand_configs, load_config
from slotfill.config.registry import CELLS, ENCODERS, TAGGERS, Registry
from slotfill.lab.compare.significance import ENOUGH_SEEDS, LEVEL

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "systems.md"
FOLDER = ROOT / "docs" / "systems"
FIGURES = ROOT / "docs" / "systems.json"
SPEED = ROOT / "benchmarks" / "cells.json"
SCANS = ROOT / "benchmarks" / "cells-scans.json"
GPU_SCANS = ROOT / "benchmarks" / "cells-scans-cuda.json"
GPU = ROOT / "benchmarks" / "gpu.json"
REGISTRIES = (ENCODERS, CELLS, TAGGERS)
Report = dict[str, Any]
MANY = 20
"""More than these are counted instead of listed."""


@dataclass(frozen=True)
class Words:
    """The words of the tables and sentences about the results, in one language."""

    corpora: dict[str, str]
    splits: dict[str, str]
    """What stands behind the name of a corpus."""
    system: str
    cities: str
    parameters: str
    multiply_adds: str
    rate: str
    difference: str
    holds: tuple[str, str]
    """Of a claim: everywhere, and on some corpora."""
    opposite: tuple[str, str]
    worse: tuple[str, str]
    """Of a claim with a margin: it does not hold."""
    unknown: tuple[str, str]
    untested: tuple[str, str]
    unmeasured: tuple[str, str]
    not_tested: str
    is_significant: str
    is_not_significant: str
    better_than: str
    worse_than: str
    missing: str
    none: str
    on: str
    comma: str
    last_comma: str
    """Between the last two of a list."""
    semicolon: str
    stop: str


ENGLISH = Words(
    corpora={
        "taipei": "Taipei",
        "taipei_hard": "harder Taipei",
        "atis": "ATIS",
        "mit_restaurant": "MIT Restaurant",
    },
    splits={"test": "", "unseen": ", unseen names", "pairs": ", pairs"},
    system="system",
    cities="cities in pairs right, %",
    parameters="parameters",
    multiply_adds="multiply-adds per token",
    rate="learning rates",
    difference="difference",
    holds=("it holds on all corpora", "it holds on {}"),
    opposite=("the opposite holds on all corpora", "the opposite holds on {}"),
    worse=("it holds on no corpus", "it does not hold on {}"),
    unknown=("it is shown on no corpus", "it is not shown on {}"),
    untested=("it is not tested, which needs two seeds", "it is not tested on {}"),
    unmeasured=("it is not measured yet", "it is not measured on {}"),
    not_tested="not tested",
    is_significant="a significant difference",
    is_not_significant="not a significant difference",
    better_than="Better than `{}`: ",
    worse_than="Worse: ",
    missing="Not tested: ",
    none="none",
    on="{systems} on {corpus}",
    comma=", ",
    last_comma=" and ",
    semicolon="; ",
    stop=". ",
)
CHINESE = Words(
    corpora={
        "taipei": "英文台北",
        "taipei_hard": "較難的英文台北",
        "atis": "ATIS",
        "mit_restaurant": "MIT 餐廳",
    },
    splits={"test": "", "unseen": "（沒看過的名稱）", "pairs": "（成對句）"},
    system="模型",
    cities="成對句中答對的城市（%）",
    parameters="參數數量",
    multiply_adds="每個詞的乘加次數",
    rate="學習率",
    difference="差距",
    holds=("在所有語料上都成立", "在{}上成立"),
    opposite=("在所有語料上結果都正好相反", "在{}上結果正好相反"),
    worse=("在所有語料上都不成立", "在{}上不成立"),
    unknown=("在所有語料上都看不出來", "在{}上看不出來"),
    untested=("還沒有檢定，至少要兩個隨機種子", "在{}上還沒有檢定"),
    unmeasured=("還沒有測量", "在{}上還沒有測量"),
    not_tested="沒有檢定",
    is_significant="差異顯著",
    is_not_significant="差異不顯著",
    better_than="顯著優於 `{}`：",
    worse_than="顯著較差：",
    missing="沒有檢定：",
    none="無",
    on="在{corpus}上是 {systems}",
    comma="、",
    last_comma="和",
    semicolon="；",
    stop="。",
)

# The figures


class Lab:
    """The figures of docs/systems.json, by system."""

    def __init__(self) -> None:
        self.all: Report = json.loads(FIGURES.read_text(encoding="utf-8"))
        self.configs: dict[str, Report] = {config["name"]: config for config in self.all["configs"]}
        self.first = str(self.all["statistics"]["first"])
        self.claims = {
            (found["system"], found["other"], found["corpus"]): found
            for found in self.all["claims"]
        }

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The corpora and their splits."""
        return [
            (corpus, split)
            for corpus, about in self.all["corpora"].items()
            for split in about["splits"]
        ]

    def split(self, name: str, corpus: str, split: str = "test") -> Report | None:
        """Return mean, deviation and difference from the LSTM of one system on one split."""
        corpora = self.configs[name]["corpora"] if name in self.configs else {}
        found: Report | None = corpora[corpus]["splits"][split] if corpus in corpora else None
        return found if found and found["mean"] is not None else None

    def runs(self, name: str, corpus: str) -> int:
        """Return how many runs of a system there are."""
        corpora = self.configs[name]["corpora"] if name in self.configs else {}
        return int(corpora[corpus]["runs"] - corpora[corpus]["failed"]) if corpus in corpora else 0

    def cities(self, name: str) -> float | None:
        """Return the mean percentage of the cities of `pairs` that are tagged with their role."""
        found = self.configs[name]["cities in pairs right"] if name in self.configs else []
        return statistics.mean(found) if found else None

    def head(self, words: Words) -> list[str]:
        """Return the headings of the columns of `row`."""
        titles = [words.corpora[corpus] + words.splits[split] for corpus, split in self.columns]
        return [*titles, words.cities, words.parameters, words.multiply_adds, words.rate]

    def row(self, name: str) -> list[str]:
        """Return a system's cells under `head`."""
        cells = [format_spread(self.split(name, corpus, split)) for corpus, split in self.columns]
        cities = self.cities(name)
        corpora = self.configs[name]["corpora"] if name in self.configs else {}
        found = [corpora.get(corpus, {}) for corpus in self.all["corpora"]]
        rates = [str(each.get("learning_rate", "–")) for each in found]
        costs = [found[0].get(key) for key in ("parameters", "multiply_adds_per_token")]
        return [
            *cells,
            "" if cities is None else f"{cities:.1f}",
            *(f"{cost:,}" if cost else "" for cost in costs),
            ", ".join(rates) if corpora else "",
        ]


def format_spread(found: Report | None) -> str:
    """Return mean and deviation, with the stars of a significant difference."""
    if found is None:
        return ""
    deviation = "" if found["deviation"] is None else f" ± {found['deviation']:.2f}"
    return f"{found['mean']:.2f}{deviation}{mark(found.get('difference_from_first'))}"


def mark(against: Report | None) -> str:
    """Return the sign of a difference that chance hardly gives: two after Holm's correction."""
    if against is None or against["p"] is None or against["p"] >= 0.05:
        return ""
    return "\\*\\*" if against["p_corrected"] < 0.05 else "\\*"


def format_difference(against: Report, words: Words = ENGLISH, sign: int = 1) -> str:
    """Return a difference, its interval and, without a margin, p; with -1, that of the other."""
    difference = f"{sign * against['difference']:+.2f}"
    if against["p"] is None:
        return f"{difference}, {words.not_tested}"
    low, high = sorted(sign * end for end in against["interval"])
    text = f"{difference} [{low:+.2f}, {high:+.2f}]"
    if against.get("margin"):
        return text
    p = against["p_corrected"]
    return f"{text}, p < 0.0001" if p < 0.0001 else f"{text}, p = {p:.4f}"


def join(items: list[str], words: Words = ENGLISH) -> str:
    """Return a list in words."""
    *most, last = items
    return f"{words.comma.join(most)}{words.last_comma}{last}" if most else last


def add_spaces(text: str) -> str:
    """Return a text with a space between Chinese and Latin characters."""
    return re.sub(r"(?<=[一-鿿])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[一-鿿])", " ", text)


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
            table([ENGLISH.system, *lab.head(ENGLISH)], rows) if rows else "Not compared yet.",
            "What the columns mean: [systems.md](../systems.md)." if rows else "",
        ]
    return "\n\n".join(filter(None, sections)) + "\n"


# What the figures say


KINDS = ("holds", "opposite", "worse", "unknown", "untested", "unmeasured")
"""What a claim may be on a corpus."""


def judge(claim: Claim, found: Report | None) -> str:
    """Return which of `KINDS` a claim is, by the difference of its systems."""
    if found is None:
        return "unmeasured"
    if found["p"] is None:
        return "untested"
    low, high = found["interval"]
    if claim.margin:
        return "holds" if low > -claim.margin else "worse" if high < -claim.margin else "unknown"
    if found["p_corrected"] >= LEVEL:
        return "unknown"
    return "holds" if found["difference"] > 0 else "opposite"


def verdict(lab: Lab, claim: Claim, words: Words = ENGLISH) -> str:
    """Return whether a claim holds, in a sentence."""
    corpora = list(lab.all["corpora"])
    outcomes = {
        corpus: judge(claim, lab.claims.get((claim.system, claim.other, corpus)))
        for corpus in corpora
    }
    pieces = []
    for kind in KINDS:
        on = [words.corpora[corpus] for corpus in corpora if outcomes[corpus] == kind]
        everywhere, somewhere = getattr(words, kind)
        if on:
            pieces.append(
                everywhere if len(on) == len(corpora) else somewhere.format(join(on, words))
            )
    text = add_spaces(words.semicolon.join(pieces) + words.stop.strip())
    return text[0].upper() + text[1:]


def describe(lab: Lab, claim: Claim) -> str:
    """Return the figures of a claim on all corpora."""
    pieces = [
        f"{ENGLISH.corpora[corpus]} {format_difference(found)}"
        for corpus in lab.all["corpora"]
        if (found := lab.claims.get((claim.system, claim.other, corpus)))
    ]
    return f" `{claim.system}` less `{claim.other}`: {'; '.join(pieces)}." if pieces else ""


def summarize(
    lab: Lab, names: Iterable[str], words: Words = ENGLISH, base: str | None = None
) -> str:
    """Return which of the systems are better and which worse than `base`, after the correction.

    The base is by default the LSTM; for another, only the tested claims are known.
    """
    base, names = base or lab.first, list(names)
    outcomes: dict[bool, list[str]] = {True: [], False: []}
    tested = set()
    for corpus in lab.all["corpora"]:
        found: dict[bool, list[str]] = {True: [], False: []}
        for name in names:
            split = lab.split(name, corpus)
            against = split and split.get("difference_from_first")
            sign = 1
            if base != lab.first:
                against, sign = lab.claims.get((base, name, corpus)), -1
            if not against or against["p"] is None:
                continue
            tested.add(name)
            if against["p_corrected"] < LEVEL:
                difference = sign * against["difference"]
                found[difference > 0].append(f"`{name}` ({difference:+.2f})")
        for is_better, listed in found.items():
            if listed:
                text = words.on.format(
                    systems=words.comma.join(listed), corpus=words.corpora[corpus]
                )
                outcomes[is_better].append(add_spaces(text))
    better, worse = (
        words.semicolon.join(outcomes[is_better]) or words.none for is_better in (True, False)
    )
    pieces = [f"{words.better_than.format(base)}{better}", f"{words.worse_than}{worse}"]
    if missing := [f"`{name}`" for name in names if name not in tested]:
        listed_text = words.comma.join(missing)
        pieces = [*(pieces if tested else []), f"{words.missing}{listed_text}"]
    return words.stop.join(pieces) + words.stop.strip()


def verdicts(lab: Lab) -> Iterator[str]:
    """Yield each claim with its verdict and its figures."""
    forgetful = lab.configs.get("feedforward", {}).get("cities in pairs right")
    if forgetful:
        outcome = "It holds" if max(forgetful) <= 50 else "It does not hold"
        others = [(name, lab.cities(name)) for name in ("elman", "lstm")]
        listed = [f"`{name}` {value:.1f} %" for name, value in others if value is not None]
        compared = f"; the means of others are {join(listed)}" if listed else ""
        least, most = (f"{choose(forgetful):.1f}" for choose in (min, max))
        yield (
            "**A network without memory gives the same word the same answer, so that it has at most"
            f" half of the cities in `pairs` right.** {outcome}: `feedforward` has"
            f" {least if least == most else f'{least} to {most}'} %{compared}."
        )
    for claim in list_claims(lab.configs):
        yield f"**{claim.text}.** {verdict(lab, claim)}{describe(lab, claim)}"
    yield (
        "**All variants of Greff et al. against their LSTM with peepholes.** "
        + summarize(lab, GREFF, base="greff-vanilla")
    )


def describe_parameters(lab: Lab) -> str:
    """Return how far the numbers of parameters are from the LSTM's, if they should be equal."""
    if not lab.all["budget"].get("equal parameters"):
        return ""
    apart: dict[str, float] = {}
    for name, config in lab.configs.items():
        for corpus, found in config["corpora"].items():
            first = lab.configs[lab.first]["corpora"].get(corpus, {}).get("parameters")
            if first and found["parameters"]:
                apart[name] = max(apart.get(name, 0), abs(found["parameters"] / first - 1))
    name = max(apart, key=lambda name: apart[name])
    return (
        f" Their numbers of parameters differ from that of the LSTM by at most"
        f" {100 * apart[name]:.1f} % (`{name}`)."
    )


def describe_cost(lab: Lab) -> str:
    """Return what is equal for all systems, and how far their multiply-adds are apart."""
    corpus = next(iter(lab.all["corpora"]))
    found = {
        name: cost
        for name, config in lab.configs.items()
        if (cost := config["corpora"].get(corpus, {}).get("multiply_adds_per_token"))
    }
    if not found or not lab.all["budget"].get("equal parameters"):
        return ""
    least, most = (choose(found, key=lambda name: found[name]) for choose in (min, max))
    return (
        " Equal are the sentences, the epochs, the word vectors, the parameters behind them and the"
        " search of the learning rate. Not equal is the computation: on"
        f" {ENGLISH.corpora[corpus]}, a token takes {found[lab.first]:,} multiply-adds in the LSTM,"
        f" {found[least]:,} in `{least}` and {found[most]:,} in `{most}`"
        " ([counted](compare.md#size-cost-and-speed) in a sentence of median length). Nor are time"
        " and memory."
    )


def describe_rates(lab: Lab) -> str:
    """Return how often the best learning rate is an end of the search."""
    ends = lab.all["budget"].get("ends of the search")
    if not ends:
        return ""
    found = [
        each["learning_rate"]
        for config in lab.configs.values()
        for each in config["corpora"].values()
    ]
    counts = [f"{rate} in {found.count(rate)}" for rate in ends]
    return (
        f" Of {len(found)} searches the best rate is {join(counts)}: the ends of the search,"
        " beyond which another might be better still."
    )


def describe_seeds(lab: Lab) -> str:
    """Return over how many seeds the means are, and which systems have fewer."""
    seeds = lab.all["seeds"]
    if len(seeds) == 1:
        return f"of seed {seeds[0]}; nothing is tested, which needs two seeds"
    few = [
        f"`{name}` {runs} on {ENGLISH.corpora[corpus]}"
        for name, config in lab.configs.items()
        for corpus in config["corpora"]
        if (runs := lab.runs(name, corpus)) < len(seeds)
    ]
    text = f"mean ± sample standard deviation over the seeds {join(list(map(str, seeds)))}"
    if len(few) > MANY:
        total = sum(len(config["corpora"]) for config in lab.configs.values())
        text += f" ({len(few)} of {total} means are over fewer)"
    elif few:
        text += f" (fewer: {', '.join(few)})"
    if len(seeds) < ENOUGH_SEEDS:
        text += f"; with fewer than {ENOUGH_SEEDS} only large differences are found"
    return text


def describe_missing(lab: Lab, systems: Iterable[str]) -> str:
    """Return what is not compared, and which runs failed."""
    missing = [name for name in systems if name not in lab.configs]
    missing += [
        f"{name} on {ENGLISH.corpora[corpus]}"
        for name, config in lab.configs.items()
        for corpus in lab.all["corpora"]
        if corpus not in config["corpora"]
    ]
    failures = [
        f"{run['system']} on {ENGLISH.corpora[run['corpus']]}, rate {run['rate']}, seed"
        f" {run['seed']}"
        for run in lab.all.get("failures", [])
    ]
    text = f"Not compared: {', '.join(missing)}.\n\n" if missing else ""
    return text + (f"Failed in training: {'; '.join(failures)}.\n\n" if failures else "")


def describe_best(lab: Lab) -> str:
    """Return the best mean on each corpus, which says how far it is from its ceiling."""
    best = []
    for corpus in lab.all["corpora"]:
        means = {name: found["mean"] for name in lab.configs if (found := lab.split(name, corpus))}
        name = max(means, key=lambda name: means[name])
        best.append(f"{means[name]:.2f} on {ENGLISH.corpora[corpus]} (`{name}`)")
    return f"The highest mean F1 is {join(best)}."


def describe_differences(lab: Lab) -> str:
    """Return in what the runs differ apart from system, corpus and seed."""
    found = [
        re.sub(r"\b([0-9a-f]{9})[0-9a-f]{31}\b", r"\1", text) for text in lab.all["differences"]
    ]
    return f" The runs differ in the {'; '.join(found)}." if found else ""


def describe_machine(environment: Report) -> str:
    """Return machine and versions."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    return (
        f"{environment['processors']} processors, {environment['platform']}; Python"
        f" {environment['python']}, {versions}"
    )


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
    """Return what benchmarks/cells-scans.json and the like say of linear recurrences."""
    rows, devices = [], []
    gpu = json.loads(GPU.read_text(encoding="utf-8"))["cells device"]["device"]
    for path, device in ((SCANS, "a CPU"), (GPU_SCANS, f"one {gpu}")):
        scans = json.loads(path.read_text(encoding="utf-8"))
        devices.append(f"{device} on {scans['environment']['finished'][:10]}")
        for steps, row in scans["steps"].items():
            times = (f"{row[way]:.2f}" for way in ("autograd", "loop", "parallel"))
            rows.append([f"{steps}, on {device}", *times])
    head = ["steps", "autograd, ms", "loop, ms", "parallel scan, ms"]
    return f"""## Linear recurrences

The memory of [mingru](systems/mingru.md), [minlstm](systems/minlstm.md), [qrnn](systems/qrnn.md),
[lru](systems/lru.md), and of [sru](systems/sru.md) without its peepholes, is c_t = a_t * c_(t-1) +
b_t with a_t and b_t from the input alone, so a parallel scan can compute all steps in log2(T)
operations. On a CPU, where each operation takes as long as it has elements, a loop of one operation
in each step with its own gradient trains instead; on a GPU the parallel scan is used. The table has
the forward and backward pass of the recurrence alone, {scans["hidden size"]} units, both
directions, {scans["batch"]} sentences, medians of interleaved repeats, on a CPU its own time with
one thread. Measured on {" and ".join(devices)}: `python benchmarks/cells.py --scans`, on a GPU
with `--device cuda`.

{table(head, rows)}
"""


def page(lab: Lab) -> str:
    """Return docs/systems.md."""
    about = find_subjects()
    speed = json.loads(SPEED.read_text(encoding="utf-8"))
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
    claims = "\n".join(f"- {text}" for text in verdicts(lab))
    others = [name for name in lab.configs if name != lab.first]
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

## What is equal for all

{lab.all["budget"]["text"]}{describe_parameters(lab)}{describe_cost(lab)}{describe_rates(lab)}

This page compares architectures; [results.md](results.md) has the scores of the best configs.

    {lab.all["command"]}

F1 in percent on test, {describe_seeds(lab)}; the epoch is selected on valid.
`unseen` has cities and airlines that never occur in training; in `pairs` adjacent sentences differ
only in the verb, and "cities right" are those tagged with their role.
\\* differs from `{lab.first}` with p < {LEVEL:g}, \\*\\* also after Holm's correction for
the number of systems ([compare.md](compare.md#the-statistics)). Test:
{lab.all["statistics"]["test"]}. Parameters and multiply-adds are those on the first corpus;
learning rates are in the order of the corpora.

{table([ENGLISH.system, *lab.head(ENGLISH)], rows)}

After Holm's correction, of all systems: {summarize(lab, others)}

{describe_missing(lab, about)}{describe_best(lab)}

Machine: {describe_machine(lab.all["environment"])}.
{lab.all["date"][:10]}.{describe_differences(lab)}

## What the figures say

Each claim is about two systems, and has the difference of their F1 on test with its 95 % interval,
and p after Holm's correction for the number of claims on that corpus. A claim holds on a corpus if
p is below {LEVEL:g}. One system is as good as another if the interval excludes that it is worse by
a point of F1; such a claim has no p. Intervals are not corrected for their number.

{claims}

## The loop over time

Forward and backward pass of one layer, both directions, {speed["batch"]} sentences of
{speed["steps"]} tokens, input size equal to hidden size, one thread, medians of
{speed["repeats"]} interleaved repeats: `python benchmarks/cells.py`,
{speed["environment"]["finished"][:10]}. "of nn.LSTM" is the time as a multiple of
that of torch's own. Machine: {describe_machine(speed["environment"])}.

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
    args = parser.parse_args()
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
