"""Vocabulary: tokens, tags and intents of the training data, and indexers made from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from slotfill.data.indexers import (
    CharacterIndexer,
    GazetteerIndexer,
    Indexer,
    NgramIndexer,
    PieceIndexer,
    PretrainedIndexer,
    TokenIndexer,
)
from slotfill.data.schemes import SCHEMES, TagDecoder, all_tags, slots_to_tags
from slotfill.data.sentence import INTENT_SEPARATOR, Sentence, intent_names
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.values import KnownValues
from slotfill.errors import ConfigError, ErrorDetail, did_you_mean
from slotfill.files import parse_json


class Vocab:
    """The vocabulary of a model; the same vocabulary always gives the same ids.

    Attributes:
        tokens: The tokens of the training sentences, with their counts.
        tags: The tags that can be predicted; their positions are their ids.
        scheme: The tag scheme of `tags`.
        intents: The intents as they are labelled, such as `flight#airfare`, with their counts;
            empty if they are not learned.
        resources: What parts have read from files, by path.
        is_restored: Whether the vocabulary is that of a saved run, or continues it.
        restored_resources: The paths whose resources come from a saved run.
        source: The file that they come from.
        tokenizer: The tokenizer of the training sentences.
        num_labelled_tokens: The sum of `tokens` without those of unlabelled sentences.
        slot_descriptions: What slots mean in words, by name; only in training.
        unlabelled_slots: The names of slots without labelled examples; only in training.
        values: What is known of values beside the network.
    """

    def __init__(
        self,
        tokens: dict[str, int],
        tags: list[str],
        scheme: str,
        resources: dict[str, dict[str, Any]] | None = None,
        intents: dict[str, int] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.tokenizer = tokenizer or Tokenizer()
        self.values = KnownValues()
        self.tokens = tokens
        self.num_labelled_tokens = sum(tokens.values())
        self.slot_descriptions: dict[str, str] = {}
        self.unlabelled_slots: frozenset[str] = frozenset()
        self.tags = tags
        self.scheme = scheme
        self.intents = intents or {}
        self.resources = resources or {}
        self.restored_resources = frozenset(self.resources)
        self.source = "vocab.json"
        self.is_restored = False
        self.tag_ids = {tag: index for index, tag in enumerate(tags)}

    @classmethod
    def from_sentences(
        cls,
        sentences: Iterable[Sentence],
        scheme: str,
        resources: dict[str, dict[str, Any]] | None = None,
        *,
        intents: bool = False,
        tokenizer: Tokenizer | None = None,
        tags: Iterable[str] = (),
        text: Iterable[Sentence] = (),
        descriptions: Mapping[str, str] | None = None,
    ) -> Vocab:
        """Return the vocabulary of labelled `sentences`; tags that never occur are left out.

        Args:
            resources: Those of a resumed run.
            intents: Whether intents are learned.
            tags: Tags that can be predicted even if they never occur, if their slot does.
            text: Unlabelled sentences, whose words are added.
            descriptions: Descriptions of slots, by name, whose tags are added.
        """
        tokens, intent_counts = Counter[str](), Counter[str]()
        slot_names: set[str] = set()
        used_tags = {"O", *tags}
        for sentence in sentences:
            slots = sentence.slots or []
            tokens.update(sentence.tokens)
            slot_names.update(slot.name for slot in slots)
            used_tags.update(slots_to_tags(slots, len(sentence.tokens), scheme))
            if intents and sentence.intent:
                intent_counts[sentence.intent] += 1
        unlabelled = set(descriptions or ()) - slot_names
        letters = {tag.partition("-")[0] for tag in used_tags}
        used_tags.update(tag for tag in all_tags(unlabelled, scheme) if tag[0] in letters)
        tags = [tag for tag in all_tags(slot_names | unlabelled, scheme) if tag in used_tags]
        num_labelled_tokens = tokens.total()
        for sentence in text:
            tokens.update(sentence.tokens)
        vocab = cls(
            _sort_by_count(tokens),
            tags,
            scheme,
            resources,
            _sort_by_count(intent_counts),
            tokenizer,
        )
        vocab.num_labelled_tokens = num_labelled_tokens
        vocab.slot_descriptions = {**(descriptions or {})}
        vocab.unlabelled_slots = frozenset(unlabelled)
        return vocab

    def grow(self, sentences: Iterable[Sentence], text: Iterable[Sentence] = ()) -> Vocab:
        """Return this vocabulary, of a run, with what further training adds.

        Of `sentences` that the run was trained on, nothing is counted twice; of the unlabelled
        `text` the words are added.
        """
        own = Vocab.from_sentences(sentences, self.scheme, intents=bool(self.intents), text=text)
        names, used = {*self.slot_names, *own.slot_names}, {*self.tags, *own.tags}
        # `|` takes the larger count.
        tokens = Counter(self.tokens) | Counter(own.tokens)
        vocab = Vocab(
            _sort_by_count(tokens),
            [tag for tag in all_tags(names, self.scheme) if tag in used],
            self.scheme,
            self.resources,
            dict(Counter(self.intents) | Counter(own.intents)),
            self.tokenizer,
        )
        vocab.is_restored = True
        return vocab

    @cached_property
    def tags_to_slots(self) -> TagDecoder:
        """Converts the tag ids of a sentence to its slots."""
        return TagDecoder(self.tags, self.scheme)

    @cached_property
    def intent_names(self) -> list[str]:
        """The single intents in the order of `intents`; their positions are their ids."""
        return list(dict.fromkeys(name for intent in self.intents for name in intent_names(intent)))

    @property
    def is_multi_intent(self) -> bool:
        """Whether a training sentence has more than one intent."""
        return any(len(intent_names(intent)) > 1 for intent in self.intents)

    def intent_targets(self, sentences: Iterable[Sentence]) -> list[np.ndarray]:
        """Return the multi-hot `(intents,)` of each sentence; empty if intents are not learned.

        Those of a predicted intent are its confidence instead of 1.
        """
        rows = {
            intent: np.isin(self.intent_names, intent_names(intent)).astype(np.float32)
            for intent in self.intents
        }
        if not rows:
            return []
        targets = []
        for sentence in sentences:
            confidence = sentence.confidence.intent if sentence.confidence else None
            targets.append(rows[sentence.intent or ""] * (1 if confidence is None else confidence))
        return targets

    def join_intents(self, ids: Iterable[int]) -> str:
        """Join the intents `ids` into one label, in the order most frequent in training."""
        names = [self.intent_names[index] for index in ids]
        return self._canonical_intents.get(frozenset(names)) or INTENT_SEPARATOR.join(names)

    @cached_property
    def _canonical_intents(self) -> dict[frozenset[str], str]:
        """The most frequent label of each set of intents."""
        return {frozenset(intent_names(intent)): intent for intent in reversed(self.intents)}

    @cached_property
    def _lowercased(self) -> set[str]:
        return {token.lower() for token in self.tokens}

    @property
    def slot_names(self) -> list[str]:
        """The names of the slots that can be predicted, sorted."""
        return sorted({tag.partition("-")[2] for tag in self.tags} - {""})

    def contains_token(self, token: str) -> bool:
        """Return whether `token` occurs in the training sentences, ignoring case."""
        return token in self.tokens or token.lower() in self._lowercased

    def known_share(self, tokens: Sequence[str]) -> float:
        """Return the share of `tokens` that `contains_token`."""
        if all(map(self.tokens.__contains__, tokens)):  # Nearly always, and much faster.
            return 1.0
        return sum(map(self.contains_token, tokens)) / len(tokens)

    def indexer(self, settings: Mapping[str, Any]) -> Indexer:
        """Return the indexer with these `settings`, in which numbers may stand for files."""
        kind, options = settings["kind"], {**settings}
        del options["kind"]
        if kind == "ngram":
            return NgramIndexer(**options)
        if kind == "gazetteer":
            options["files"] = list(map(self._resource_file, options["files"]))
            lists = [self.resources[file]["phrases"] for file in options["files"]]
            return GazetteerIndexer(lists, **options)
        if kind == "piece":
            options["file"] = self._resource_file(options["file"])
            return PieceIndexer(self.resources[options["file"]], **options)
        if kind == "pretrained":
            options["file"] = self._resource_file(options["file"])
            return PretrainedIndexer(self.resources[options["file"]], self.tokens, **options)
        constructors = {"token": TokenIndexer, "character": CharacterIndexer}
        return constructors[kind](self.tokens, **options)

    def _resource_file(self, file: str | int) -> str:
        """Return the path of a file of `resources`, which is given as it is or as its number."""
        return list(self.resources)[file] if isinstance(file, int) else file

    def number_files(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of an indexer with the number in `resources` of each file.

        Their paths are those of one machine, and do not belong into an exported network.
        """
        numbers = {file: number for number, file in enumerate(self.resources)}
        numbered = {**settings}
        if "file" in settings:
            numbered["file"] = numbers[settings["file"]]
        if "files" in settings:
            numbered["files"] = [numbers[file] for file in settings["files"]]
        return numbered

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as JSON data."""
        data = {
            "tokenizer": self.tokenizer.to_json(),
            "scheme": self.scheme,
            "tags": self.tags,
            "intents": self.intents or None,
            "tokens": self.tokens,
            "resources": self.resources or None,
        }
        return {key: value for key, value in data.items() if value is not None}

    @classmethod
    def from_json(cls, content: bytes) -> Vocab:
        """Return the vocabulary that `to_json` gave; raises ValueError where it is not valid."""
        data = parse_json(content, _JSON_SHAPE)
        if data["scheme"] not in SCHEMES:
            raise ValueError(f"scheme {data['scheme']!r} is unknown")
        tags, resources, intents = data["tags"], data.get("resources"), data.get("intents")
        if not tags or len(set(tags)) < len(tags):
            raise ValueError("tags must be a list of different tags")
        if max((*data["tokens"].values(), *(intents or {}).values()), default=0) > _MAX_COUNT:
            raise ValueError(f"a count is above {_MAX_COUNT:,}")
        tokenizer = Tokenizer.from_json(data["tokenizer"])
        vocab = cls(data["tokens"], tags, data["scheme"], resources, intents, tokenizer)
        vocab.is_restored = True
        _ = vocab.tags_to_slots
        return vocab


def check_described_slots(
    names: Iterable[str], labelled: Collection[str], *, uses_names: bool
) -> None:
    """Raise ConfigError if `names`, those of `data.slots`, has one that cannot be learned.

    Args:
        labelled: The slots of the training sentences.
        uses_names: Whether the tagger predicts slots without examples from their names.
    """
    if not uses_names:
        hint = "predict it from its name with tagger: {name: crf, slot_names: true}"
        check_slot_names("data.slots", names, labelled, f"; label some, or {hint}")


def check_slot_names(
    key: str, names: Iterable[str], slots: Collection[str], remedy: str = ""
) -> None:
    """Raise ConfigError if `names`, below `key`, has one that is not a slot of training.

    The message ends in `remedy`.
    """
    if unknown := [name for name in names if name not in slots]:
        raise ConfigError(
            [
                ErrorDetail(
                    f"no training sentence has this slot{did_you_mean(name, slots)}{remedy}",
                    f"{key}.{name}",
                )
                for name in unknown
            ]
        )


_MAX_COUNT = 10**15
_JSON_SHAPE = {
    "tokenizer": {"name": str, "normalization": str, "prefixes": [[str]], "suffixes": [[str]]},
    "scheme": str,
    "tags": [str],
    "tokens": {str: int},
    "intents": (None, {str: int}),
    "resources": (None, {str: {}}),
}


def _sort_by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
