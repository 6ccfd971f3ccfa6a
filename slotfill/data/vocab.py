"""Vocab: what training has seen, as readable JSON, and the indexers made from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from slotfill.data.indexers import CharacterIndexer, NgramIndexer, PretrainedIndexer, TokenIndexer
from slotfill.data.schemes import SCHEMES, TagDecoder, all_tags, slots_to_tags
from slotfill.data.sentence import INTENT_SEPARATOR, Sentence, intent_names
from slotfill.data.tokenizers import Tokenizer
from slotfill.files import parse_json


class Vocab:
    """The tokens of the training sentences with their counts, the tags, the intents, and what parts
    `kept` of files.

    `intents`, where they are learned, are as the sentences have them, such as `flight#airfare`,
    with their counts. Everything else is derived from these, so the same vocabulary always gives
    the same ids.
    """

    def __init__(
        self,
        tokens: dict[str, int],
        tags: list[str],
        scheme: str,
        kept: dict[str, dict[str, Any]] | None = None,
        intents: dict[str, int] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.tokenizer = tokenizer or Tokenizer()
        self.tokens = tokens
        self.tags = tags
        self.scheme = scheme
        self.intents = intents or {}
        self.kept = kept or {}
        # What these parts have taken of their files is saved with the run, and not read again.
        self.saved = frozenset(self.kept)
        self.tag_ids = {tag: index for index, tag in enumerate(tags)}

    @classmethod
    def from_sentences(
        cls,
        sentences: Iterable[Sentence],
        scheme: str,
        kept: dict[str, dict[str, Any]] | None = None,
        *,
        intents: bool = False,
        tokenizer: Tokenizer | None = None,
    ) -> Vocab:
        """Return the vocabulary of labelled `sentences`, with the tags that their slots are written
        in by `scheme`.

        It has their intents where `intents` are learned.
        A tag that none of them has, as I-city where cities are one word, would never be given
        either, but take time. `kept` is what the parts of a run that goes on have kept of files.
        """
        counts: Counter[str] = Counter()
        found: Counter[str] = Counter()
        names: set[str] = set()
        seen = {"O"}
        for sentence in sentences:
            counts.update(sentence.tokens)
            found.update([sentence.intent] if intents and sentence.intent else ())
            slots = sentence.slots or []
            names.update(slot.name for slot in slots)
            seen.update(slots_to_tags(slots, len(sentence.tokens), scheme))
        tags = [tag for tag in all_tags(names, scheme) if tag in seen]
        return cls(_by_count(counts), tags, scheme, kept, _by_count(found), tokenizer)

    @cached_property
    def tags_to_slots(self) -> TagDecoder:
        """What reads the slots of a sentence from the ids of its tags."""
        return TagDecoder(self.tags, self.scheme)

    @cached_property
    def intent_names(self) -> list[str]:
        """Each intent by itself, as they come in `intents`: those are the ids."""
        return list(dict.fromkeys(name for intent in self.intents for name in intent_names(intent)))

    @property
    def is_multi_intent(self) -> bool:
        """Whether a training sentence has more than one intent."""
        return any(len(intent_names(intent)) > 1 for intent in self.intents)

    def intent_targets(self, sentences: Iterable[Sentence]) -> list[np.ndarray]:
        """Return `(intents,)` for each training sentence: 1 for its own, 0 for the others; no row
        if not learned.
        """
        rows = {
            intent: np.isin(self.intent_names, intent_names(intent)).astype(np.float32)
            for intent in self.intents
        }
        return [rows[sentence.intent or ""] for sentence in sentences] if rows else []

    def join_intents(self, ids: Iterable[int]) -> str:
        """Return the intents with these `ids` as one: as the training sentences mostly write it, or
        in order of ids.
        """
        names = [self.intent_names[index] for index in ids]
        return self._written.get(frozenset(names)) or INTENT_SEPARATOR.join(names)

    @cached_property
    def _written(self) -> dict[frozenset[str], str]:
        """How each set of intents is written; the most frequent way is the first."""
        return {frozenset(intent_names(intent)): intent for intent in reversed(self.intents)}

    @cached_property
    def _lowercased(self) -> set[str]:
        return {token.lower() for token in self.tokens}

    @property
    def slot_names(self) -> list[str]:
        """The slots that the tags are of, sorted."""
        return sorted({tag.partition("-")[2] for tag in self.tags} - {""})

    def contains_token(self, token: str) -> bool:
        """Return whether `token` was in the training sentences, in whatever case."""
        return token in self.tokens or token.lower() in self._lowercased

    def token_indexer(self, *, lowercase: bool, mask_digits: bool, min_count: int) -> TokenIndexer:
        """Return the lookup of whole tokens; one seen fewer than `min_count` times is unknown."""
        return TokenIndexer(self.tokens, lowercase, mask_digits, min_count)

    def character_indexer(self, *, lowercase: bool, max_length: int) -> CharacterIndexer:
        """Return the lookup of the characters of each token, cut after `max_length` of them."""
        return CharacterIndexer(self.tokens, lowercase, max_length)

    def ngram_indexer(self, *, lowercase: bool, sizes: range, min_count: int) -> NgramIndexer:
        """Return the lookup of n-grams of `sizes` characters that `min_count` words of training
        have.
        """
        return NgramIndexer.from_words(self.tokens, lowercase, sizes, min_count)

    def pretrained_indexer(self, *, file: str, lowercase: bool) -> PretrainedIndexer:
        """Return the lookup of the words kept of a file of vectors; those of training have the
        lowest ids.
        """
        return PretrainedIndexer(self.kept[file], self.tokens, file, lowercase)

    def lookup(
        self, settings: Mapping[str, Any]
    ) -> TokenIndexer | CharacterIndexer | NgramIndexer | PretrainedIndexer:
        """Return the lookup that has these `settings`."""
        options = dict(settings)
        kinds: dict[str, Callable[..., Any]] = {
            "token": self.token_indexer,
            "character": self.character_indexer,
            "ngram": NgramIndexer,
            "kept": self.pretrained_indexer,
        }
        return kinds[options.pop("of")](**options)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as what JSON can hold."""
        intents = {"intents": self.intents} if self.intents else {}
        kept = {"kept": self.kept} if self.kept else {}
        return {
            "tokenizer": self.tokenizer.to_json(),
            "scheme": self.scheme,
            "tags": self.tags,
            **intents,
            "tokens": self.tokens,
            **kept,
        }

    @classmethod
    def from_json(cls, content: bytes) -> Vocab:
        """Return the vocabulary that `to_json` gave; raises ValueError where it is not valid."""
        data = parse_json(content, _JSON_SHAPE)
        if data["scheme"] not in SCHEMES:
            raise ValueError(f"scheme {data['scheme']!r} is unknown")
        tags, resources, intents = data["tags"], data.get("kept"), data.get("intents")
        if not tags or len(set(tags)) < len(tags):
            raise ValueError("tags must be a list of different tags")
        "".join((*data["tokens"], *tags, *(intents or ()))).encode()  # No half of a character.
        tokenizer = Tokenizer.from_json(data["tokenizer"])
        vocab = cls(data["tokens"], tags, data["scheme"], resources, intents, tokenizer)
        _ = vocab.tags_to_slots
        return vocab


_JSON_SHAPE = {
    "tokenizer": {"name": str, "normalization": str, "prefixes": [[str]], "suffixes": [[str]]},
    "scheme": str,
    "tags": [str],
    "tokens": {str: int},
    "intents": (None, {str: int}),
    "kept": (None, {str: {}}),
}


def _by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
