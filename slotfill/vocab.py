"""Vocab: what training has seen, as readable JSON, and the lookups made from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from slotfill.lookup import CharacterLookup, KeptLookup, NgramLookup, TokenLookup
from slotfill.schemes import SlotReader, tag_set, tags_of
from slotfill.sentence import Sentence


class Vocab:
    """The tokens of the training sentences with their counts, the tags, and what parts have `kept` of files.

    Everything else is derived from these, so the same vocabulary always gives the same ids.
    """

    def __init__(
        self, tokens: dict[str, int], tags: list[str], scheme: str, kept: dict[str, dict[str, Any]] | None = None
    ) -> None:
        self.tokens = tokens
        self.tags = tags
        self.scheme = scheme
        self.kept = kept or {}
        # What these parts have taken of their files is saved with the run, and not read again.
        self.saved = frozenset(self.kept)
        self.tag_ids = {tag: index for index, tag in enumerate(tags)}

    @classmethod
    def of(cls, sentences: Iterable[Sentence], scheme: str, kept: dict[str, dict[str, Any]] | None = None) -> Vocab:
        """Return the vocabulary of labelled `sentences`, with the tags that their slots are written in by `scheme`.

        A tag that none of them has, as I-city where cities are one word, would never be given either, but take time.
        `kept` is what the parts of a run that goes on have kept of files.
        """
        counts: Counter[str] = Counter()
        names: set[str] = set()
        seen = {"O"}
        for sentence in sentences:
            counts.update(sentence.tokens)
            slots = sentence.slots or []
            names.update(slot.name for slot in slots)
            seen.update(tags_of(slots, len(sentence.tokens), scheme))
        ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        return cls(ordered, [tag for tag in tag_set(names, scheme) if tag in seen], scheme, kept)

    @cached_property
    def slots_of(self) -> SlotReader:
        """What reads the slots of a sentence from the ids of its tags."""
        return SlotReader(self.tags, self.scheme)

    @cached_property
    def _lowercased(self) -> set[str]:
        return {token.lower() for token in self.tokens}

    @property
    def slot_names(self) -> list[str]:
        """The slots that the tags are of, sorted."""
        return sorted({tag.partition("-")[2] for tag in self.tags} - {""})

    def knows(self, token: str) -> bool:
        """Return whether `token` was in the training sentences, in whatever case."""
        return token in self.tokens or token.lower() in self._lowercased

    def token_lookup(self, *, lowercase: bool, mask_digits: bool, min_count: int) -> TokenLookup:
        """Return the lookup of whole tokens; one seen fewer than `min_count` times is unknown."""
        return TokenLookup(self.tokens, lowercase, mask_digits, min_count)

    def character_lookup(self, *, lowercase: bool, max_length: int) -> CharacterLookup:
        """Return the lookup of the characters of each token, cut after `max_length` of them."""
        return CharacterLookup(self.tokens, lowercase, max_length)

    def ngram_lookup(self, *, lowercase: bool, sizes: range, min_count: int) -> NgramLookup:
        """Return the lookup of n-grams of `sizes` characters that `min_count` words of training have."""
        return NgramLookup.of(self.tokens, lowercase, sizes, min_count)

    def kept_lookup(self, *, file: str, lowercase: bool) -> KeptLookup:
        """Return the lookup of the words kept of a file of vectors; those of training have the lowest ids."""
        return KeptLookup(self.kept[file], self.tokens, file, lowercase)

    def lookup(self, settings: Mapping[str, Any]) -> TokenLookup | CharacterLookup | NgramLookup | KeptLookup:
        """Return the lookup that has these `settings`."""
        options = dict(settings)
        kinds: dict[str, Callable[..., Any]] = {
            "token": self.token_lookup,
            "character": self.character_lookup,
            "ngram": NgramLookup,
            "kept": self.kept_lookup,
        }
        return kinds[options.pop("of")](**options)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as what JSON can hold."""
        kept = {"kept": self.kept} if self.kept else {}
        return {"format": 1, "scheme": self.scheme, "tags": self.tags, "tokens": self.tokens, **kept}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Vocab:
        """Return the vocabulary that `to_json` gave."""
        return cls(data["tokens"], data["tags"], data["scheme"], data.get("kept"))
