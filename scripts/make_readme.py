"""Write the generated parts of README.md: the table of peers, an example, the picture.

python scripts/make_readme.py            write the table from benchmarks/speed.json
python scripts/make_readme.py --example  train on the sentences of the README, and write what is
                                         predicted
python scripts/make_readme.py --run RUN  draw docs/terminal.svg too, from commands on a run
python scripts/make_readme.py --check    exit 1 if the table is not up to date
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "terminal.svg"
COLUMNS = 96
COMMANDS = (
    ["predict", "leave Taipei on November 2nd", "arrive Taipei on November 2nd"],
    ["predict", "Taipei on November 2nd", "--nbest", "2"],
    ["evaluate", "--report", "report.html"],
)
"""What the picture shows; `predict` and the others take the run folder as their first argument."""

THEME = TerminalTheme(
    background=(22, 25, 31),
    foreground=(230, 233, 238),
    normal=[
        (72, 79, 88),
        (255, 123, 114),
        (126, 231, 135),
        (242, 204, 96),
        (121, 192, 255),
        (210, 168, 255),
        (118, 227, 234),
        (201, 209, 217),
    ],
)
"""Colors that are readable when they are dim."""

TABLE = re.compile(r"(<!-- peers: [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
FILE = re.compile(r"^ *```\w+ (coffee\.\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PREDICTION = re.compile(
    r"(slotfill predict runs/coffee \"([^\"]*)\"\n.*?```json\n *)[^\n]*", re.DOTALL
)
SYSTEMS = {
    "small, 8 bits": "slotfill `atis-small`, 8 bits",
    "best": "slotfill `atis`",
    "CRFsuite": "CRFsuite",
    "spaCy": "spaCy",
}


def peers_table() -> str:
    """Return the comparison with peers on ATIS as Markdown."""
    speed = json.loads((ROOT / "benchmarks" / "speed.json").read_text(encoding="utf-8"))
    environment = speed["environment"]
    rows = [
        "| ATIS test set | F1 | tokens per second | one sentence | memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for key, name in SYSTEMS.items():
        system = speed["prediction"]["atis"][key]
        rows.append(
            f"| {name} | {system['f1']:.2f} | {system['tokens_per_second']['median']:,.0f} "
            f"| {system['milliseconds']['median']:.2f} ms | {system['peak_mb']:.0f} MB |"
        )
    note = (
        f"One core of {environment['processors']}, medians, {speed['dates']['prediction']}; seed"
        " 1. How this was measured, and other corpora: [docs/speed.md](docs/speed.md)."
    )
    return "\n".join([*rows, "", note, ""])


def predict_example(readme: str) -> str:
    """Return what a run predicts that is trained on the sentences of the README."""
    match = PREDICTION.search(readme)
    assert match is not None
    with TemporaryDirectory() as folder:
        for name, content in FILE.findall(readme):
            Path(folder, name).write_text(dedent(content), encoding="utf-8")
        for words in (["train", "coffee.yaml"], ["predict", "runs/coffee", match[2]]):
            command = [sys.executable, "-m", "slotfill", *words]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                command, cwd=folder, env=environment, check=True, capture_output=True, text=True
            )
    return done.stdout.rstrip("\n")


def terminal_output(command: list[str], folder: str) -> str:
    """Return what a command prints on a terminal, with its ANSI escape sequences.

    It runs in `folder`, where it may write files.
    """
    parent, child = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=child, stderr=child, env=environment, cwd=folder)
    os.close(child)
    chunks = []
    while True:
        try:
            chunks.append(os.read(parent, 65536))
        except OSError:  # Linux reports the end of a closed terminal as an error.
            break
        if not chunks[-1]:
            break
    if process.wait():
        sys.exit(f"{' '.join(command)} failed:\n{b''.join(chunks).decode()}")
    return b"".join(chunks).decode().replace("\r\n", "\n")


def draw_terminal(run: Path) -> None:
    """Run the commands on `run` and write what they print as an SVG picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for name, *arguments in COMMANDS:
        quoted = [f'"{word}"' if " " in word else word for word in arguments]
        console.print(Text(f"$ {' '.join(['slotfill', name, 'runs/taipei', *quoted])}", "bold"))
        command = [sys.executable, "-m", "slotfill", name, str(run.resolve()), *arguments]
        with TemporaryDirectory() as folder:
            console.print(Text.from_ansi(terminal_output(command, folder)))
    svg = console.export_svg(title="slotfill", theme=THEME, unique_id="terminal")
    # rich refers to fonts on the network; the fallback is the reader's own monospace font.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    PICTURE.write_text(svg.replace("Fira Code", "monospace"), encoding="utf-8")


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, help="a run of the built-in config taipei")
    parser.add_argument("--example", action="store_true", help="train, and write the prediction")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    updated = TABLE.sub(lambda match: match[1] + peers_table() + match[2], text)
    if arguments.check:
        sys.exit(0 if updated == text else "README.md: run python scripts/make_readme.py")
    if arguments.example:
        prediction = predict_example(updated)
        updated = PREDICTION.sub(lambda match: match[1] + prediction, updated)
    README.write_text(updated, encoding="utf-8")
    if arguments.run:
        draw_terminal(arguments.run)


if __name__ == "__main__":
    main()
