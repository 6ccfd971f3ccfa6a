"""A folder with one sentence a line in `seq.in` (tokens), `seq.out` (tags) and `label` (intent).

The layout in which ATIS and SNIPS are published. Without `seq.out` the sentences are unlabelled;
`label` may be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from slotfill.data.formats.base import (
    Format,
    check_all_labelled,
    check_representable,
    example_from_tokens,
    split_on_spaces,
)
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Example, Sentence
from slotfill.errors import DataError, UsageError
from slotfill.files import nearest_in_folder, read_lines


class JointSLU(Format):
    """Three files side by side."""

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        return (path / "seq.in").is_file()

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        if not path.exists():
            raise DataError(f"{path}: no such folder{nearest_in_folder(path)}")
        if not path.is_dir():
            raise DataError(f"{path}: a file; jointslu is the folder that holds seq.in and seq.out")
        for number, words, tags, intent in _rows(path):
            location = f"{path / 'seq.in'}:{number}"
            tokens = split_on_spaces(words)
            if not tokens:
                raise DataError(f"{location}: an empty sentence; remove this line from all files")
            labels = None if tags is None else split_on_spaces(tags)
            if labels is not None and len(labels) != len(tokens):
                raise DataError(
                    f"{location}: tokens: {len(tokens)}, but tags in seq.out: {len(labels)};"
                    " each token needs one tag"
                )
            tag_location = location if tags is None else f"{path / 'seq.out'}:{number}"
            example = example_from_tokens(tokens, labels, scheme, intent, [tag_location])
            example.location = location
            yield example

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        raise UsageError(
            "jointslu, a folder of three files, cannot be printed; use conll, jsonl or brackets"
        )

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        sentences = list(check_all_labelled(sentences))
        for sentence in sentences:
            check_representable(sentence, "jointslu")
        columns = {"seq.in": [" ".join(sentence.surface_forms) for sentence in sentences]}
        if any(sentence.slots is not None for sentence in sentences):
            tags = (slots_to_tags(s.slots or (), len(s.tokens), scheme) for s in sentences)
            columns["seq.out"] = list(map(" ".join, tags))
        if any(sentence.intent for sentence in sentences):
            columns["label"] = [sentence.intent or "" for sentence in sentences]
        path.mkdir()
        for name, rows in columns.items():
            (path / name).write_text("\n".join([*rows, ""]), encoding="utf-8", newline="\n")


def _rows(folder: Path) -> Iterator[tuple[int, str, str | None, str | None]]:
    """Yield the line number, tokens, tags and intent of each line."""
    files = [folder / name for name in ("seq.in", "seq.out", "label")]
    there = [path for path in files if path.exists() or path.name == "seq.in"]
    for rows in zip_longest(*map(read_lines, there)):
        if None in rows:
            counts = [f"{path.name} has {sum(1 for _ in read_lines(path))}" for path in there]
            raise DataError(
                f"{folder}: the files differ in lines: {', '.join(counts)}; each line is one"
                " sentence"
            )
        columns = {path.name: text for path, (_, text) in zip(there, rows, strict=True)}
        intent = columns.get("label", "").strip(" \t") or None
        yield rows[0][0], columns["seq.in"], columns.get("seq.out"), intent
