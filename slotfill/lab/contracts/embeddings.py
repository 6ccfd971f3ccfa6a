"""Contracts of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slotfill.config.registry import (
    EMBEDDINGS,
)
from slotfill.lab.contracts.requirements import (
    Contract,
    Part,
    require_arguments,
    require_equal,
    require_output_size,
    require_result,
    require_shape,
    require_tensor,
)
from slotfill.lab.contracts.samples import (
    list_tokens,
    make_vocab,
    randomize,
)
from slotfill.model.embeddings.base import Embedding


def embedding_has_the_documented_shapes(part: Part) -> None:
    embedding: Embedding = EMBEDDINGS.build(part, make_vocab()).eval()
    randomize(embedding, 1)
    require_output_size(embedding)
    indexer = getattr(embedding, "indexer", None)
    message = f"__init__ must set self.indexer, which has the method index(), found {indexer}"
    require_result(callable(getattr(indexer, "index", None)), message)
    sentences = list_tokens()
    arrays = embedding.indexer.index(sentences)
    is_arrays = isinstance(arrays, tuple | list) and all(
        isinstance(each, np.ndarray) for each in arrays
    )
    message = "the indexer's index() must return a tuple of NumPy arrays"
    require_result(is_arrays, f"{message}, found {type(arrays).__name__}")
    tensors = [*map(torch.from_numpy, arrays)]
    names = f"{len(tensors)} tensors, those of its indexer"
    require_arguments(embedding.forward, tensors, names)
    vectors = embedding(*tensors)
    shape = (len(sentences), max(map(len, sentences)), embedding.output_size)
    require_tensor(vectors, shape, torch.zeros(()), "the vectors")


def embedding_is_independent_of_the_batch(part: Part) -> None:
    embedding: Embedding = EMBEDDINGS.build(part, make_vocab()).double().eval()
    randomize(embedding, 1)

    def embed(sentences: Sequence[Sequence[str]]) -> Tensor:
        arrays = embedding.indexer.index(sentences)
        vectors: Tensor = embedding(*map(torch.from_numpy, arrays))
        shape = (len(sentences), max(map(len, sentences)), embedding.output_size)
        require_shape(vectors, shape, "the vectors")
        return vectors

    sentences = list_tokens()
    together = embed(sentences)
    for tokens, row in zip(sentences, together, strict=True):
        message = "the vectors of a sentence depend on the others of the batch"
        require_equal(embed([tokens])[0], row[: len(tokens)], message)


CONTRACTS: list[Contract] = [
    embedding_has_the_documented_shapes,
    embedding_is_independent_of_the_batch,
]
"""The first is what the others rest on."""
