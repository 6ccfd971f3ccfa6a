"""Linearization: a labelled sentence as one sequence of symbols, and back.

    flight B-to New I-to York tomorrow      for [](flight) [New York](to) tomorrow

Each tag but `O` comes before its token, and the intents, if there are any, before all; so a
language model of symbols is one of labelled sentences.

Source: Ding et al. 2020, "DAGA: Data Augmentation with a Generation Approach for Low-resource
Tagging Tasks"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from slotfill.data import batching, indexers
from slotfill.data.batching import Batch, make_batch
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, intent_names
from slotfill.data.tokenizers import join_tokens
from slotfill.data.vocab import Vocab

PADDING = 0
END = 1
"""The last symbol of each sentence."""
UNKNOWN = 2
"""Any token or tag that training has not seen."""


class Linearization:
    """The symbols of a vocabulary: PADDING, END, UNKNOWN, then intents, tags but `O`, and tokens.

    Attributes:
        indexer: What turns tokens into the ids that `encode` reads in a batch.
        size: The number of symbols.
        counts: How often each symbol of a token occurs in training, `(symbols,)`; 0 for others.
    """

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        self.indexer = indexers.TokenIndexer(
            vocab.tokens, lowercase=False, mask_digits=False, min_count=1
        )
        self._intents = range(3, 3 + len(vocab.intent_names))
        tags = [tag for tag in vocab.tags if tag != "O"]
        self._tags = dict(enumerate(tags, self._intents.stop))
        first_token = self._intents.stop + len(tags)
        self._tokens = dict(enumerate(self.indexer.ids, first_token))
        self.size = first_token + len(self._tokens)
        self.counts = np.zeros(self.size, np.int64)
        self.counts[first_token:] = self.indexer.counts[2:]
        ids = {tag: symbol for symbol, tag in self._tags.items()}
        # The last one is for the id -1, of a tag that is not known.
        self._tag_symbols = np.array([*(ids.get(tag, PADDING) for tag in vocab.tags), UNKNOWN])
        self._token_symbols = np.array([PADDING, UNKNOWN, *self._tokens])

    def make_batch(self, sentences: Sequence[Sentence]) -> Batch:
        """Return a batch of labelled sentences; what training has not seen in them is unknown."""
        names = self.vocab.intent_names
        return make_batch(
            [sentence.tokens for sentence in sentences],
            [self.indexer],
            [list(self._tag_ids(sentence)) for sentence in sentences],
            [np.isin(names, intent_names(s.intent)) for s in sentences] if names else [],
        )

    def _tag_ids(self, sentence: Sentence) -> Iterator[int]:
        tags = slots_to_tags(sentence.slots or (), len(sentence.tokens), self.vocab.scheme)
        unknown = {token for start, end in sentence.unknown for token in range(start, end)}
        for index, tag in enumerate(tags):
            tag_id = self.vocab.tag_ids.get(tag, batching.UNKNOWN)
            yield batching.UNKNOWN if index in unknown else tag_id

    def encode(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return the symbols `(batch, time)` of a labelled batch, and their number `(batch,)`."""
        (tokens,) = batch.features[0]
        assert batch.tags is not None
        tags = self._tag_symbols[batch.tags] * (tokens > 0)
        pairs = np.stack((tags, self._token_symbols[tokens]), axis=2).reshape(len(tokens), -1)
        if batch.intents is not None and self._intents:
            intents = np.where(batch.intents > 0, np.array(self._intents), PADDING)
            pairs = np.concatenate((intents, pairs), axis=1)
        order = np.argsort(pairs == PADDING, axis=1, kind="stable")
        lengths = (pairs != PADDING).sum(axis=1)
        symbols = np.full((len(pairs), lengths.max() + 1), PADDING)
        symbols[:, :-1] = np.take_along_axis(pairs, order, axis=1)[:, : lengths.max()]
        symbols[np.arange(len(pairs)), lengths] = END
        return symbols, lengths + 1

    def decode(self, symbols: Sequence[int]) -> Sentence | None:
        """Return the sentence of `symbols`, which end with END; None if they are malformed.

        Malformed are symbols that are unknown, intents that no training sentence has together or
        that do not come first, a tag without its token, and a sequence of tags that is not legal.
        """
        *body, last = symbols
        intents = [symbol for symbol in body if symbol in self._intents]
        label = self.vocab.join_intents(symbol - self._intents.start for symbol in intents)
        if last != END or body[: len(intents)] != sorted(set(intents)):
            return None
        if label not in (self.vocab.intents or ("",)):
            return None
        tokens, tags, tag = [], [], "O"
        for symbol in body[len(intents) :]:
            if symbol in self._tags and tag == "O":
                tag = self._tags[symbol]
            elif symbol in self._tokens:
                tokens.append(self._tokens[symbol])
                tags.append(tag)
                tag = "O"
            else:
                return None
        slots = self.vocab.tags_to_slots([self.vocab.tag_ids[tag] for tag in tags])
        if not tokens or tag != "O" or slots_to_tags(slots, len(tags), self.vocab.scheme) != tags:
            return None
        text, offsets = join_tokens(tokens, self.vocab.tokenizer.name)
        return Sentence(text, tokens, offsets, slots, label or None, pretokenized=True)
