"""A folder with one sentence a line in `seq.in` (tokens), `seq.out` (tags) and `label` (intent).

`seq.in`:

    fly to New York

`seq.out`:

    O O B-destination I-destination

`label`:

    flight

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
    describe_other_files,
    example_from_tokens,
    render_tags,
    split_on_spaces,
)
from slotfill.data.sentence import Example, Sentence, unreadable
from slotfill.errors import DataError
from slotfill.files import nearest_in_folder, read_lines


class JointSLU(Format):
    """Three files side by side."""

    holds_half_labelled = False
    detected_by = "a folder with `seq.in` in it"
    reads_standard_input = False

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        return (path / "seq.in").is_file()

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        if not path.exists():
            raise DataError(f"{path}: no such folder{nearest_in_folder(path)}")
        if not path.is_dir():
            raise DataError(f"{path}: a file; jointslu is the folder that holds seq.in and seq.out")
        names = ("seq.in", "seq.out", "label")
        files = [path / name for name in names if name == "seq.in" or (path / name).exists()]
        for rows in zip_longest(*map(read_lines, files)):
            if None in rows:
                counts = [f"{file.name} has {len(list(read_lines(file)))}" for file in files]
                problem = f"the files differ in lines: {', '.join(counts)}"
                raise DataError(f"{path}: {problem}; each line is one sentence")
            located = {
                file.name: (f"{file}:{number}", text)
                for file, (number, text) in zip(files, rows, strict=True)
            }
            location, words = located["seq.in"]
            tag_location, tags = located.get("seq.out", (location, None))
            _, intent = located.get("label", ("", ""))
            tokens = split_on_spaces(words)
            labels = None if tags is None else split_on_spaces(tags)
            intent = intent.strip(" \t") or None
            try:
                example = example_from_tokens(tokens, labels, scheme, intent, [tag_location])
            except DataError as error:
                example = unreadable(error)
            example.location = location
            yield example

    def unread(self, path: Path) -> Iterator[str]:
        yield from describe_other_files(
            path, (path / name for name in ("seq.in", "seq.out", "label")), "jointslu"
        )

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        sentences = list(check_all_labelled(sentences))
        for sentence in sentences:
            check_representable(sentence, "jointslu")
        columns = {"seq.in": [" ".join(sentence.surface_forms) for sentence in sentences]}
        if any(sentence.slots is not None for sentence in sentences):
            columns["seq.out"] = [" ".join(render_tags(s, scheme)) for s in sentences]
        if any(sentence.intent for sentence in sentences):
            columns["label"] = [sentence.intent or "" for sentence in sentences]
        path.mkdir()
        for name, rows in columns.items():
            (path / name).write_text("\n".join([*rows, ""]), encoding="utf-8", newline="\n")
