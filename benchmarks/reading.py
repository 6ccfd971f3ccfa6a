"""Measure the time and memory of reading JSON lines, and of predicting a Parquet table.

    python benchmarks/reading.py              a million rows, and a tenth of them
    python benchmarks/reading.py --rows 10000 --no-table

The labelled training sentences of ATIS, repeated, with text, slots and an intent; an `atis-small`
of one epoch predicts their texts, in one process on one core. Writes the CPU seconds and the peak
memory of each process into docs/data.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from fixtures import ROOT
from imbalance import write_table
from measured import record

from slotfill.config.registry import FORMATS
from slotfill.data.arrow import write_columns
from slotfill.data.corpus import read_sentences

CORPUS = ROOT.parent / "shared" / "data" / "atis" / "train"
PAGE = ROOT / "docs" / "data.md"
READ = "import sys; from slotfill.data.corpus import read_sentences as r; r(sys.argv[1])"


def measure(code: str, *words: str | Path) -> str:
    """Run Python code in a process; return its CPU seconds and its peak memory as two cells."""
    # Children share the peak of their parent, so each has a parent of its own that is small.
    count = (
        "import resource as r, subprocess as s, sys;"
        "s.run([sys.executable, '-c', *sys.argv[1:]], check=True, stdout=s.DEVNULL);"
        "u = r.getrusage(r.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime, u.ru_maxrss)"
    )
    command = [sys.executable, "-c", count, code, *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, kibibytes = map(float, done.stdout.split())
    return f"{seconds:.1f} | {kibibytes / 2**20:.2f}"


def main() -> None:
    """Measure both, and write the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--no-table", action="store_true", help="print the table only")
    arguments = parser.parse_args()
    sentences = read_sentences(CORPUS).sentences
    lines = [FORMATS.build("jsonl").render(sentence, scheme="iob2") for sentence in sentences]
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        slotfill = "from slotfill.cli.main import main; main()"
        words = ("train", "atis-small", "train.epochs=1", "--out", folder / "run")
        measure(slotfill, *words)
        for count in (arguments.rows // 10, arguments.rows):
            path, table = folder / f"{count}.jsonl", folder / f"{count}.parquet"
            with path.open("w", encoding="utf-8") as file:
                file.writelines(islice(cycle(lines), count))
            texts = [sentence.text for sentence in islice(cycle(sentences), count)]
            write_columns(table, {"text": ("string", texts)})
            words = ("predict", folder / "run", "--input", table, "--text-column", "text")
            predicted = measure(slotfill, *words, "--out", folder / f"{count}-out.parquet")
            rows.append(f"| {count:,} | {measure(READ, path)} | {predicted} |")
    print_table(rows, write=not arguments.no_table)


def print_table(rows: Sequence[str], *, write: bool) -> None:
    """Print the table, and write it into the page."""
    head = "| rows | JSON lines read: s | GiB | Parquet rows predicted: s | GiB |\n"
    head += "| ---: | ---: | ---: | ---: | ---: |\n"
    text = f"{head}{chr(10).join(rows)}\n\nCPU seconds and peak memory on {date.today()}."
    print(text)
    if write:
        write_table(PAGE, "reading: benchmarks/reading.py", text)
        record(
            "docs/data.md", "python benchmarks/reading.py", "slotfill/data", "slotfill/inference"
        )


if __name__ == "__main__":
    main()
