"""Growth of time and peak memory with the number of sentences, tokens, or the size of the run.

Each size is a separate command on one core. The sentences of a corpus are repeated and varied so
that new words keep occurring, as in real text: ever more rarely in training, at a constant rate in
prediction.
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
from fixtures import CORE, ROOM, ROOT, get_run, interleave, log, summarize, test_lines

from slotfill.config.builtin import load_config
from slotfill.data.vocab import Vocab
from slotfill.inference.calibration import UNCALIBRATED
from slotfill.model.build import build_model
from slotfill.runs.folder import RunFolder

SENTENCES = (1_000, 10_000, 100_000, 1_000_000)
TOKENS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
MEGABYTES = (1, 10, 100, 500)

REPEATS = 3
REPEATS_OF_MINUTES = 1
"""Repeats of the largest numbers of sentences and of tokens, which take minutes each."""

NEW_WORDS = 20
"""One token in so many is a new word in the stream that is predicted."""

SETTINGS = (
    "embedding={name: word, size: 50}",
    "encoder={name: recurrent, hidden_size: 32}",
    *("train.batch_size=128", "train.epochs=1"),
)
"""A network so small that a million sentences take minutes."""

VECTOR = 100
"""Size of word vectors in the generated run folders."""

SENTENCE = "leave Taipei on November 2nd"
CITY = re.compile(r"(?<=\[)[^\]]+(?=\]\((?:origin|destination|stopover)\))")


def measure(only: str = "", repeats: int = REPEATS) -> dict[str, Any]:
    """Return the figures of each size, and their slopes, for all measurements or the `only` one."""
    ROOM.mkdir(parents=True, exist_ok=True)
    measures = {
        "training": lambda room: _measure_training(SENTENCES, room, repeats),
        "prediction": lambda room: _measure_prediction(TOKENS, room, repeats),
        "start-up": lambda room: _measure_start_up(MEGABYTES, room, repeats),
    }
    with TemporaryDirectory(prefix="growth-", dir=ROOM) as room:
        return {name: run(Path(room)) for name, run in measures.items() if only in ("", name)}


def _measure_training(sizes: Sequence[int], room: Path, repeats: int) -> dict[str, Any]:
    log("growth: training")
    taipei = ROOT / "data" / "taipei"
    lines = (taipei / "train.brackets").read_text(encoding="utf-8").splitlines()
    files = {size: room / f"train-{size}.brackets" for size in sizes}
    for size, file in files.items():
        _write(file, islice(vary_cities(lines), size))

    def train(size: int) -> dict[str, float]:
        out = room / f"run-{size}"
        data = [f"data.train={files[size]}", f"data.valid={taipei / 'valid.brackets'}"]
        result = _measure_command(
            "train",
            ROOT / "configs" / "taipei.yaml",
            "data.path=null",
            *data,
            *SETTINGS,
            "--out",
            out,
        )
        with (out / "history.csv").open(encoding="utf-8") as file:
            result["epoch_seconds"] = float(next(csv.DictReader(file))["seconds"])
        shutil.rmtree(out)
        return result

    rows = _measure_sizes(sizes, train, repeats, last=REPEATS_OF_MINUTES)
    for file in files.values():
        file.unlink()
    return {"of": "sentences", **_fit_slopes(rows)}


def _measure_prediction(sizes: Sequence[int], room: Path, repeats: int) -> dict[str, Any]:
    run = get_run("atis")
    log("growth: prediction")
    lines = test_lines("atis", 0).read_text(encoding="utf-8").splitlines()
    files = {size: room / f"tokens-{size}.txt" for size in sizes}
    for size, file in files.items():
        _write(file, _repeat_lines(lines, size))
    rows = _measure_sizes(
        sizes,
        lambda size: _measure_command("predict", run, "--input", files[size]),
        repeats,
        last=REPEATS_OF_MINUTES,
    )
    # Two groups in progress need more memory, so the command is also measured on all cores.
    (free,) = _measure_sizes(
        sizes[-1:],
        lambda size: _measure_command("predict", run, "--input", files[size], pinned=False),
        REPEATS_OF_MINUTES,
    )
    for file in files.values():
        file.unlink()
    return {"of": "tokens", "new_words": NEW_WORDS, **_fit_slopes(rows), "all_cores": free}


def _measure_start_up(sizes: Sequence[float], room: Path, repeats: int) -> dict[str, Any]:
    log("growth: start-up")
    runs = {}
    for size in sizes:
        # Untrained, to have any size; generated in a separate process because of its memory.
        made = room / f"of-{size}"
        subprocess.run([sys.executable, __file__, str(made), str(size)], check=True)
        runs[sum(file.stat().st_size for file in made.iterdir()) / 1e6] = made
    rows = _measure_sizes(
        list(runs), lambda size: _measure_command("predict", runs[size], SENTENCE), repeats
    )
    for row, made in zip(rows, runs.values(), strict=True):
        row["words"] = len(json.loads((made / "vocab.json").read_text(encoding="utf-8"))["tokens"])
        shutil.rmtree(made)
    return {"of": "MB", **_fit_slopes(rows)}


def vary_cities(lines: Sequence[str]) -> Iterator[str]:
    """Yield endless sentences in brackets: first `lines`, then the same with other cities.

    The rank of a city is drawn from Zipf's law, so that the number of distinct words grows with a
    power of the number of sentences that is less than one.
    """
    draw = np.random.default_rng(1)
    yield from lines
    for line in cycle(lines):
        yield CITY.sub(lambda _: _name(int(draw.zipf(1.5))).capitalize(), line)


def _repeat_lines(lines: Sequence[str], tokens: int) -> Iterator[str]:
    """Yield repeated `lines` of so many `tokens` in all, with new words."""
    for line in repeat_lines(lines):
        words = line.split()[:tokens]
        yield " ".join(words)
        tokens -= len(words)
        if not tokens:
            return


def repeat_lines(lines: Sequence[str]) -> Iterator[str]:
    """Yield endless repeated `lines`, with one new word in NEW_WORDS."""
    draw, new = random.Random(1), count()
    for line in cycle(lines):
        words = line.split()
        yield " ".join(
            _name(next(new)) if draw.random() * NEW_WORDS < 1 else word for word in words
        )


def _name(number: int) -> str:
    """Return a pronounceable word that is unique to `number`."""
    # A factor coprime to the modulus is a permutation; it makes words of close numbers dissimilar.
    number = number * 7_368_787 % 100**6
    name = ""
    while number or not name:
        number, syllable = divmod(number, 100)
        name += "bcdfghjklmnprstvwxyz"[syllable // 5] + "aeiou"[syllable % 5]
    return name


def make_run(path: Path, megabytes: float) -> None:
    """Write an untrained run folder of about so many `megabytes`, with invented words."""
    config = load_config("taipei", [*SETTINGS, f"embedding={{name: word, size: {VECTOR}}}"])[1]
    # A word's vector is in two files, and its count in a third; the rest of a folder is 0.5 MB.
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
    model = build_model(config, vocab).eval()
    if error := folder.finalize(model, vocab, {"splits": {}}, UNCALIBRATED, completed=True):
        sys.exit(f"{path}: {error}")


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _measure_command(*words: str | Path, pinned: bool = True) -> dict[str, float]:
    """Return the seconds and the peak memory of a slotfill command, on one core or on all."""
    alone = [sys.executable, "-I", "-S", str(Path(__file__).with_name("timed_subprocess.py"))]
    core = ["taskset", "-c", str(CORE)] if pinned else []
    command = [*core, *alone, sys.executable, "-m", "slotfill", *map(str, words)]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, cwd=ROOT
    )
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return json.loads(done.stdout)


def _measure_sizes(
    sizes: Sequence[float],
    once: Callable[[Any], dict[str, float]],
    repeats: int,
    last: int | None = None,
) -> list[dict[str, Any]]:
    """Return the figures of each size with interleaved repeats, at most `last` of the largest."""
    many = interleave(
        {size: lambda size=size: once(size) for size in sizes[: -1 if last else None]}, repeats
    )
    if last:
        many |= interleave({sizes[-1]: lambda: once(sizes[-1])}, min(last, repeats))
    return [
        {"size": round(size, 1), "repeats": len(found)}
        | {figure: summarize([each[figure] for each in found], 3) for figure in found[0]}
        for size, found in many.items()
    ]


def _fit_slopes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `rows` and the slopes of their figures over the upper half of the sizes, in log-log.

    The slope of a line through the origin is 1, that of a line with a positive intercept less.
    """
    upper = rows[-max(2, (len(rows) + 1) // 2) :]
    sizes = np.log([row["size"] for row in upper])
    slopes = {
        figure: round(
            float(np.polyfit(sizes, np.log([row[figure]["median"] for row in upper]), 1)[0]), 3
        )
        for figure in rows[0]
        if figure not in ("size", "repeats", "words")
    }
    return {"rows": rows, "slopes": slopes, "slopes_from": upper[0]["size"]}


if __name__ == "__main__":
    make_run(Path(sys.argv[1]), float(sys.argv[2]))
