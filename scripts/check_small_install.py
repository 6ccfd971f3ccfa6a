"""Run every command on a run, in an environment with the small install, without torch.

    python scripts/check_small_install.py RUN

What predicts, scores, converts and checks works; what needs an extra says so in one line, with exit
code 2. `.ci/run` calls this in an environment of its own, and the tests with torch hidden.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from slotfill.cli.main import app, main
from slotfill.extras import EXTRAS
from slotfill.inference.onnx_engine import ONNX
from slotfill.runs.manifest import FILES, MANIFEST, RunFiles, render_manifest

WORKS = {
    "pack run": "run.zip: ",
    "predict run hello": '"text": "hello"',
    "predict run hello --nbest 2 --threshold 0.5": '"readings"',
    "predict run --input few.brackets --format conll": "latte",
    "predict run --input few.csv --text-column text --out out.csv": "out.csv: 2 rows",
    "predict run.zip hello": '"text": "hello"',
    "evaluate run": "F1",
    "evaluate run.zip --data few.brackets --report page.html --errors errors.jsonl": "errors.jsonl",
    "threshold run --precision 0 --dry-run": "found, not stored",
    "values run taipei rules=[]": "has the rules",
    "diff run run.zip --data few.brackets": "0 different",
    "pack run --wheel": "run-1.0.0-py3-none-any.whl",
    "card run": "model-index",
    "list": "taipei",
    "list cells": "lstm",
    "show taipei encoder.cell=gru": "name: gru",
    "schema": '"$schema"',
    "check data.path=many.brackets": "not verified: building the network needs torch",
    "convert few.brackets few.conll": "3 sentences",
    "data many.brackets --html data.html": "data.html: ",
    "split many.brackets --out parts": "parts: train",
    "init many.brackets": "many.yaml",
}
"""By command that works without torch, in order: a part of what it prints."""

REFUSES = {
    "generate run --sentences 1": "run is a tagger, not a generator",
    "label many.brackets": "labelling needs a terminal",
}
"""By command that is refused without torch as with it: a part of what it says."""

NEEDS_TRAIN = {
    "train": "train needs torch",
    "train data.path=many.brackets": "train needs torch",
    "distil run": "distil needs torch",
    "predict run hello --engine torch": "engine torch needs torch",
    "predict run hello --device cuda": "device cuda needs torch",
    "predict bare hello": "bare is not exported, so prediction needs torch",
    "predict bare --input few.brackets --jobs 2": "bare is not exported, so prediction needs torch",
    "evaluate run --engine torch": "engine torch needs torch",
    "threshold run --precision 0 --engine torch": "engine torch needs torch",
    "diff run run --device cuda": "device cuda needs torch",
    "export run": "export needs torch",
    "export run --quantize int8": "export needs torch",
    "inspect run hello": "inspect needs torch",
    "inspect run hello --html gates.html": "inspect needs torch",
    "compare taipei": "compare needs torch",
    "compare taipei --folds 2 --percentages 50,100": "compare needs torch",
    "probe": "probe needs torch",
    "data many.brackets --suspects": "data --suspects needs torch",
}
"""By command that needs the extra `train`: what it says."""

NEEDS_OTHER = {
    "push run me/run": ("push needs huggingface-hub", "hub"),
    "predict hf://me/run hello": ("hf://me/run needs huggingface-hub", "hub"),
    "serve run": ("serve needs fastapi", "serve"),
    "tune": ("tune needs optuna", "tune"),
    "probe --figure a.svg": ("--figure needs matplotlib", "plots"),
    "compare taipei --percentages 50 --figure a.svg": ("--figure needs matplotlib", "plots"),
    "convert few.brackets few.parquet": ("parquet needs pyarrow", "parquet"),
    "data few.spacy": ("few.spacy: .spacy needs spacy", "spacy"),
    "values run taipei resolve.slots.day=date": ("resolve needs dateparser", "values"),
}
"""By command that needs another extra: what it says; the extra."""


SENTENCES = "a [large](size) [latte](drink)\n[two](count) [teas](drink) please\nno milk\n"


def prepare(run: Path) -> None:
    """Copy the run into the current folder, also without its exported network, and write data."""
    shutil.copytree(run, "run")
    files = RunFiles(run)
    kept = {name: files[name] for name in FILES if name not in ONNX and files.has(name)}
    Path("bare").mkdir()
    for name, content in {**kept, MANIFEST: render_manifest(kept, completed=True)}.items():
        Path("bare", name).write_bytes(content)
    Path("few.spacy").write_bytes(b"DocBin")
    Path("few.brackets").write_text(SENTENCES, encoding="utf-8")
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    many = [f"{word} {sentence}\n" for word in words for sentence in SENTENCES.splitlines()]
    Path("many.brackets").write_text("".join(many), encoding="utf-8")
    with Path("few.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], ["a large latte"], ["two teas"]])


def call(command: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed."""
    sys.argv = ["slotfill", *command.split()]
    with redirect_stdout(StringIO()) as output, redirect_stderr(output):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), output.getvalue()
    return 0, output.getvalue()


def check(run: Path) -> list[str]:
    """Return what is wrong with the commands on `run`, in the current folder, an empty one."""
    prepare(run)
    problems = []
    for command, part in {**WORKS, **REFUSES}.items():
        code, output = call(command)
        if code != (2 if command in REFUSES else 0) or part not in output:
            problems.append(f"{command}: exit code {code}, without {part!r}: {output}")
    failing = {command: (problem, "train") for command, problem in NEEDS_TRAIN.items()}
    for command, (problem, extra) in {**failing, **NEEDS_OTHER}.items():
        expected = f"slotfill: {problem}; install it with: pip install 'slotfill[{extra}]'\n"
        if (result := call(command)) != (2, expected):
            problems.append(f"{command}: exit code and output {result}, not {(2, expected)}")
    commands = {command.split()[0] for command in (*WORKS, *REFUSES, *failing, *NEEDS_OTHER)}
    untested = typer.main.get_command(app).commands.keys() - commands  # type: ignore[attr-defined]
    return problems + [f"{command}: not in this script" for command in sorted(untested)]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/check_small_install.py RUN")
    run = Path(sys.argv[1]).absolute()
    sys.modules.update(dict.fromkeys(EXTRAS))  # What is None cannot be imported.
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        problems = check(run)
        os.chdir(run.parent)
    count = len(WORKS) + len(REFUSES) + len(NEEDS_TRAIN) + len(NEEDS_OTHER)
    sys.exit("\n".join(problems) or print(f"{count} commands do as they should without torch"))
