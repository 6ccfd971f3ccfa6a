"""Targets of fuzz.py for the formats of data: what is read is converted, and read back the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any

import yaml

from fuzzing.base import Target, accepts
from slotfill.config.registry import FORMATS
from slotfill.data.convert import convert_file
from slotfill.data.corpus import read_known_values, read_sentences, read_texts
from slotfill.data.detection import writable_formats
from slotfill.data.formats.base import Format
from slotfill.data.schemes import SCHEMES
from slotfill.data.sentence import Sentence, Slot

SEPARATOR = b"\n=====\n"
"""Between the files of a format of several files."""


def list_examples() -> list[bytes]:
    """Return the examples in the documentation of the formats of one text."""
    return [each for name in FORMATS.names() for each in _documented(name)]


def _documented(name: str) -> list[bytes]:
    doc = ast.get_docstring(FORMATS.part(name).tree, clean=False) or ""  # Keeps tabs.
    blocks = re.findall(r"(?:^    .*\n|^\n)+", doc, re.M)
    texts = [dedent(block).strip("\n") + "\n" for block in blocks if block.strip()]
    if name in _FILES:
        return [SEPARATOR.join(text.encode() for text in texts)]
    return [text.encode() for text in texts]


def _sample(part: Format) -> list[Sentence]:
    """Return two sentences that the format can hold."""
    intents = ("flight", "a") if part.holds_intents else ("", "")
    return [
        Sentence.from_tokens(["fly", "to", "New", "York"], [Slot("city", 2, 4)], intents[0]),
        Sentence.from_tokens(["台北", "(a)", "#"], [Slot("x", 0, 1), Slot("y", 1, 2)], intents[1]),
    ]


def make_target(name: str) -> Target:
    seeds = _documented(name)
    if name in writable_formats():
        with TemporaryDirectory() as folder:
            path = Path(folder, "x")
            part = FORMATS.build(name)
            part.write(path, _sample(part), scheme="iob2")
            files = [path / file for file in _FILES.get(name, ())] or [path]
            seeds.append(SEPARATOR.join(file.read_bytes() for file in files))
    more = _doc_bins if name == "docbin" else list
    return Target(partial(_read_format, name), seeds, max_size=1 << 12, make_seeds=more)


def _doc_bins() -> list[bytes]:
    """Return an example of the format `docbin`, which slotfill does not write."""
    import spacy
    from spacy.tokens import Doc, DocBin, Span

    doc = Doc(spacy.blank("en").vocab, words=["fly", "to", "New", "York"])
    doc.ents = [Span(doc, 2, 4, label="city")]
    return [DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE"], docs=[doc]).to_bytes()]


_FILES = {"brat": ("x.txt", "x.ann"), "jointslu": ("seq.in", "seq.out", "label")}
"""The formats of several files."""


def _write_input(name: str, data: bytes, folder: Path) -> Path:
    """Write an input as the file of a format, or as a folder of its files; return its path."""
    path = folder / "input"
    if name not in _FILES:
        path.write_bytes(data)
        return path
    path.mkdir()
    for file, part in zip(_FILES[name], data.split(SEPARATOR), strict=False):
        (path / file).write_bytes(part)
    return path


_compose_all = yaml.compose_all


@lru_cache(4)
def _compose(text: str, loader: Any) -> tuple[list[Any], Exception | None]:
    nodes = []
    try:
        for node in _compose_all(text, loader):
            nodes.append(node)
    except Exception as error:
        return nodes, error
    return nodes, None


def _compose_once(text: str, loader: Any) -> Iterator[Any]:
    """Do what `yaml.compose_all` does, which takes most of the time, once for each text."""
    nodes, error = _compose(text, loader)
    yield from nodes
    if error is not None:
        raise error


def _read_format(name: str, data: bytes, folder: Path) -> None:
    yaml.compose_all = _compose_once
    path = _write_input(name, data, folder)
    scheme = list(SCHEMES)[len(data) % len(SCHEMES)]
    part = FORMATS.part(name).load()
    scheme = scheme if part.has_tags else "iob2"
    read_sentences(
        path, format=name, scheme=scheme, labelled=False, keep_tokens=True, list_problems=True
    )
    tokenize = ["words", "whitespace", "characters"][len(data) % 3]
    intents = part.needs_intents
    read_sentences(path, format=name, scheme=scheme, tokenizer=tokenize, intents=intents)
    accepts(read_known_values, path, name)
    names = writable_formats()
    target_name = name if name in names else "jsonl"
    if len(data) % 2:
        target_name = names[len(data) // 2 % len(names)]
    accepts(_convert, path, name, target_name, scheme)


def _convert(path: Path, name: str, target_name: str, scheme: str) -> None:
    """Check that what is written in another format is read back the same."""
    target = path.with_name(f"output-{target_name}")
    reading, _ = convert_file(path, target, from_format=name, to_format=target_name, scheme=scheme)
    back = read_sentences(target, format=target_name, labelled=False, keep_tokens=True)
    assert _describe(reading.sentences) == _describe(back.sentences), "not read back the same"


def _describe(sentences: list[Sentence]) -> list[tuple[Any, ...]]:
    """Return what conversion keeps: words, slots and intents, in any order of the sentences."""
    rows = []
    for sentence in sentences:
        slots = [
            (slot.name, "".join(sentence.value(slot).split())) for slot in sentence.slots or ()
        ]
        rows.append(("".join(sentence.text.split()), slots, sentence.intent or ""))
    return sorted(rows)


def read_detected(data: bytes, folder: Path) -> None:
    suffixes = ("", ".json", ".jsonl", ".txt", ".csv", ".yml", ".md", ".conll", ".tsv", ".ann")
    path = folder / f"input{suffixes[len(data) % len(suffixes)]}"
    path.write_bytes(data)
    read_sentences(path, labelled=False, list_problems=True)


def read_any_texts(data: bytes, folder: Path) -> None:
    path = folder / "input"
    path.write_bytes(data)
    for errors in ("replace", "skip", "strict"):
        for example in read_texts(path, "text", errors=errors):
            example.text.encode()
    list(read_texts(path))
