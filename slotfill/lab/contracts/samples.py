"""Sentences, vectors and weights that contracts are checked with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slotfill.data.batching import Batch, make_batch
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.model.network import Network
from slotfill.model.taggers.base import Tagger

INPUT, HIDDEN = 2, 6
"""The input and hidden sizes of the parts that are checked."""

LENGTHS = (3, 1, 7, 5, 2)

SENTENCES = [
    Sentence.from_tokens(
        ["leave", "New", "York", "at", "11:30"], [Slot("from", 1, 3), Slot("time", 4, 5)], "go#ask"
    ),
    Sentence.from_tokens(
        ["leave", "leave", "Taipei", "Taipei", "at", "12:45"],
        [Slot("from", 2, 3), Slot("from", 3, 4)],
        "go",
    ),
    Sentence.from_tokens(["yes"], [], "agree"),
    Sentence.from_tokens(["Boston"], [Slot("from", 0, 1)], "go"),
    Sentence.from_tokens(
        ["at", "7", "p.m.", "sharp", "leave", "San", "Juan", "del", "Sur"],
        [Slot("time", 1, 4), Slot("from", 5, 9)],
        "go",
    ),
    Sentence.from_tokens(
        ["時間", "11:30", "離開", "台北"], [Slot("time", 1, 2), Slot("from", 3, 4)], "ask"
    ),
]

UNKNOWN_WORDS = [
    ["x" * 300],
    ["q"],
    ["never", "seen", "🛫", "👩‍✈️", "ñandú", "𠮷", "\u200d", "Taipei"],
    ["a", "b" * 300, "c"],
]
"""Tokens that training has not seen: one character, 300, characters of no known word."""


def make_vocab(scheme: str = "iob2") -> Vocab:
    """Return the vocabulary of SENTENCES."""
    return Vocab.from_sentences(SENTENCES, scheme, intents=True)


def make_labelled_batch(model: Network, vocab: Vocab, sentences: Sequence[Sentence]) -> Batch:
    """Return the batch of `sentences` with their tags and intents."""
    tags = [
        [vocab.tag_ids[tag] for tag in slots_to_tags(s.slots or [], len(s.tokens), vocab.scheme)]
        for s in sentences
    ]
    tokens = [sentence.tokens for sentence in sentences]
    return make_batch(tokens, model.indexers, tags, vocab.intent_targets(sentences))


def randomize(module: nn.Module, seed: int, scale: float = 1.0) -> None:
    """Fill all trainable parameters with uniform values up to `scale`; padding stays zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.uniform_(-scale, scale, generator=generator)
        for part in module.modules():
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                part.weight[part.padding_idx] = 0


def compute_loss(tagger: Tagger, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
    """Return the loss of a tagger over `hidden`, as the network computes it."""
    emissions = tagger(hidden, lengths, tags)
    return tagger.loss(emissions, lengths, tags).mean() + tagger.regularization_loss


def make_inputs(size: int, lengths: Sequence[int] = LENGTHS) -> tuple[Tensor, Tensor]:
    """Return random vectors of sentences, zero at padding, and their lengths."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(len(lengths), max(lengths), size, generator=generator, dtype=torch.float64)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return x, torch.tensor(lengths)


def list_tokens() -> list[list[str]]:
    """Return the tokens of SENTENCES, and those that training has not seen."""
    return [sentence.tokens for sentence in SENTENCES] + UNKNOWN_WORDS
