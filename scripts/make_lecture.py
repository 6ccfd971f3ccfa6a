"""Write the generated parts of docs/lecture.md and its Chinese version: output, tables, pictures.

    python scripts/make_lecture.py            reuse the results of slow commands from runs/lecture
    python scripts/make_lecture.py --fresh    run everything again
    python scripts/make_lecture.py --tables   run nothing; only what comes from docs/systems.json
    python scripts/make_lecture.py --only lecture.zh-TW.md    only this page
    python scripts/make_lecture.py --check    run nothing; exit 1 if the pages differ in a command
                                              or an output

In a page, blocks of `sh` and `python` are run, blocks of `shell` are only shown. Markers say what
is generated between them and `<!-- end -->`:

    <!-- output -->            the output of the block above; with `: PATTERN`, its matching lines
    <!-- table: NAME ... -->   systems of docs/systems.json; `greff` is the variants
    <!-- verdict: A B -->      whether A is better than B, or as good, by docs/systems.json
    <!-- summary: NAME ... -->   which of the systems are better than the LSTM, and which worse;
                               with `against BASE`, than another system
    <!-- difference -->        of the first half of the runs in the output above from the second
    <!-- gradients: A B -->    the norms of the gradient in the runs of `compare` in runs/A, with
                               clipping, and in runs/B, without
    <!-- recalls -->           how far the recalls of each table in the output above are from 100 %
    <!-- environment -->       date, machine and versions
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import make_systems_docs as systems
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from measured import record
from system_claims import CLAIMS, GREFF

from slotfill.config.registry import CELLS
from slotfill.config.sections import TrainConfig
from slotfill.lab.compare.significance import LEVEL, student_quantile, student_tail
from slotfill.lab.probe import figures
from slotfill.model.recurrence import run_cell
from slotfill.runs.environment import environment

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "runs" / "lecture"
DEPENDS = (
    *("slotfill/model", "slotfill/training/*.py", "slotfill/evaluation", "slotfill/lab/inspect"),
    *("slotfill/lab/probe", "slotfill/lab/compare", "configs/lab"),
)


@dataclass(frozen=True)
class Page:
    """A page in one language, about sentences in that language."""

    path: Path
    words: systems.Words
    pictures: Path
    """The folder of its pictures."""
    suffix: str
    """The format of its pictures; SVG has its letters from the reader's fonts."""
    corpus: str
    city: str
    """The token of the city, in the sentences that the pictures show."""
    sentences: tuple[str, str]
    titles: dict[str, str] = field(default_factory=dict)
    """What stands in the pictures, by its English words."""

    @property
    def work(self) -> Path:
        """The folder where the commands of the page run."""
        return WORK / self.path.stem

    def say(self, text: str) -> str:
        """Return an English text of a picture in the language of the page."""
        return self.titles.get(text, text)


ENGLISH = Page(
    ROOT / "docs" / "lecture.md",
    systems.ENGLISH,
    ROOT / "docs" / "lecture",
    ".png",
    "data/taipei",
    "Taipei",
    ("leave Taipei on November 2nd", "arrive Taipei on November 2nd"),
)
CHINESE = Page(
    ROOT / "docs" / "lecture.zh-TW.md",
    systems.CHINESE,
    ROOT / "docs" / "lecture" / "zh-TW",
    ".svg",
    "data/taipei_zh",
    "台",
    ("十一月二日離開台北", "十一月二日抵達台北"),
    {
        "input gate": "輸入閘",
        "forget gate": "遺忘閘",
        "output gate": "輸出閘",
        "memory": "記憶",
        "12 units": "12 個單元",
        "after an LSTM": "接在 LSTM 之後",
        "alone": "單獨使用",
        "looked at": "被看的字",
        "the token that looks": "在看的字",
        "Error after 50 steps": "50 步之後的誤差",
        "Slope at bias −2.5": "偏差項為 −2.5 時的斜率",
        "recurrent weight": "循環權重",
        "bias": "偏差項",
        "|slope|": "|斜率|",
        "5 steps": "5 步",
        "50 steps": "50 步",
        "Accuracy of the city's slot": "城市槽位的正確率",
        "Relative gradient (dashed: weights x 4)": "相對梯度（虛線：權重 x 4）",
        "accuracy, %": "正確率（%）",
        "chance": "亂猜",
        "explodes": "爆炸",
        "vanishes": "消失",
        "tokens from verb to city": "動詞和城市隔幾個詞",
        "k tokens back from the city": "從城市往回 k 個詞",
        r"$G_k\,/\,G_0$, untrained": "相對梯度，未訓練",
    },
)
PAGES = (ENGLISH, CHINESE)
FONTS = ("DejaVu Sans", "Noto Sans CJK TC", "PingFang TC", "Microsoft JhengHei", "sans-serif")
TRANSLATED = ("table", "verdict", "summary", "difference", "gradients", "recalls")
"""What is generated in the language of the page."""

