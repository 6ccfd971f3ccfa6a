"""Binary training data of spaCy, `.spacy` files: the `DocBin` that `spacy train` reads.

Slots are the entities, and the intent is the category whose score is 1; several are joined by `#`.
Tokens without an entity label are not known, and a document of which no token has one is
unlabelled. Tokens are not kept, since prediction splits the text itself. Span groups are left out;
parts of speech, dependencies and the like are not read. Messages count the documents instead of
lines. Reading needs spaCy: `pip install 'slotfill[spacy]'`. To write for spaCy, use the format
`spacy`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slotfill.data.formats._json_rows import set_intent_from_scores
from slotfill.data.formats.base import Format
from slotfill.data.sentence import Example, unreadable
from slotfill.errors import DataError, UsageError
from slotfill.extras import required_for
from slotfill.files import nearest_in_folder

_MAX_BYTES = 2**26
_MAX_RATIO = 100
"""A file may decompress to so many bytes, or to so many times its size, whichever is more."""
_ATTRIBUTES = ("TAG", "POS", "MORPH", "LEMMA", "DEP", "ENT_ID", "ENT_KB_ID")
"""The annotations of tokens that are not read, as spaCy calls them."""


class DocBin(Format):
    """spaCy's `.spacy` files."""

    suffixes = (".spacy",)
    has_tags = False
    reads_standard_input = False

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        with required_for(f"{path}: .spacy"):
            from spacy.tokens import DocBin as SpacyDocBin
            from spacy.vocab import Vocab
        data = _read_bytes(path)
        number = 0
        try:
            for number, doc in enumerate(SpacyDocBin().from_bytes(data).get_docs(Vocab()), 1):
                try:
                    example = _to_example(doc, f"{path}:{number}")
                except DataError as error:
                    example = unreadable(error)
                yield example
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise DataError(f"{path}: not a .spacy file of spaCy 3, or damaged") from None


def _read_bytes(path: Path) -> bytes:
    """Return the content of a file, still compressed, which does not decompress to too much."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file{nearest_in_folder(path)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    decompressor, size = zlib.decompressobj(), max(_MAX_BYTES, _MAX_RATIO * len(data))
    try:
        decompressor.decompress(data, size)
    except zlib.error as error:
        raise DataError(f"{path}: not a .spacy file ({error})") from None
    if decompressor.unconsumed_tail:
        raise DataError(f"{path}: decompresses to more than {size:,} bytes; split the file")
    return data


def _to_example(doc: Any, location: str) -> Example:
    """Return the example that a Doc of spaCy holds."""
    example = Example(doc.text, location=location)
    if doc.has_annotation("ENT_IOB"):
        example.spans = []
        for entity in doc.ents:
            example.add_span(entity.label_, entity.start_char, entity.end_char)
        unknown = (token for token in doc if token.ent_iob == 0)
        example.unknown = [(token.idx, token.idx + len(token)) for token in unknown]
    set_intent_from_scores(example, doc.cats)
    for name in (name for name, group in doc.spans.items() if len(group)):
        example.leave_out(f"the span group '{name}'")
    unread = [name for name in _ATTRIBUTES if doc.has_annotation(name)]
    unread += ["user_data"] * bool(doc.user_data)
    example.list_unread(unread)
    return example
