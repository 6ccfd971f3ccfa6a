"""A folder of three files, a line a sentence: `seq.in` (tokens), `seq.out` (tags), `label`
(intent).

The shape in which ATIS and SNIPS are published. Without `seq.out` the sentences are unlabelled, and
`label` may be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from slotfill.data.formats.base import Format, check_representable, split_on_spaces
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence
from slotfill.errors import DataError, UsageError
from slotfill.files import nearest_in_folder, read_lines


class JointSLU(Format):
    """Three files side by side."""

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        return (path / "seq.in").is_file()

    def read(self, path: Path, *, scheme: str, tokenizer: str) -> Iterator[Sentence]:
        if not path.exists():
            raise DataError(f"{path}: no such folder{nearest_in_folder(path)}")
        if not path.is_dir():
            raise DataError(f"{path}: a file; jointslu is the folder that holds seq.in and seq.out")
        for number, words, tags, intent in _rows(path):
            place = f"{path / 'seq.in'}:{number}"
            tokens = split_on_spaces(words)
            if not tokens:
                raise DataError(f"{place}: an empty sentence; take this line out of all the files")
            if tags is None:
                yield Sentence.from_tokens(tokens, None, intent, place)
                continue
            labels = split_on_spaces(tags)
            if len(labels) != len(tokens):
                raise DataError(
                    f"{place}: tokens: {len(tokens)}, but tags in seq.out: {len(labels)}; give each"
                    " token its tag"
                )
            sentence = self.sentence_from_tags(
                tokens, labels, scheme=scheme, intent=intent, place=f"{path / 'seq.out'}:{number}"
            )
            sentence.location = place
            yield sentence

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        raise UsageError(
            "jointslu, a folder of three files, cannot be printed; use conll, jsonl or brackets"
        )

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        sentences = list(sentences)
        for sentence in sentences:
            check_representable(sentence, "jointslu")
        path.mkdir()
        _write(path / "seq.in", (" ".join(sentence.tokens) for sentence in sentences))
        if any(sentence.slots is not None for sentence in sentences):
            _write(path / "seq.out", (_tags(sentence, scheme) for sentence in sentences))
        if any(sentence.intent for sentence in sentences):
            _write(path / "label", (sentence.intent or "" for sentence in sentences))


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


def _tags(sentence: Sentence, scheme: str) -> str:
    if sentence.slots is None:
        raise DataError(f"{sentence.location or 'sentence'}: not labelled, though others are")
    return " ".join(slots_to_tags(sentence.slots, len(sentence.tokens), scheme))


def _write(path: Path, rows: Iterable[str]) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{row}\n" for row in rows)
