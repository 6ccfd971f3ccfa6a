"""Measure the time and memory of reading a million JSON lines.

    python benchmarks/reading.py [SENTENCES]

The labelled training sentences of ATIS, repeated, with text, slots and an intent. Prints the CPU
seconds and the peak memory of a process that reads them.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from slotfill.config.registry import FORMATS
from slotfill.data.corpus import read_sentences

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "atis" / "train"
SENTENCES = 1_000_000


def measure(sentences: int) -> str:
    """Return a line with the figures."""
    part = FORMATS.build("jsonl")
    lines = [part.render(each, scheme="iob2") for each in read_sentences(CORPUS).sentences]
    with TemporaryDirectory() as folder:
        path = Path(folder, "train.jsonl")
        with path.open("w", encoding="utf-8") as file:
            file.writelines(islice(cycle(lines), sentences))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = "import sys; from slotfill.data.corpus import read_sentences as r; r(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{sentences:,} lines: {seconds:.1f} s CPU, peak {after.ru_maxrss / 2**20:.2f} GiB"


if __name__ == "__main__":
    print(measure(int(sys.argv[1]) if sys.argv[1:] else SENTENCES))
