"""Tables of word-piece vectors, in NumPy's .npz, which scripts/make_static_table.py writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slotfill.config.models import DEFAULT_EMBEDDING, Config
from slotfill.data.indexers import PieceIndexer
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError

BUILTIN_TABLE = Path(__file__).parent / "vectors" / "all-minilm-l6-v2.npz"
"""English; vectors/NOTICE.md says where it is from."""

MAX_TOKENS = 30_000
"""Below so many tokens of training, about 3,000 sentences, the built-in table is a default.

docs/few_sentences.md has its gains up to 1,000 sentences, where one of three corpora has none;
docs/log.md that with 3,000 of another one. Complete corpora gain nothing.
"""

MIN_COVERAGE = 0.7
"""The share of the distinct words that are in the table, from which it covers their language.

100 sentences of four English corpora have 0.86 to 0.94, texts in 16 languages at most 0.41.
"""


@dataclass(frozen=True, eq=False)
class StaticTable:
    """Word pieces and their vectors."""

    pieces: list[str]
    """The first is the unknown one; those that continue a word begin with `##`."""
    vectors: np.ndarray
    """8-bit integers `(pieces, size)`, in units of `scale`."""
    scale: float
    lowercase: bool
    """Whether words are looked up in lower case and without accents."""

    @classmethod
    def read(cls, path: Path) -> StaticTable:
        """Return the table in the file `path`; raises DataError if it is none."""
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                pieces = arrays["pieces"].tobytes().decode().split("\n")
                # A member that is no array is read as bytes.
                vectors, scale = np.asarray(arrays["vectors"]), float(arrays["scale"])
                table = cls(pieces, vectors, scale, bool(arrays["lowercase"]))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        except Exception:  # NumPy and zipfile have no common class for what can be wrong.
            raise DataError(
                f"{path}: not a table of scripts/make_static_table.py; for a text file of vectors"
                " use {name: pretrained}"
            ) from None
        if vectors.dtype != np.int8 or vectors.ndim != 2 or len(vectors) != len(pieces):
            raise DataError(f"{path}: damaged: its vectors do not fit its pieces")
        return table

    def to_json(self) -> dict[str, Any]:
        """Return what a run stores beside the vectors, and `PieceIndexer` takes."""
        pieces = "\n".join(self.pieces)  # One text is read faster than a list.
        return {"size": self.vectors.shape[1], "lowercase": self.lowercase, "pieces": pieces}

    def embed(self, texts: Iterable[str]) -> np.ndarray:
        """Return the mean vector of the words of each text, `(texts, size)`."""
        indexer = PieceIndexer(self.to_json(), file="")
        rows = []
        for text in texts:
            words = [indexer.piece_ids(word) for word in text.split()]
            rows.append(np.mean([self._embed_pieces(pieces) for pieces in words], axis=0))
        return np.array(rows).reshape(-1, self.vectors.shape[1])

    def _embed_pieces(self, ids: Sequence[int]) -> np.ndarray:
        vectors = self.vectors[np.array(ids) - 1] * self.scale
        return np.average(vectors, axis=0, weights=1 / np.arange(1, len(ids) + 1))

    def write(self, path: Path) -> None:
        """Write the table; equal tables are equal files."""
        pieces = np.frombuffer("\n".join(self.pieces).encode(), np.uint8)
        scale = np.float32(self.scale)
        np.savez(path, pieces=pieces, vectors=self.vectors, scale=scale, lowercase=self.lowercase)


def words_of_name(name: str) -> str:
    """Return the words of a slot's name, as `toloc city name` of `toloc.cityName`."""
    return re.sub(r"[\W_]+|(?<=[^\W_A-Z])(?=[A-Z])", " ", name).lower().strip()


def resolve_embedding(config: Config, vocab: Vocab) -> list[Any]:
    """Return the embedding of `config`, or the default one for the words of `vocab`."""
    if config.embedding is not None:
        return config.embedding
    file = BUILTIN_TABLE.name
    if vocab.is_restored:
        is_added = file in vocab.resources
    else:
        is_added = 0 < vocab.num_labelled_tokens < MAX_TOKENS
        if is_added:
            indexer = PieceIndexer(StaticTable.read(BUILTIN_TABLE).to_json(), file=file)
            is_added = indexer.coverage(vocab.tokens)["types"]["exact"] >= MIN_COVERAGE
    return [*DEFAULT_EMBEDDING, *["static"] * is_added]
