"""Weights of tags from the words of slots' names: slots with similar names share them.

    W_tag = w_tag + e_slot V_prefix

e is the vector of the name and the description of the slot, which is fixed, and V is learned. A
slot without labelled examples has the mean w of the others; its tags are left out of training,
where they would be learned to be wrong.

Source: Bapna, Tür, Hakkani-Tür & Heck 2017, "Towards Zero-Shot Frame Semantic Parsing for Domain
Scaling"
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.data.static_table import BUILTIN_TABLE, StaticTable, words_of_name
from slotfill.data.vocab import Vocab

SHARED = 0.3
"""An element of e that all slots have in common."""


class SlotNames(nn.Module):
    """e_slot V_prefix for each tag; zero for O."""

    def __init__(self, input_size: int, vocab: Vocab) -> None:
        super().__init__()
        self.tags = [tag.partition("-")[::2] for tag in vocab.tags]
        """The prefix of each tag, and the name of its slot."""
        self.unlabelled = vocab.unlabelled_slots
        self.is_unlabelled: Tensor
        is_unlabelled = [name in self.unlabelled for _, name in self.tags]
        self.register_buffer("is_unlabelled", torch.tensor(is_unlabelled), persistent=False)
        vectors = dict(zip(vocab.slot_names, _embed_slots(vocab), strict=True))
        prefixes = sorted({prefix for prefix, name in self.tags if name})
        size = len(next(iter(vectors.values()), ()))
        table = np.zeros((len(self.tags), len(prefixes), size), np.float32)
        for index, (prefix, name) in enumerate(self.tags):
            if name:
                table[index, prefixes.index(prefix)] = vectors[name]
        self.table: Tensor
        self.register_buffer("table", torch.from_numpy(table).flatten(1), persistent=False)
        self.weight = nn.Parameter(torch.empty(self.table.shape[1], input_size))
        nn.init.uniform_(self.weight, -(input_size**-0.5), input_size**-0.5)

    def forward(self) -> Tensor:
        """Return the part of the tags' weights that comes from names, `(tags, input)`."""
        return self.table @ self.weight

    def fill_unlabelled(self, tables: Sequence[Tensor], pairs: Tensor) -> None:
        """Give tags of slots without labelled examples the mean of tags with the same prefix.

        The first axis of `tables`, and both axes of `pairs`, are the tags.
        """
        ids = {tag: index for index, tag in enumerate(self.tags)}
        others = sorted({name for _, name in self.tags if name} - self.unlabelled)
        new = [tag for tag in self.tags if tag[1] in self.unlabelled]
        for prefix, name in new:
            alike = [ids[prefix, other] for other in others if (prefix, other) in ids]
            for table in (*tables, pairs, pairs.T):
                table[ids[prefix, name]] = table[alike].mean(0)
        for (before, name), (after, same_name) in product(new, new):
            if name == same_name:  # Such as B and I of one slot, which follow each other.
                both = [(ids.get((before, other)), ids.get((after, other))) for other in others]
                scores = [pairs[one, two] for one, two in both if None not in (one, two)]
                if scores:
                    pairs[ids[before, name], ids[after, name]] = torch.stack(scores).mean()


def _embed_slots(vocab: Vocab) -> np.ndarray:
    """Return the vectors of the slots `vocab.slot_names`, `(slots, size)`, about their mean."""
    names = vocab.slot_names
    texts = [f"{words_of_name(name)} {vocab.slot_descriptions.get(name, '')}" for name in names]
    vectors = StaticTable.read(BUILTIN_TABLE).embed(texts)
    if len(names) > 1:
        vectors -= vectors.mean(0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return np.hstack([vectors, np.full((len(names), 1), SHARED)])
