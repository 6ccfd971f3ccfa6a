"""How time and peak memory grow: of training with sentences, prediction with tokens, start-up with
the run folder.

Each size is a command of its own, on one core. Sentences of any number are those of a corpus again
and again, varied so that new words keep coming, as they do in life: while training less and less
often, while predicting never less.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from fixtures import CORE, ROOM, ROOT, in_turn, middle, run_of, say, test_lines

from slotfill.config.builtin import load_config
from slotfill.data.vocab import Vocab
from slotfill.model.build import build_model
from slotfill.runs.folder import RunFolder
from slotfill.training.trainer import EpochMetrics

SENTENCES = (1_000, 10_000, 100_000, 1_000_000)
TOKENS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
MEGABYTES = (1, 10, 100, 500)

REPEATS = 3
REPEATS_OF_MINUTES = 1
"""Of the greatest number of sentences and of tokens, which take minutes each time."""

NEW_WORDS = 20
"""One token in so many is a word never seen before, in the stream that is predicted."""

SETTINGS = (
    "embedding={name: word, size: 50}",
    "encoder={name: recurrent, hidden_size: 32}",
    *("train.batch_size=128", "train.epochs=1"),
)
"""A network so small that a million sentences are minutes."""

VECTOR = 100
"""Numbers in a word's vector, in the run folders that are made."""

SENTENCE = "leave Taipei on November 2nd"
CITY = re.compile(r"(?<=\[)[^\]]+(?=\]\((?:origin|destination|stopover)\))")


def measure(only: str = "", repeats: int = REPEATS) -> dict[str, Any]:
    """Return for each of the three, or the `only` one, the figures of each size, and how steep
    they are over the upper half."""
    ROOM.mkdir(parents=True, exist_ok=True)
    measures = {
        "training": lambda room: _training(SENTENCES, room, repeats),
        "prediction": lambda room: _prediction(TOKENS, room, repeats),
        "start-up": lambda room: _start_up(MEGABYTES, room, repeats),
    }
    with TemporaryDirectory(prefix="growth-", dir=ROOM) as room:
        return {name: each(Path(room)) for name, each in measures.items() if only in ("", name)}


def _training(sizes: Sequence[int], room: Path, repeats: int) -> dict[str, Any]:
    say("growth: training")
    taipei = ROOT / "data" / "taipei"
    lines = (taipei / "train.brackets").read_text(encoding="utf-8").splitlines()
    files = {size: room / f"train-{size}.brackets" for size in sizes}
    for size, file in files.items():
        _write(file, islice(varied(lines), size))

    def train(size: int) -> dict[str, float]:
        out = room / f"run-{size}"
        data = [f"data.train={files[size]}", f"data.valid={taipei / 'valid.brackets'}"]
        told = _measured(
            "train",
            ROOT / "configs" / "taipei.yaml",
            "data.path=null",
            *data,
            *SETTINGS,
            "--out",
            out,
        )
        with (out / "history.csv").open(encoding="utf-8") as file:
            told["epoch_seconds"] = float(next(csv.DictReader(file))["seconds"])
        shutil.rmtree(out)
        return told

    rows = _rows(sizes, train, repeats, last=REPEATS_OF_MINUTES)
    for file in files.values():
        file.unlink()
    return {"of": "sentences", **_with_slopes(rows)}


def _prediction(sizes: Sequence[int], room: Path, repeats: int) -> dict[str, Any]:
    run = run_of("atis")
    say("growth: prediction")
    lines = test_lines("atis", 0).read_text(encoding="utf-8").splitlines()
    files = {size: room / f"tokens-{size}.txt" for size in sizes}
    for size, file in files.items():
        _write(file, _of_tokens(lines, size))
    rows = _rows(
        sizes,
        lambda size: _measured("predict", run, "--input", files[size]),
        repeats,
        last=REPEATS_OF_MINUTES,
    )
    # Two groups in work at a time hold more, so memory is also that of the command as people run
    # it.
    (free,) = _rows(
        sizes[-1:],
        lambda size: _measured("predict", run, "--input", files[size], pinned=False),
        REPEATS_OF_MINUTES,
    )
    for file in files.values():
        file.unlink()
    return {"of": "tokens", "new_words": NEW_WORDS, **_with_slopes(rows), "all_cores": free}


def _start_up(sizes: Sequence[float], room: Path, repeats: int) -> dict[str, Any]:
    say("growth: start-up")
    runs = {}
    for size in sizes:
        # Trained by nobody, so as large as it is wanted; in a process of its own, for the memory of
        # it.
        made = room / f"of-{size}"
        subprocess.run([sys.executable, __file__, str(made), str(size)], check=True)
        runs[sum(file.stat().st_size for file in made.iterdir()) / 1e6] = made
    rows = _rows(list(runs), lambda size: _measured("predict", runs[size], SENTENCE), repeats)
    for row, made in zip(rows, runs.values(), strict=True):
        row["words"] = len(json.loads((made / "vocab.json").read_text(encoding="utf-8"))["tokens"])
        shutil.rmtree(made)
    return {"of": "MB", **_with_slopes(rows)}