PIECE = re.compile(
    r"^```(?P<language>sh|shell|python)\n(?P<code>.*?)^```$"
    r"|<!-- (?P<kind>output|table|verdict|summary|difference|gradients|recalls|environment)"
    r"(?:: (?P<what>.*?))? -->"
    r"(?P<text>.*?)<!-- end -->"
    r"|!\[[^\]]*\]\((?P<picture>[^)]+)\)",
    re.MULTILINE | re.DOTALL,
)
SLOW = ("train", "probe", "compare")
UNITS = 12
BIAS = -2.5
CLIP: float = TrainConfig.model_fields["gradient_clip"].default

# What the commands print


def make_environment() -> dict[str, str]:
    """Return the environment: this checkout's slotfill, one thread, plain text 100 columns wide."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": here, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1"}


@cache
def run_command(language: str, command: str, work: Path) -> str:
    """Run one command in a folder and return what it printed; slow commands run only once."""
    work.mkdir(parents=True, exist_ok=True)
    notes = work / "printed.json"
    kept: dict[str, str] = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    if command in kept:
        return kept[command]
    words = [sys.executable, "-c", command] if language == "python" else shlex.split(command)
    print("running", "a snippet" if language == "python" else command, flush=True)
    done = subprocess.run(
        words, cwd=work, env=make_environment(), stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command}\nended with {done.returncode}")
    if language == "sh" and words[1] in SLOW:
        notes.write_text(
            json.dumps({**kept, command: done.stdout}, ensure_ascii=False, indent=1),
            encoding="utf-8",
        )
    return done.stdout


def run_block(language: str, code: str, work: Path) -> str:
    """Return what a block printed, each of its commands after the other."""
    commands = [code] if language == "python" else re.sub(r"\\\n\s*", "", code).strip().splitlines()
    return "".join(run_command(language, command, work) for command in commands)


def inspect_run(page: Page, folder: str, sentence: str) -> dict[str, Any]:
    """Return what `slotfill inspect` sees of a run of the page while it reads a sentence."""
    command = f"slotfill inspect runs/{folder} {shlex.quote(sentence)} --json"
    results: dict[str, Any] = json.loads(run_command("sh", command, page.work))
    return results


# What comes from docs/systems.json


@cache
def lab() -> systems.Lab:
    """Return the figures of docs/systems.json."""
    return systems.Lab()


def expand(names: str) -> list[str]:
    """Return the names of systems; `greff` is all variants of Greff et al."""
    return list(GREFF) if names == "greff" else names.split()


def table(names: str, words: systems.Words) -> str:
    """Return the rows of systems, or of the variants of Greff et al. against their LSTM."""
    figures = lab()
    if names != "greff":
        rows = [[name, *figures.row(name)] for name in names.split()]
        return systems.table([words.system, *figures.head(words)], rows)
    base = "greff-vanilla"
    rows = []
    for name in (base, *expand(names)):
        cells = [name]
        for corpus in figures.all["corpora"]:
            against = figures.claims.get((base, name, corpus))
            found = figures.split(name, corpus)
            mean = found and found | {"difference_from_first": None}
            cells.append(systems.format_spread(mean))
            cells.append(systems.format_difference(against, words, -1) if against else "")
        rows.append(cells)
    titles = [words.corpora[corpus] for corpus in figures.all["corpora"]]
    head = [title for corpus in titles for title in (corpus, words.difference)]
    return systems.table([words.system, *head], rows)


def verdict(pair: str, words: systems.Words) -> str:
    """Return whether the claim that one system is better than another holds."""
    found = [claim for claim in CLAIMS if [claim.system, claim.other] == pair.split()]
    if len(found) != 1:
        raise SystemExit(f"{pair}: {len(found)} claims of scripts/system_claims.py are so")
    return systems.verdict(lab(), found[0], words)


def difference_of(output: str, words: systems.Words) -> str:
    """Return the difference of the first half of the runs in an output from the second half."""
    found = [float(number) for number in re.findall(r"test F1 ([\d.]+)", output)]
    one, other = found[: len(found) // 2], found[len(found) // 2 :]
    # Welch's test.
    parts = [statistics.variance(each) / len(each) for each in (one, other)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(one) - 1) for part in parts)
    deviation = sum(parts) ** 0.5
    change = statistics.mean(one) - statistics.mean(other)
    margin = student_quantile(freedom) * deviation
    p = student_tail(abs(change) / deviation, freedom)
    against = {"difference": change, "interval": (change - margin, change + margin), "p": p}
    text = systems.format_difference({**against, "p_corrected": p}, words)
    outcome = words.is_significant if p < LEVEL else words.is_not_significant
    return f"{text}{words.semicolon}{outcome}{words.stop.strip()}"


def recalls_of(output: str, chinese: bool) -> str:
    """Return how far from 100 % the recalls of both roles add up, in the first table and the next.

    Each city is a destination in one sentence of a pair and an origin in the other.
    """
    rows = re.findall(r"^│ (?:destination|origin) +│ +[\d.]+ │ +([\d.]+) │", output, re.MULTILINE)
    (upper, lower) = (sum(map(float, rows[start : start + 2])) for start in (0, 2))
    if chinese:
        return (
            f"這裡加起來是 {upper:.2f}，和 100 差 {100 - upper:.2f}；"
            f"下面那張表加起來是 {lower:.2f}。"
        )
    return (
        f"Here they add up to {upper:.2f}, which is {100 - upper:.2f} below it, and in the lower"
        f" table to {lower:.2f}."
    )


@dataclass(frozen=True)
class GradientWords:
    """The words of `describe_gradients`, in one language."""

    head: tuple[str, ...]
    rows: tuple[str, str]
    diverged: str
    """Of how many of the runs."""
    all_learn: str
    grows: str
    """In how many of the runs without clipping, and at most to what multiple."""
    falls: str
    above: str
    """In how many epochs of those with clipping, and the limit."""
    never_above: str
    stop: str
    trained: str


GRADIENT_WORDS = {
    "lecture": GradientWords(
        head=("runs", "first epoch", "largest epoch", "last epoch"),
        rows=("with clipping", "without"),
        diverged="{} of {} runs diverge: their loss ends infinite, or above that of the first"
        " epoch",
        all_learn="None of the {} runs diverges: the loss of each ends below that of the first"
        " epoch",
        grows="Without clipping, the gradient of a later epoch is longer than that of the first in"
        " {} of {} runs, at most {:.1f} times as long",
        falls="Without clipping, in none of {} runs is the gradient of a later epoch longer than"
        " that of the first",
        above="With clipping, the mean of an epoch is above the limit of {:g} in {} of {}"
        " epochs, so that it shortens steps in each of these",
        never_above="With clipping, the mean of an epoch is above the limit of {:g} in {} of {}"
        " epochs, so that it shortens single steps at most",
        stop=". ",
        trained="These runs are of {}.",
    ),
    "lecture.zh-TW": GradientWords(
        head=("訓練", "第一個 epoch", "最大的 epoch", "最後一個 epoch"),
        rows=("有裁剪", "沒有裁剪"),
        diverged="{1} 次訓練中有 {0} 次發散：損失變成無限大，或最後比第一個 epoch 還高",
        all_learn="{} 次訓練都沒有發散：損失最後都比第一個 epoch 低",
        grows="沒有裁剪時，{1} 次訓練中有 {0} 次，後來某個 epoch 的梯度比第一個 epoch 長，"
        "最多是 {2:.1f} 倍",
        falls="沒有裁剪時，{} 次訓練裡，後來的梯度都沒有比第一個 epoch 長",
        above="有裁剪時，{2} 個 epoch 中有 {1} 個的平均超過上限 {0:g}，"
        "這些 epoch 裡一定有梯度被剪短",
        never_above="有裁剪時，{2} 個 epoch 中有 {1} 個的平均超過上限 {0:g}，"
        "被剪短的頂多是個別幾步的梯度",
        stop="。",
        trained="這些訓練的日期：{}。",
    ),
}


def read_histories(folder: Path) -> list[list[tuple[float, float]]]:
    """Return loss and gradient norm of each epoch of the runs in a folder, inf for none."""
    histories = []
    for path in sorted(folder.glob("*/*/history.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                tuple(float(row[key] or "inf") for key in ("loss", "gradient_norm"))
                for row in csv.DictReader(file)
            ]
        histories.append([(loss, norm) for loss, norm in rows])
    return histories


def read_dates(folders: list[Path]) -> str:
    """Return the first and the last date of the runs in folders, or the only one."""
    files = [path for folder in folders for path in folder.glob("*/*/environment.json")]
    dates = {json.loads(path.read_text(encoding="utf-8"))["finished"][:10] for path in files}
    return " – ".join(sorted({min(dates), max(dates)}))


def describe_gradients(
    clipped: list[list[tuple[float, float]]],
    unclipped: list[list[tuple[float, float]]],
    limit: float,
    words: GradientWords,
) -> str:
    """Return a table of the norms before clipping, and what they say of clipping."""
    rows = []
    for name, runs in zip(words.rows, (clipped, unclipped), strict=True):
        columns = [
            [run[0][1] for run in runs],
            [max(norm for _, norm in run) for run in runs],
            [run[-1][1] for run in runs],
        ]
        rows.append([name, *(f"{min(each):.1f} – {max(each):.1f}" for each in columns)])
    runs = [*clipped, *unclipped]
    diverged = sum(not run[-1][0] <= run[0][0] < math.inf for run in runs)
    longest = [max(norm for _, norm in run[1:]) / run[0][1] for run in unclipped]
    longer = sum(ratio > 1 for ratio in longest)
    norms = [norm for run in clipped for _, norm in run]
    above = sum(norm > limit for norm in norms)
    said = [
        words.diverged.format(diverged, len(runs))
        if diverged
        else words.all_learn.format(len(runs)),
        words.grows.format(longer, len(longest), max(longest))
        if longer
        else words.falls.format(len(longest)),
        (words.above if above else words.never_above).format(limit, above, len(norms)),
    ]
    text = words.stop.join(said) + words.stop.strip()
    return f"\n\n{systems.table(list(words.head), rows)}\n\n{text}\n\n"


# The pages


def fill_page(page: Page, *, run: bool = True) -> str:
    """Return the text of a page with everything between its marks generated again.

    Without `run`, only that which comes from docs/systems.json or from an output on the page.
    """
    last: tuple[str, str] = ("", "")
    output = ""

    def piece(match: re.Match[str]) -> str:
        nonlocal last, output
        if match["language"] in ("sh", "python"):
            last = (match["language"], match["code"])
            if run:
                run_block(*last, page.work)
        kind, what = match["kind"], match["what"] or ""
        if kind is None:
            return match[0]
        text = match["text"]
        if kind == "output":
            if run:
                lines = [
                    line.rstrip()
                    for line in run_block(*last, page.work).splitlines()
                    if re.search(what, line)
                ]
                text = "\n```text\n" + "\n".join(lines).strip("\n") + "\n```\n"
            output = text
        elif kind == "table":
            text = "\n\n" + table(what, page.words) + "\n\n"
        elif kind == "verdict":
            text = verdict(what, page.words)
        elif kind == "summary":
            names, _, base = what.partition(" against ")
            text = systems.summarize(lab(), expand(names), page.words, base or None)
        elif kind == "difference":
            text = difference_of(output, page.words)
        elif kind == "recalls":
            text = recalls_of(output, page.words is systems.CHINESE)
        elif kind == "gradients":
            if run:  # The histories are not on the page.
                folders = [page.work / "runs" / folder for folder in what.split()]
                clipped, unclipped = map(read_histories, folders)
                words = GRADIENT_WORDS[page.path.stem]
                text = describe_gradients(clipped, unclipped, CLIP, words)
                text += f"{words.trained.format(read_dates(folders))}\n\n"
        elif run:
            text = "\n" + describe_environment() + "\n"
        return f"{match[0].partition('-->')[0]}-->{text}<!-- end -->"

    return PIECE.sub(piece, page.path.read_text(encoding="utf-8"))


@cache
def describe_environment() -> str:
    """Return date, machine and versions."""
    results = environment()
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return (
        f"{results['finished'][:10]}; {results['processors']} processors, {results['platform']}; "
        f"Python {results['python']}, {versions}."
    )


def list_shared_parts(page: Path) -> list[str]:
    """Return the commands, results and pictures that both pages must share, in order.

    The words in code, the data and the options of commands may differ.
    """
    parts = []
    for match in PIECE.finditer(page.read_text(encoding="utf-8")):
        code = match["code"] or ""
        if match["language"] == "python":
            code = re.sub(r'"[^"\n]*"', "...", code)
        elif match["language"]:
            code = " ".join(re.findall(r"^slotfill (\w+)", code, re.MULTILINE))
        what = "" if match["kind"] == "output" else match["what"]
        picture = Path(match["picture"]).stem if match["picture"] else ""
        parts.append(
            " ".join(filter(None, (match["language"], code, match["kind"], what, picture)))
        )
    return parts


def difference() -> str:
    """Return the first thing in which the two pages differ, or nothing."""
    one, other = (list_shared_parts(page.path) for page in PAGES)
    for here, there in zip_longest(one, other, fillvalue="(nothing)"):
        if here != there:
            return f"{here}\n\nis, in the other page,\n\n{there}"
    return ""


# The pictures


def draw(page: Page) -> None:
    """Draw the pictures of a page."""
    page.pictures.mkdir(exist_ok=True)
    if (page.work / "memory.svg").exists():
        picture = (page.work / "memory.svg").read_text(encoding="utf-8")
        picture = translate_picture(picture, page)
        (page.pictures / "memory.svg").write_text(picture, encoding="utf-8", newline="\n")
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": FONTS}):
        for name, plot in (
            ("surface", plot_surface),
            ("gates", plot_gates),
            ("attention", plot_attention),
        ):
            picture = figures.render(plot(page), page.suffix)
            (page.pictures / f"{name}{page.suffix}").write_bytes(picture)


def translate_picture(svg: str, page: Page) -> str:
    """Return a picture of matplotlib with its texts in the language of the page.

    The letters of a text are shapes, of which others are copies; the text is in a comment before.
    """

    def translate(match: re.Match[str]) -> str:
        if match["text"] not in page.titles:
            return match[0]
        places = re.findall(r"translate\(([\d.]+)", match["letters"])
        middle = (max(map(float, places), default=0) + 60) / 2
        style = f"font: 100px {', '.join(map(repr, FONTS))}; text-anchor: middle"
        return (
            f'{match["group"]}<text transform="scale(1 -1)" x="{middle:.1f}" style="{style}">'
            f"{page.titles[match['text']]}</text></g>"
        )

    return re.sub(
        r"<!-- (?P<text>[^\n]*?) -->\s*(?P<group><g [^>]*>(?:\s*<defs>.*?</defs>)?)"
        r"(?P<letters>.*?)</g>",
        translate,
        svg,
        flags=re.DOTALL,
    )


def heat_map(axes: Any, values: Any, tokens: list[str], *, low: float, high: float) -> Any:
    """Draw `values`, a row for each token, and return the picture for a scale beside it."""
    colours = "RdBu_r" if low < 0 else "Blues"
    picture = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
    axes.set_yticks(range(len(tokens)), tokens)
    axes.tick_params(length=0)
    axes.grid(False)
    return picture


def plot_gates(page: Page) -> Any:
    """Return gates and memory of the units that differ most between the sentences."""
    names = ("input", "forget", "output", "memory")
    seen = [inspect_run(page, "lstm", sentence) for sentence in page.sentences]
    arrays = [
        {p["name"]: np.array(p["values"]) for p in results["panels"] if p["direction"] == "forward"}
        for results in seen
    ]
    position = seen[0]["tokens"].index(page.city)
    apart = arrays[0]["memory"][position] - arrays[1]["memory"][position]
    units = np.argsort(-np.abs(apart), kind="stable")[:UNITS]
    units = units[np.argsort(-apart[units], kind="stable")]
    high = float(max(np.abs(each["memory"][:, units]).max() for each in arrays))
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(16, 6.6), layout="constrained", facecolor="white")
        grid = figure.subplots(len(seen), len(names), sharex=True)
        for row, (results, values) in enumerate(zip(seen, arrays, strict=True)):
            for column, name in enumerate(names):
                low, top = (-high, high) if name == "memory" else (0.0, 1.0)
                tokens = results["tokens"] if column == 0 else [""] * len(results["tokens"])
                axes = grid[row][column]
                picture = heat_map(axes, values[name][:, units], tokens, low=low, high=top)
                axes.set_xticks([])
                if row == 0:
                    axes.set_title(page.say(name if name == "memory" else f"{name} gate"))
                else:
                    axes.set_xlabel(page.say(f"{UNITS} units"))
                    figure.colorbar(
                        picture, ax=grid[:, column], orientation="horizontal", shrink=0.8
                    )
    return figure


def plot_attention(page: Page) -> Any:
    """Return where each token looks, with attention after an LSTM and with attention alone."""
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(16, 7), layout="constrained", facecolor="white")
        grid = figure.subplots(1, 2)
        titles = {"attention": "after an LSTM", "attention-alone": "alone"}
        for axes, (folder, title) in zip(grid, titles.items(), strict=True):
            results = inspect_run(page, folder, page.sentences[0])
            (weights,) = (
                panel["values"] for panel in results["panels"] if panel["name"] == "weights"
            )
            picture = heat_map(axes, weights, results["tokens"], low=0, high=1)
            axes.set_xticks(range(len(results["tokens"])), results["tokens"])
            axes.set(title=page.say(title), xlabel=page.say("looked at"))
        grid[0].set_ylabel(page.say("the token that looks"))
        figure.colorbar(picture, ax=grid, shrink=0.8)
    return figure


def plot_surface(page: Page) -> Any:
    """Return the error of a one-unit network after 50 steps, and its slope along one line."""

    def errors(
        weights: torch.Tensor, biases: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the error of networks with these parameters, and its slope along the weight."""
        cell = CELLS.build({"name": "elman", "activation": "sigmoid"}, 1, 1, len(weights)).double()
        cell.recurrent_weight.detach()[:] = weights.view(-1, 1, 1)
        cell.bias.detach()[:] = biases.view(-1, 1, 1)
        last = run_cell(cell, torch.zeros(len(weights), steps, 1, 1, dtype=torch.float64))[0][
            :, -1
        ].flatten()
        error = (last - 0.7) ** 2
        (slope,) = torch.autograd.grad(error.sum(), cell.recurrent_weight)
        return error.detach(), slope.flatten().abs()

    weights, biases = torch.linspace(0, 8, 161), torch.linspace(-4, 0, 161)
    grid = torch.cartesian_prod(biases, weights)
    surface = errors(grid[:, 1], grid[:, 0], 50)[0].view(161, 161)
    figure, (left, right) = figures.panels(
        page.say("Error after 50 steps"), page.say(f"Slope at bias −{-BIAS:g}")
    )
    with matplotlib.rc_context(figures.STYLE):
        picture = left.imshow(
            surface, cmap="viridis", extent=(0, 8, -4, 0), origin="lower", aspect="auto"
        )
        left.grid(False)
        left.axhline(BIAS, color="white", linestyle=":", linewidth=2)
        left.set(xlabel=page.say("recurrent weight"), ylabel=page.say("bias"))
        figure.colorbar(picture, ax=left, location="bottom", shrink=0.8)
        line = torch.linspace(0, 8, 1601)
        for steps, colour, style in ((5, figures.COLORS[0], "--"), (50, figures.COLORS[1], "-")):
            slope = errors(line, torch.full_like(line, BIAS), steps)[1]
            right.plot(line, slope, color=colour, linestyle=style, label=page.say(f"{steps} steps"))
        right.set(yscale="log", xlabel=page.say("recurrent weight"), ylabel=page.say("|slope|"))
        right.legend()
    return figure


def main() -> int:
    """Write the pages and draw the pictures, or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="run nothing; exit 1 if the two pages differ"
    )
    parser.add_argument("--fresh", action="store_true", help="train and probe again")
    parser.add_argument(
        "--tables", action="store_true", help="run nothing; only what docs/systems.json says"
    )
    parser.add_argument("--only", choices=[page.path.name for page in PAGES], help="only this page")
    args = parser.parse_args()
    for page in () if args.check else PAGES:
        if args.only not in (None, page.path.name):
            continue
        if args.fresh and page.work.exists():
            shutil.rmtree(page.work)
        fresh = not page.work.exists()
        text = fill_page(page, run=not args.tables)
        if not args.tables:
            draw(page)
        page.path.write_text(text, encoding="utf-8", newline="\n")
        if fresh and not args.tables:  # Otherwise the output of slow commands is older.
            command = "python scripts/make_lecture.py --fresh"
            record(str(page.path.relative_to(ROOT)), command, *DEPENDS, page.corpus)
    if difference_text := difference():
        print(
            f"docs/lecture.md and docs/lecture.zh-TW.md differ: {difference_text}", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
