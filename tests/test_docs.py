"""The pages are correct: links, commands, examples, and generated pages are up to date."""

from __future__ import annotations

import ast
import doctest
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest
import typer

import slotfill
from slotfill.cli.main import app
from slotfill.config.builtin import builtin_config_names, load_config
from slotfill.config.registry import FORMATS
from slotfill.data.corpus import read_sentences
from slotfill.data.schemes import SCHEMES, slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import TOKENIZERS, Tokenizer

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("", "docs", "data/taipei", "data/taipei_zh", "benchmarks", "configs")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\[[^\[\]]*\]\(([^()\s]+)\)")
SHELLS = {"sh", "bash", "console", "shell"}


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the info string and the text of each fenced block."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def prose(page: Path) -> str:
    """Return the page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """Yield each simple command of a page's shell blocks, as words."""
    for info, text in blocks(page):
        if info.strip() not in SHELLS:
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if info.strip() == "console" and not line.startswith("$ "):
                continue  # what the command prints
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>")
            lexer.whitespace_split = True
            yield from _simple(list(lexer))


def _simple(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    skip = False
    for word in [*words, ";"]:
        if word and set(word) <= set("|&;"):
            if command:
                yield command
            command = []
        elif word and set(word) <= set("<>"):
            skip = True
        elif skip:
            skip = False
        else:
            command.append(word)


def parse(words: list[str]) -> None:
    """Parse what follows `slotfill` as the command line would, and run nothing."""
    group = typer.main.get_command(app)
    context = group.make_context("slotfill", list(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)


SLOTFILL = [
    pytest.param(command[1:], id=f"{page_name(page)}: {shlex.join(command)}")
    for page in PAGES
    for command in commands(page)
    if Path(command[0]).name == "slotfill"
]


def test_there_are_pages_and_commands_to_test():
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/config.md"} <= set(
        map(page_name, PAGES)
    )
    assert len(SLOTFILL) > 3


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links(page):
    for target in LINK.findall(prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target}: there is no such file"
        assert ROOT in (there, *there.parents), f"{target}: outside of the repository"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("words", SLOTFILL)
def test_commands_parse(words):
    with suppress(typer.Exit):  # --version and --help end here
        parse(words)


@pytest.mark.parametrize("words", SLOTFILL)
def test_configs_and_overrides_in_commands_are_valid(words):
    if words[0] not in ("train", "show", "check"):
        return
    given = [
        word for word in words[1:] if "=" in word and not word.startswith("-") and ".py" not in word
    ]
    # Of the reader's own making: a YAML or data file, and a part's options where the part is.
    own = any(
        word.endswith((".yaml", ".yml", ".jsonl", ".conll")) or ".py" in word for word in words[1:]
    )
    names = [
        word for word in words[1:2] if not own and "=" not in word and not word.startswith("-")
    ]
    assert set(names) <= set(builtin_config_names())
    load_config(*(names or ["taipei"]), [] if own else given)


def test_wrong_command_is_detected():
    for line in (
        "slotfill train --speed 3",
        "slotfill trian",
        "slotfill predict",
        "slotfill train taipei --seed x",
    ):
        with pytest.raises(Exception, match=r"No such|Missing|valid"):
            parse(shlex.split(line)[1:])


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_scripts_in_commands_exist(page):
    for command in commands(page):
        scripts = [
            word for word in command if re.match(r"(\./)?(scripts|benchmarks|\.ci)/[\w./]+$", word)
        ]
        assert all((ROOT / script).is_file() for script in scripts), command


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_blocks_compile(page):
    for info, text in blocks(page):
        if info.strip() == "python":
            compile(text, page_name(page), "exec")


def test_config_reference_is_up_to_date_and_complete():
    script = [sys.executable, str(ROOT / "scripts" / "make_config_docs.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = re.findall(
        r"^\| `.*$", (ROOT / "docs" / "config.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert table and not [row for row in table if row.endswith("| |")], "a key without a meaning"


# docs/formats.md

EXAMPLE = Sentence.from_tokens(["fly", "to", "New", "York"], [Slot("destination", 2, 4)], "flight")


@pytest.mark.parametrize("name", FORMATS.names())
def test_formats_have_examples_that_are_read(name, tmp_path):
    if name in ("docbin", "parquet"):
        pytest.skip("binary files, of which a page shows nothing")
    texts = read_docstring_examples(name)
    assert texts, f"the docstring of {name} has no example"
    part = FORMATS.build(name)
    files = [info.split()[1:] for info in texts]
    if all(files):
        for (file,), text in zip(files, texts.values(), strict=True):
            (tmp_path / file).write_text(text, encoding="utf-8")
        path = tmp_path
    else:
        path = tmp_path / "example"
        path.write_text("\n".join([*texts.values(), ""]), encoding="utf-8")
    sentences = read_sentences(path, format=name, keep_tokens=True).sentences
    assert {issue.kind for each in sentences for issue in each.issues} <= {"extra", "not read"}
    for sentence in sentences:
        assert (sentence.text, sentence.tokens, sentence.slots) == (
            EXAMPLE.text,
            EXAMPLE.tokens,
            EXAMPLE.slots,
        )
        assert sentence.intent == ("flight" if part.holds_intents else None)
    if name in ("brackets", "conll", "jsonl"):
        written = part.render(EXAMPLE, scheme="iob2").rstrip("\n")
        assert path.read_text(encoding="utf-8").startswith(written + "\n")


def read_docstring_examples(name: str) -> dict[str, str]:
    """Return the indented examples of a format's docstring, each after its name and file."""
    docstring = ast.get_docstring(FORMATS.part(name).tree, clean=False) or ""  # Keeps tabs.
    found = re.findall(r"^(?:`([\w.]+)`:\n\n)?((?: {4}.+\n)+)", docstring, re.MULTILINE)
    return {f"{name} {file}".strip(): dedent(text) for file, text in found}


def read_rows(page: str, first: str) -> list[list[str]]:
    """Return the rows of the table of a page whose first column is headed `first`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(rf"^\| {first} \|.*\n\|[ \-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]


def test_formats_page_is_up_to_date():
    script = [sys.executable, str(ROOT / "scripts" / "make_formats_docs.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_formats_page_schemes():
    rows = {
        row[0].strip("`"): [cell.strip("`") for cell in row[1:]]
        for row in read_rows("docs/formats.md", "scheme")
    }
    slots = [Slot("city", 1, 3), Slot("city", 3, 4)]
    assert rows == {scheme: slots_to_tags(slots, 4, scheme) for scheme in SCHEMES}


def test_formats_page_tokenizers():
    rows = {
        row[0].strip("`"): re.findall(r"`([^`]+)`", row[1])
        for row in read_rows("docs/formats.md", "tokenizer")
    }
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^\| tokenizer \| \*(.+)\* \|$", page, re.MULTILINE)
    assert rows == {name: Tokenizer(name).tokenize(text).tokens for name in TOKENIZERS}


@pytest.mark.parametrize("name", ["data", "imbalance", "partial_labels"])
def test_commands_print_what_the_page_shows(name, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = 0
    for info, text in blocks(ROOT / "docs" / f"{name}.md"):
        kind, *file = info.split()
        if file:
            Path(*file).write_text(text, encoding="utf-8")
        if kind == "console":
            command, shown = text.split("\n", 1)
            result = cli(*shlex.split(command)[2:])
            printed = (result.out + result.err).replace(f"{tmp_path}/", "")
            assert printed.rstrip() == shown.rstrip()
            found += 1
        elif name == "data" and kind == "yaml":
            assert Path("orders.yaml").read_text(encoding="utf-8") == text
    assert found


def test_prediction_page_examples(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for info, text in blocks(ROOT / "docs" / "predict.md"):
        kind, *file = info.split()
        if file:
            Path(*file).write_text(text, encoding="utf-8")
        elif kind == "console":
            for each in text.removeprefix("$ ").split("\n$ "):
                command, shown = (each.rstrip() + "\n").split("\n", 1)
                printed = cli(*shlex.split(command)[1:])
                assert printed.code == 0
                assert shown in ("", printed.out)
        elif kind == "text":
            assert Path("tagged.csv").read_text(encoding="utf-8") == text
    assert Path("tagged.csv").exists()


def test_deployment_page_examples(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for info, text in blocks(ROOT / "docs" / "deploy.md"):
        kind, *file = info.split()
        if file:
            Path(*file).write_text(text, encoding="utf-8")
        elif kind == "console":
            for each in text.removeprefix("$ ").split("\n$ "):
                command, shown = (each.rstrip() + "\n").split("\n", 1)
                printed = cli(*shlex.split(command)[1:])
                assert printed.code == 0
                assert shown in ("", printed.out)
        elif kind == "python":
            exec(text, {})
    assert {"home.zip", "card.md"} < {path.name for path in tmp_path.iterdir()}


@pytest.mark.filterwarnings("ignore:train:UserWarning")
def test_python_page_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    names: dict[str, object] = {}
    found = 0
    if find_spec("spacy"):  # Where the package was installed before it had the entry point.
        import_module("slotfill.integrations.spacy")
    for info, text in blocks(ROOT / "docs" / "python.md"):
        kind, *file = info.split()
        if file:
            Path(*file).write_text(text, encoding="utf-8")
        elif kind == "pycon" and not ("import spacy" in text and find_spec("spacy") is None):
            example = parser.get_doctest(text, {}, "python.md", None, 0)
            example.globs = names  # Of all examples of the page.
            runner.run(example, clear_globs=False)
            found += 1
    assert found > 5 and runner.summarize(verbose=False).failed == 0
    own = {"train.epochs": 1, "train.log": "print_epochs.py"}
    slotfill.train("home.yaml", own, out="run", trust=True)


def test_partial_labels_page_has_the_same_sentences_in_both_formats(tmp_path):
    found = []
    for info, text in blocks(ROOT / "docs" / "partial_labels.md"):
        if info.startswith(("conll", "jsonl")):
            path = tmp_path / info.split()[1]
            path.write_text(text, encoding="utf-8")
            sentences = read_sentences(path, tokenizer=Tokenizer()).sentences
            found.append([(s.text, s.slots, _unknown_tokens(s)) for s in sentences])
    assert len(found) == 2 and found[0] == found[1] and found[0][0][2] == [3, 4, 5]


def _unknown_tokens(sentence: Sentence) -> list[int]:
    return [index for start, end in sentence.unknown for index in range(start, end)]


# CONTRIBUTING.md and docs/parts.md


def test_parts_page_lists_every_kind():
    from slotfill.config.registry import REGISTRIES

    assert {row[0] for row in read_rows("docs/parts.md", "kind")} == set(REGISTRIES)
