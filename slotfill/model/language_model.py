"""What an encoder learns beside the tags: to foretell words from its states, as a language model
does.

    d_t = tanh(h_t W + b)
    P(w_{t+1} | w_1 ... w_t) = softmax(d_t V + c), from the states read forwards
    P(w_{t-1} | w_t ... w_n) = softmax(...), likewise from those read backwards

Every word of every sentence teaches so, where few are in slots; prediction has no need of it.

Source: Rei 2017, "Semi-supervised Multitask Learning for Sequence Labeling", equations 6 to 10
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from slotfill.data.indexers import UNKNOWN
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.masks import padding_mask
from slotfill.model.tagger import SlotTagger

WORDS = 2000
"""How many words are told apart: the most frequent ones. The others are one, since a rare word
cannot be foretold.
"""

SIZE = 64
"""Numbers in the layer between the states and the words."""


class LanguageModelHead(nn.Module):
    """A head for each direction of the first encoder of `model`; its loss counts `weight` times.

    Raises ConfigError where that encoder's states have already seen the words that they are to
    tell.
    """

    def __init__(self, model: SlotTagger, vocab: Vocab, weight: float) -> None:
        super().__init__()
        encoder = cast(Encoder, model.encoders[0])
        if not encoder.causal_directions or any(
            cast(Embedding, part).contextual for part in model.embeddings
        ):
            raise ConfigError(
                "train.language_model_weight: needs a first encoder that is recurrent and of one layer,"
                " over embeddings of single words, since others have seen the words that they are"
                " to foretell; give 0"
            )
        self.weight = weight
        words = min(WORDS, len(target_vocabulary(vocab))) + 2
        self.size = encoder.output_size // encoder.causal_directions
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(self.size, SIZE), nn.Tanh(), nn.Linear(SIZE, words))
            for _ in range(encoder.causal_directions)
        )

    def loss(self, states: Tensor, lengths: Tensor, words: Tensor) -> Tensor:
        """Return the weighted surprise at a sentence's words in nats, of both directions, a mean
        over the batch.

        `states` is `(batch, time, directions * hidden)`, `words` `(batch, time)` with 0 at padding;
        0 is also what stands before the first word and behind the last.
        """
        beyond = torch.zeros_like(words[:, :1])
        targets = (
            torch.cat((words[:, 1:], beyond), dim=1),
            torch.cat((beyond, words[:, :-1]), dim=1),
        )
        spoken = padding_mask(lengths, words.shape[1])
        total = states.new_zeros(())
        for head, own, target in zip(
            self.heads, states.split(self.size, dim=2), targets, strict=False
        ):
            scores = head(own[spoken])
            total = total + nn.functional.cross_entropy(scores, target[spoken], reduction="sum")
        return self.weight * total / len(lengths)


def target_vocabulary(vocab: Vocab) -> dict[str, int]:
    """Return the ids of the words that are foretold; all others are `UNKNOWN`."""
    ids = vocab.token_indexer(lowercase=True, mask_digits=False, min_count=1).ids
    return {word: number for word, number in ids.items() if number < WORDS + 2}


def to_target_ids(tokens: list[str], ids: dict[str, int]) -> list[int]:
    """Return the ids of a sentence's words."""
    return [ids.get(token.lower(), UNKNOWN) for token in tokens]