def varied(lines: Sequence[str]) -> Iterator[str]:
    """Yield sentences in brackets for ever: first `lines`, then the same with other cities, new
    ones ever more seldom.

    The city's rank is drawn by Zipf's law, so that its words grow with a power of the sentences
    less than one.
    """
    draw = np.random.default_rng(1)
    yield from lines
    for line in cycle(lines):
        yield CITY.sub(lambda _: _name(int(draw.zipf(1.5))).capitalize(), line)


def _of_tokens(lines: Sequence[str], tokens: int) -> Iterator[str]:
    """Yield `lines` again and again, one word in NEW_WORDS a new one, until they are so many
    `tokens`.
    """
    draw, new, left = random.Random(1), count(), tokens
    for line in cycle(lines):
        words = [
            _name(next(new)) if draw.random() * NEW_WORDS < 1 else word for word in line.split()
        ][:left]
        yield " ".join(words)
        left -= len(words)
        if not left:
            return


def _name(number: int) -> str:
    """Return a word for `number`, another for each, of syllables that look like one."""
    # A step without a common factor goes through all of them and leaves those of near numbers
    # unlike each other.
    number = number * 7_368_787 % 100**6
    name = ""
    while number or not name:
        number, syllable = divmod(number, 100)
        name += "bcdfghjklmnprstvwxyz"[syllable // 5] + "aeiou"[syllable % 5]
    return name


def make_run(path: Path, megabytes: float) -> None:
    """Write a run folder of about so many `megabytes`: a network as drawn and a vocabulary of
    invented words.
    """
    config = load_config("taipei", [*SETTINGS, f"embedding={{name: word, size: {VECTOR}}}"])[1]
    # A word's vector stands in two files, and the word with its count in a third; the rest of a
    # folder is 0.5 MB.
    words = max(1, int((megabytes - 0.5) * 1e6 / (2 * 4 * VECTOR + 20)))
    slots = [
        "O",
        *(
            f"{letter}-{name}"
            for name in ("date", "destination", "origin", "time")
            for letter in "BI"
        ),
    ]
    vocab = Vocab({_name(number): 1 for number in range(words)}, slots, "iob2")
    folder = RunFolder(path)
    folder.create(config, vocab)
    history = [EpochMetrics(1, 0.0, 0.0, 0.0, 0.0, 0.0)]
    model = build_model(config, vocab).eval()
    if fault := folder.finalize(model, vocab, history, {"splits": {}}, completed=True):
        sys.exit(f"{path}: {fault}")


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _measured(*words: str | Path, pinned: bool = True) -> dict[str, float]:
    """Return the seconds and the peak memory of a command of slotfill's, on one core or on all."""
    alone = [sys.executable, "-I", "-S", str(Path(__file__).with_name("timed_subprocess.py"))]
    core = ["taskset", "-c", str(CORE)] if pinned else []
    command = [*core, *alone, sys.executable, "-m", "slotfill", *map(str, words)]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, cwd=ROOT
    )
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return json.loads(done.stdout)


def _rows(
    sizes: Sequence[float],
    once: Callable[[Any], dict[str, float]],
    repeats: int,
    last: int | None = None,
) -> list[dict[str, Any]]:
    """Return the figures of each size, the sizes taken in turn; the greatest `last` times, if that
    is less.
    """
    many = in_turn(
        {size: lambda size=size: once(size) for size in sizes[: -1 if last else None]}, repeats
    )
    if last:
        many |= in_turn({sizes[-1]: lambda: once(sizes[-1])}, min(last, repeats))
    return [
        {"size": round(size, 1), "repeats": len(found)}
        | {what: middle([each[what] for each in found], 3) for what in found[0]}
        for size, found in many.items()
    ]


def _with_slopes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `rows` and the slopes of their figures over the upper half of the sizes, both on
    logarithms.

    1 is a straight line through nothing; a straight line that starts above it, as all of these do,
    is less.
    """
    upper = rows[-max(2, (len(rows) + 1) // 2) :]
    sizes = np.log([row["size"] for row in upper])
    slopes = {
        what: round(
            float(np.polyfit(sizes, np.log([row[what]["median"] for row in upper]), 1)[0]), 3
        )
        for what in rows[0]
        if what not in ("size", "repeats", "words")
    }
    return {"rows": rows, "slopes": slopes, "slopes_from": upper[0]["size"]}


if __name__ == "__main__":
    make_run(Path(sys.argv[1]), float(sys.argv[2]))
