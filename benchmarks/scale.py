"""Measure what a million rows of a table cost `slotfill predict`, and of it reading and writing.

    python benchmarks/scale.py [RUN]        the config atis-small, trained first, by default

Rows are an id and a test sentence of ATIS, with one new word in 20. Times are processor seconds of
the whole command, by which core-hours are counted and which a busy machine changes little; the
start is left out by the difference of two sizes. Reading and writing alone is the same without a
run: each row gets the same prediction. Writes benchmarks/scale.json, and the table of
docs/scale.md. Takes some minutes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import Any

from fixtures import ROOM, ROOT, get_run, log, summarize, test_lines
from growth import repeat_lines
from measured import record

from slotfill.data.tables import open_table
from slotfill.runs.environment import environment
from slotfill.runs.predict import Predictor
from slotfill.runs.tables import predict_values, prediction_columns

TARGET = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "scale.md"
TABLE = re.compile(r"(<!-- costs: [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
FORMATS = {"parquet": "Parquet", "jsonl": "JSON lines", "csv": "CSV"}
ROWS = (2_000, 22_000)
REPEATS = 3
OPTIONS = {"no confidence": ("--no-confidence",), "all": ()}
"""The options of the commands; of the last one the size of the output is reported."""
SPEED = json.loads(TARGET.with_stem("speed").read_text(encoding="utf-8"))["prediction"]["atis"]
MILLION = 1_000_000


def write_table(path: Path, texts: list[str]) -> None:
    """Write a table of ids and texts."""
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.table({"id": range(len(texts)), "text": texts})
        parquet.write_table(table, path)
    elif path.suffix == ".jsonl":
        rows = (json.dumps({"id": row, "text": text}) for row, text in enumerate(texts))
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    else:
        rows = (f"{row},{text}" for row, text in enumerate(texts))
        path.write_text("".join(f"{row}\n" for row in ("id,text", *rows)), encoding="utf-8")


def predict(run: Path, source: Path, target: Path, *options: str) -> float:
    """Return the processor seconds of a command."""
    target.unlink(missing_ok=True)
    words = ["predict", str(run), "--input", str(source), "--text-column", "text", "--out"]
    command = [sys.executable, "-m", "slotfill", *words, str(target)]
    before = getrusage(RUSAGE_CHILDREN)
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, env=environ)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def copy(predictor: Predictor, source: Path, target: Path) -> float:
    """Return the processor seconds to read a table, and write it with one prediction for all."""
    columns = prediction_columns(predictor)
    line, *_ = predictor.render_stream(["show flights from boston to denver on monday"], "jsonl")
    began = time.process_time()
    table = open_table(source, "text", columns)
    table.write(
        target,
        (
            (rows, [*predict_values(texts, columns, lambda texts: (line for _ in texts))])
            for texts, rows in table.read()
        ),
    )
    return time.process_time() - began


def measure(run: Path) -> dict[str, Any]:
    """Return the costs of a million rows in each format."""
    lines = test_lines("atis", 0).read_text(encoding="utf-8").splitlines()
    predictor = Predictor.load(run)
    tokens = sum(len(line.split()) for line in lines) / len(lines)
    result: dict[str, Any] = {"tokens_per_sentence": round(tokens, 1), "formats": {}}
    with TemporaryDirectory(dir=ROOM) as room:
        for suffix in FORMATS:
            log(f"scale: {suffix}")
            figures: dict[str, list[float]] = {name: [] for name in ("files", *OPTIONS)}
            sources = {rows: Path(room, f"{rows}.{suffix}") for rows in ROWS}
            for rows, source in sources.items():
                write_table(source, list(islice(repeat_lines(lines), rows)))
            target, copied = Path(room, f"tagged.{suffix}"), Path(room, f"copied.{suffix}")
            for _ in range(REPEATS):
                for name, found in figures.items():
                    few, many = (
                        copy(predictor, source, copied)
                        if name == "files"
                        else predict(run, source, target, *OPTIONS[name])
                        for source in sources.values()
                    )
                    found.append((many - few) * MILLION / (ROWS[1] - ROWS[0]))
            sizes = [path.stat().st_size / ROWS[1] for path in (sources[ROWS[1]], target)]
            result["formats"][suffix] = {
                **{name: summarize(found, 1) for name, found in figures.items()},
                "megabytes": [round(size * MILLION / 1e6) for size in sizes],
            }
    return result


def describe(figures: dict[str, Any]) -> str:
    """Return the table and the arithmetic of docs/scale.md."""
    rows = [
        "| a million rows | seconds | without confidences | files alone | MB read | written |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for suffix, found in figures["formats"].items():
        times = [
            f"{found[name]['median']:.0f} ({found[name]['least']:.0f} to {found[name]['most']:.0f})"
            for name in ("all", "no confidence", "files")
        ]
        rows.append(f"| {' | '.join([FORMATS[suffix], *times, *map(str, found['megabytes'])])} |")
    best = figures["formats"]["parquet"]
    hours, bare, files = (
        best[name]["median"] * 1000 / 3600 for name in ("all", "no confidence", "files")
    )
    about, tokens = figures["environment"], figures["tokens_per_sentence"]

    def idle(speed: dict[str, Any]) -> str:
        return f"{1e9 * tokens / speed['tokens_per_second']['median'] / 3600:.0f}"

    measured = (
        f"Processor seconds, measured on {figures['date']} on a machine with other work:"
        f" {about['platform']}, config `{figures['config']}`, sentences of {tokens} tokens."
    )
    arithmetic = (
        f"So a billion rows of Parquet are **{hours:.0f} core-hours**, or {bare:.0f} with"
        f" `--no-confidence`; {files:.1f} of them are reading and writing. With 64 cores that is"
        f" {60 * hours / 64:.0f} minutes, or {60 * bare / 64:.0f}. On an idle core prediction alone"
        f" takes {idle(SPEED['small']['with confidence'])} hours, {idle(SPEED['small'])} without"
        f" confidences, and {idle(SPEED['small, 8 bits'])} if the run is also exported by `slotfill"
        " export --quantize int8 --rank 64` ([speed.md](speed.md#prediction))."
    )
    paragraphs = (fill(text, 125, break_on_hyphens=False) for text in (measured, arithmetic))
    return "\n\n".join(["\n".join(rows), *paragraphs]) + "\n"


def main(run: Path) -> None:
    """Measure, and write the figures and the page."""
    ROOM.mkdir(parents=True, exist_ok=True)
    config = re.sub(r"-seed\d+$", "", run.name)
    figures = {"config": config, "date": datetime.now(timezone.utc).date().isoformat()}
    figures |= measure(run) | {"environment": environment() | {"command": None}}
    TARGET.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    text = TABLE.sub(lambda found: found[1] + describe(figures) + found[2], PAGE.read_text("utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    depends = ("slotfill/data", "slotfill/inference", "slotfill/runs")
    record("benchmarks/scale.json", "python benchmarks/scale.py", *depends)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else get_run("atis-small"))
