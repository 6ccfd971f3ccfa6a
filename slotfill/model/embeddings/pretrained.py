"""Pretrained word vectors: GloVe, word2vec or fastText; unknown words have their mean.

The file is read when training starts. A run stores the vectors of its training words, of the most
frequent words of the file and of `extra_words`, and does not need the file any more.

Source: Pennington, Socher & Manning 2014, "GloVe: Global Vectors for Word Representation"
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import FilePath, Size
from slotfill.data.indexers import PADDING, UNKNOWN, PretrainedIndexer
from slotfill.data.vocab import Vocab
from slotfill.data.word_vectors import read_vectors
from slotfill.errors import ConfigError, DataError
from slotfill.files import read_lines
from slotfill.model.embeddings.base import Embedding
from slotfill.model.layers import LookupTable


class Pretrained(Embedding):
    """Look up each token in pretrained word vectors.

    path: the file of vectors.
    kind: file format; `word2vec` is text with a header, such as fastText's `.vec`, and `fasttext`
        is fastText's `.bin`; `auto` detects it from the start of the file.
    lowercase: look up words that are not in the file in lower case.
    max_words: number of words stored from the start of the file, which are the most frequent.
    extra_words: a text file whose words, separated by white space, are stored too.
    trainable: train the vectors of the training words and of unknown words.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        path: FilePath,
        kind: Literal["auto", "glove", "word2vec", "word2vec_binary", "fasttext"] = "auto",
        lowercase: bool = True,
        max_words: Size = 50000,
        extra_words: FilePath | None = None,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        file = None
        if path not in vocab.restored_resources:
            lines = read_lines(Path(extra_words)) if extra_words else ()
            words = [*vocab.tokens, *(word for _, line in lines for word in line.split())]
            file = read_vectors(Path(path), words, max_words, lowercase, kind)
            if not file.words:
                raise DataError(f"{path}: the file has no words")
            size = file.vectors.shape[1]
            resource = {"size": size, "words": file.words, "composed": file.composed}
            if vocab.resources.setdefault(path, resource) != resource:
                raise ConfigError(
                    f"{path} is listed twice with different options; give both the same", key="path"
                )
        self.indexer = indexer = PretrainedIndexer(
            vocab.resources[path], vocab.tokens, file=path, lowercase=lowercase
        )
        if vocab.tokens and not indexer.num_training_words:
            raise DataError(
                f"{path}: has none of the {len(vocab.tokens)} words of the training sentences"
            )
        self.output_size = vocab.resources[path]["size"]
        table = torch.zeros(len(indexer.ids) + 2, self.output_size)
        if file is not None:
            table[[indexer.ids[word] for word in file.words]] = torch.from_numpy(file.vectors)
            table[UNKNOWN] = table[2:].mean(dim=0)
        # If trainable, each word has its vector in one of two tables and zeros in the other.
        self.trainable: LookupTable | None = None
        if trainable:
            rows = indexer.num_training_words + 2
            self.trainable = LookupTable.from_pretrained(
                table[:rows].clone(), freeze=False, padding_idx=PADDING
            )
            table[:rows] = 0
        self.vectors: Tensor
        self.register_buffer("vectors", table)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors `(batch, time, size)` of ids `(batch, time)`; zero at padding."""
        vectors = nn.functional.embedding(ids, self.vectors)
        if self.trainable is None:
            return vectors
        is_frozen = ids >= self.trainable.num_embeddings
        return vectors + self.trainable(ids.masked_fill(is_frozen, PADDING))
