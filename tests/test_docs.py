"""The pages are correct: links, commands, examples, and generated pages are up to date."""

from __future__ import annotations

import ast
import doctest
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest
import typer
from conftest import Result

import slotfill
from slotfill.cli.main import app
from slotfill.config.builtin import builtin_config_names, load_config
from slotfill.config.registry import FORMATS
from slotfill.data.corpus import read_sentences
from slotfill.data.schemes import SCHEMES, slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import TOKENIZERS, Tokenizer

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("", "docs", "data/taipei", "data/taipei_hard", "data/taipei_zh", "benchmarks", "configs")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(
    r"^(?:<!-- ([^\n]*) -->\n+)? *```(\w+) ?(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)
PROBABILITY = re.compile(r"\b[01]\.\d{4}\b")
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


def read_examples(page: Path) -> list[tuple[str, str, str, str]]:
    """Return the comment above each fenced block, its language, its file name and its text."""
    return [(*found, dedent(text)) for *found, text in BLOCK.findall(page.read_text("utf-8"))]


RUN = [
    page
    for page in PAGES
    if {language for _, language, _, _ in read_examples(page)} & {"console", "pycon", "python"}
    and page.name != "lecture.zh-TW.md"  # That of lecture.md.
]


@pytest.mark.filterwarnings("ignore:train:UserWarning")  # What may be wrong with few sentences.
@pytest.mark.parametrize("page", RUN, ids=page_name)
def test_examples_print_what_the_page_shows(page, cli, trained, tmp_path, monkeypatch, capsys):
    """Blocks of `console`, `pycon` and `python` are run, except below a comment `not run: REASON`.

    One below `needs PACKAGE` is run where there is the package. A block with a file name is the
    file, which is written unless a command has written it.
    """
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs", "taipei").symlink_to(trained)
    names: dict[str, object] = {}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    printed = ""
    for comment, language, file, text in read_examples(page):
        kind, _, detail = comment.partition(" ")
        if kind == "not" or (kind == "needs" and find_spec(detail) is None):
            continue
        if file and not Path(file).exists():
            Path(file).write_text(text, encoding="utf-8")
        elif file:
            assert Path(file).read_text(encoding="utf-8") == text
        elif kind == "output" and printed:
            assert_same_output(printed, text)
            printed = ""
        elif language == "python":
            capsys.readouterr()
            exec(text, names)
            printed = capsys.readouterr().out
        elif language == "pycon":
            session = parser.get_doctest(text, {}, page.name, None, None)
            session.globs = names  # Of all blocks of the page.
            assert runner.run(session, clear_globs=False).failed == 0
        elif language == "console":
            run_console(text, cli, f"{tmp_path}/")


def run_console(text: str, cli: Callable[..., Result], folder: str) -> None:
    """Run each command of a block, and compare what it prints where the page shows that."""
    for example in re.split(r"^\$ ", text.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
        command, _, shown = example.partition("\n")
        program, *words = shlex.split(command)
        if program == "curl":
            continue  # tests/serve/test_serve_page.py
        done = cli(*words)
        if shown:
            assert_same_output((done.out + done.err).replace(folder, ""), shown)
        else:
            assert done.code == 0, done.err


def assert_same_output(printed: str, shown: str) -> None:
    """Compare outputs; probabilities differ a little with the processor."""
    texts = [
        [line.rstrip() for line in PROBABILITY.sub("#", each).rstrip().splitlines()]
        for each in (printed, shown)
    ]
    assert texts[0] == texts[1]
    numbers = [list(map(float, PROBABILITY.findall(each))) for each in (printed, shown)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.03)


@pytest.mark.parametrize("name", ["make_config_docs.py", "make_formats_docs.py"])
def test_references_are_up_to_date(name, monkeypatch):
    script = ROOT / "scripts" / name
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "--check"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert not end.value.code


def test_config_reference_is_complete():
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


@pytest.mark.slow
def test_examples_of_docstrings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(ROOT / "data")
    slotfill.train("taipei")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name in slotfill.__all__:
        public, names = getattr(slotfill, name), {"slotfill": slotfill}
        for example in doctest.DocTestFinder().find(public, name, globs=names):
            runner.run(example)
    result = runner.summarize(verbose=False)
    assert result.failed == 0 and result.attempted > 14


# README.md


@pytest.mark.slow
def test_readme_trains_on_own_data(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = ""
    for _, language, file, text in read_examples(ROOT / "README.md"):
        if file:
            Path(file).write_text(text, encoding="utf-8")
        elif language == "sh" and "coffee" in text:
            for command in text.splitlines():
                done = cli(*shlex.split(command)[1:])
                assert done.code == 0, done.err
                printed = done.out if " predict " in command else printed
        elif language == "json":
            assert_same_output(printed, text)
    assert Path("runs", "coffee-gru").is_dir()
