"""A vector for each word from a file: GloVe, word2vec or fastText; a word that it does not have
gets their mean.

Read when training begins. A run keeps the words of its training sentences, the most frequent ones
of the file and those of `extra_words`, with their vectors, and has no need of the file any more.

Source: Pennington, Socher & Manning 2014, "GloVe: Global Vectors for Word Representation"
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import FilePath, Size
from slotfill.data.indexers import PADDING, UNKNOWN
from slotfill.data.vocab import Vocab
from slotfill.data.word_vectors import read_vectors
from slotfill.errors import ConfigError, DataError
from slotfill.model.embeddings.base import Embedding


class Pretrained(Embedding):
    """Look each token up in the vectors that were kept of a file.

    path: the file of vectors.
    kind: how it is written; `word2vec` is text with a header, as fastText's `.vec`, and `fasttext`
    is fastText's
        `.bin`; `auto` tells by how the file begins.
    lowercase: a word that the file does not have is looked up in lower case.
    most: so many words are kept from the file's beginning, where the most frequent ones stand, for
    texts to come.
    extra_words: a text file whose words, as they stand between blanks, are kept too.
    tune: train the vectors of the words of the training sentences, and that of unknown words, with
    the network.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        path: FilePath,
        kind: Literal["auto", "glove", "word2vec", "word2vec_binary", "fasttext"] = "auto",
        lowercase: bool = True,
        most: Size = 50000,
        extra_words: FilePath | None = None,
        tune: bool = False,
    ) -> None:
        super().__init__()
        found = None
        if path not in vocab.saved:
            wanted = [*vocab.tokens, *_words(extra_words)]
            found = read_vectors(Path(path), wanted, most, lowercase, kind)
            if not found.words:
                raise DataError(f"{path}: no word in it")
            size = found.vectors.shape[1]
            kept = {"size": size, "words": found.words, "composed": found.composed}
            if vocab.kept.setdefault(path, kept) != kept:
                raise ConfigError(
                    f"path: {path} is named twice, with other words to keep; give both the same"
                    " options"
                )
        self.indexer = indexer = vocab.pretrained_indexer(file=path, lowercase=lowercase)
        if vocab.tokens and not indexer.trained:
            raise DataError(
                f"{path}: none of the {len(vocab.tokens)} words of the training sentences is in it"
            )
        self.output_size = vocab.kept[path]["size"]
        table = torch.zeros(len(indexer.ids) + 2, self.output_size)
        if found is not None:
            table[[indexer.ids[word] for word in found.words]] = torch.from_numpy(found.vectors)
            table[UNKNOWN] = table[2:].mean(dim=0)
        # With `tune` each word stands in one of two tables, and is zero in the other.
        self.tuned: nn.Embedding | None = None
        if tune:
            trained = indexer.trained + 2
            self.tuned = nn.Embedding.from_pretrained(
                table[:trained].clone(), freeze=False, padding_idx=PADDING
            )
            table[:trained] = 0
        self.vectors: Tensor
        self.register_buffer("vectors", table)

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return the vectors `(batch, time, size)` of ids `(batch, time)`; zero at padding."""
        (ids,) = arrays
        found = nn.functional.embedding(ids, self.vectors)
        if self.tuned is None:
            return found
        return found + self.tuned(ids.masked_fill(ids >= self.tuned.num_embeddings, PADDING))


def _words(path: str | None) -> list[str]:
    """Return the words of a text file, each once, in their order."""
    if path is None:
        return []
    try:
        return list(dict.fromkeys(Path(path).read_text(encoding="utf-8-sig").split()))
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 (byte 0x{fault.object[fault.start]:02x})"
        ) from None
    except OSError as fault:
        raise DataError(f"{path}: cannot be read: {fault.strerror}") from None
