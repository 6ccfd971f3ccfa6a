"""A fixed vector for any word from those of its word pieces, which a transformer has learned.

    x = sum over the word's pieces k = 1, 2, ... of v_k / k, divided by the sum over them of 1 / k

The table holds the states of all layers of an encoder for English where it reads a piece alone,
reduced by PCA. A run stores the table, and does not need the file any more.

Source: Wu et al. 2016, "Google's Neural Machine Translation System", section 4.1 (word pieces);
Wang et al. 2020, "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
Pre-Trained Transformers"; vectors of words from the layers of a transformer: Bommasani, Davis &
Cardie 2020, "Interpreting Pretrained Contextualized Representations via Reductions to Static
Embeddings"
"""

from pathlib import Path

import torch
from torch import Tensor

from slotfill.config.option_types import FilePath
from slotfill.data.indexers import PADDING, PieceIndexer
from slotfill.data.static_table import BUILTIN_TABLE, StaticTable
from slotfill.data.vocab import Vocab
from slotfill.model.embeddings.base import Embedding


class Static(Embedding):
    """Average each token's fixed vectors of word pieces, of which the first counts most.

    path: a table that scripts/make_static_table.py has made; null is the built-in one, for English.
    """

    def __init__(self, vocab: Vocab, *, path: FilePath | None = None) -> None:
        super().__init__()
        file = path or BUILTIN_TABLE.name
        table = None
        if file not in vocab.restored_resources:
            table = StaticTable.read(Path(path) if path else BUILTIN_TABLE)
            vocab.resources[file] = table.to_json()
        self.indexer = PieceIndexer(vocab.resources[file], file=file)
        self.output_size = vocab.resources[file]["size"]
        vectors = torch.zeros(len(self.indexer.ids) + 1, self.output_size, dtype=torch.int8)
        if table is not None:
            vectors[1:] = torch.from_numpy(table.vectors)
        self.vectors: Tensor
        self.register_buffer("vectors", vectors)
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(table.scale if table else 0.0))

    def forward(self, pieces: Tensor, token_index: Tensor) -> Tensor:
        """Return `(batch, time, size)`; zero at padding.

        `pieces` `(token, piece)` has the ids of the distinct tokens, and `token_index` `(batch,
        time)` the index of each token of the batch among them.
        """
        mask = (pieces != PADDING).to(self.scale.dtype)
        weights = mask / torch.arange(1, pieces.shape[1] + 1, device=pieces.device)
        # At least 1: the empty token of padding has no pieces.
        total = weights.sum(1, keepdim=True)
        total = total.maximum(torch.ones_like(total))
        vectors = self.vectors[pieces].to(self.scale.dtype) * (weights / total).unsqueeze(2)
        return (vectors.sum(1) * self.scale)[token_index]
