"""Write the outputs of examples that train on ATIS, which are too slow for the tests.

    python scripts/make_examples.py                 all pages; half an hour
    python scripts/make_examples.py compare.md      only this page

They are the blocks of `console` below a comment `not run: trains on ATIS ...`. A command is run
where the page says that it is: in a clone, with the corpus beside it. A line `...` stands for
output that the page does not show; what follows it is found by its first line, whatever the digits.
The line below a block has date and machine.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from measured import BILSTM_CRF, record

from slotfill.runs.environment import environment

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("compare.md", "label_errors.md", "tuning.md")
FILE = re.compile(r"^```yaml (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(
    r"(<!-- not run: trains on ATIS[^\n]* -->\n```console\n\$ )([^\n]*)\n(.*?)^```\n"
    r"(\n\*Written on [^\n]*\*\n)?",
    re.MULTILINE | re.DOTALL,
)


def fill_page(page: Path) -> str:
    """Return the text of a page with the outputs of its examples."""
    text = page.read_text(encoding="utf-8")
    with TemporaryDirectory(dir=ROOT.parent) as folder:  # Where ../shared is the corpora.
        clone = Path(folder)
        for name, content in FILE.findall(text):
            (clone / name).write_text(content, encoding="utf-8")

        def run(match: re.Match[str]) -> str:
            before, command, shown, _ = match.groups()
            print(command, flush=True)
            lines = select_lines(run_command(command, clone), shown.splitlines())
            output = "\n".join([before + command, *lines])
            return f"{output}\n```\n\n*{describe_machine()}*\n"

        return EXAMPLE.sub(run, text)


def run_command(command: str, folder: Path) -> list[str]:
    """Return the lines that a command prints, as wide as the terminal of the pages."""
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}")
    return [line.rstrip() for line in done.stdout.splitlines()]


def select_lines(printed: list[str], shown: list[str]) -> list[str]:
    """Return the printed lines that the page shows; `...` stands for some that it does not."""
    if "..." not in shown:
        return printed
    selected: list[str] = []
    position = 0
    for number, line in enumerate(shown):
        if line == "...":
            selected.append(line)
            continue
        if number and shown[number - 1] == "...":
            shape = hide_digits(line)
            later = range(position, len(printed))
            found = [each for each in later if hide_digits(printed[each]) == shape]
            if not found:
                raise SystemExit(f"no line like {line!r} is printed after line {position}")
            position = found[0]
        selected.append(printed[position])
        position += 1
    return selected


def hide_digits(line: str) -> str:
    """Return a line with one sign for each number."""
    return re.sub(r"[\d.,]*\d", "#", line)


def describe_machine() -> str:
    """Return date and machine."""
    results = environment()
    return (
        f"Written on {results['finished'][:10]} by scripts/make_examples.py;"
        f" {results['processors']} processors, {results['platform']}."
    )


def main() -> None:
    """Run the examples of the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(PAGES))
    for name in parser.parse_args().pages or PAGES:
        page = ROOT / "docs" / name
        page.write_text(fill_page(page), encoding="utf-8", newline="\n")
        # The page may have figures of another script, with a line of their own.
        record(f"docs/{name}#examples", f"python scripts/make_examples.py {name}", *BILSTM_CRF)


if __name__ == "__main__":
    main()
