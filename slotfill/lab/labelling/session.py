"""Labelling one sentence after the other: the pool, the order, what is predicted, what is saved."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from slotfill.data.alignment import align
from slotfill.data.corpus import read_texts
from slotfill.data.sentence import (
    MAX_CHARACTERS,
    MAX_TOKENS,
    Example,
    Sentence,
    check_size,
)
from slotfill.data.tokenizers import Tokenizer, is_empty
from slotfill.errors import DataError
from slotfill.lab.labelling.labels import LabelFile
from slotfill.lab.labelling.ranking import Ranking
from slotfill.lab.labelling.training import BackgroundTraining
from slotfill.runs.predict import Predictor

Trained = tuple[Predictor, tuple[list[int], Ranking]]
"""A run, and the order that it gives: the indices of sentences and their ranking."""

RANKED = 2000
"""So many of the sentences that are left, drawn at random, are ranked, which takes a second."""


def read_unlabelled(path: Path, labels: LabelFile, tokenizer: Tokenizer) -> list[Sentence]:
    """Return the sentences of `path` that are not in `labels`, each once.

    Raises DataError if the file cannot be read, or has no sentence.
    """
    done = {example.text for example in labels.examples}
    examples = {example.text: example for example in read_texts(path) if not is_empty(example.text)}
    if not examples:
        raise DataError(f"{path}: no sentences to label")
    sentences = []
    for text, example in examples.items():
        check_size(len(text), "character", MAX_CHARACTERS, example.location)
        sentence = tokenizer.tokenize(text, example.location)
        check_size(len(sentence.tokens), "token", MAX_TOKENS, example.location)
        if text not in done:
            sentences.append(sentence)
    return sentences


class Session:
    """What is labelled, what is left, and which sentence is next.

    Attributes:
        slot_names: The names to choose from, in the order in which they came up.
        intents: The intents to choose from; None if intents are not labelled.
        learned: How many labelled sentences the run that predicts has learned.
    """

    def __init__(
        self,
        sentences: Sequence[Sentence],
        labels: LabelFile,
        tokenizer: Tokenizer,
        tagger: Predictor | None = None,
        training: BackgroundTraining[Trained] | None = None,
        every: int = 0,
        *,
        slot_names: Iterable[str] = (),
        intents: bool = False,
        learned: int = 0,
        seed: int = 1,
    ) -> None:
        """Label `sentences`, none of which is in `labels` yet.

        `tagger` predicts their slots, if there is one, and has learned `learned` of `labels`;
        `training` replaces it after `every` new labels.
        """
        self.labels = labels
        self.tagger = tagger
        self.training = training
        self.every = every
        self.learned = learned
        known = align(labels.examples, tokenizer, "widen", False)
        vocab = tagger.run.vocab if tagger else None
        names = [*(vocab.slot_names if vocab else ()), *slot_names]
        names += [slot.name for each in known for slot in each.slots or ()]
        self.slot_names = list(dict.fromkeys(names))
        self.intents: list[str] | None = None
        if intents:
            found = [*(vocab.intents if vocab else ()), *(each.intent or "" for each in known)]
            self.intents = [each for each in dict.fromkeys(found) if each]
        self._labelled = [sentence.tokens for sentence in known]
        self._sentences = list(sentences)
        self._left = set(range(len(sentences)))
        self._skipped: set[int] = set()
        self._answered: list[int] = []
        self._random = random.Random(seed)
        self._submitted = learned
        """How many labelled sentences are learned, or being learned."""
        self._ranked, self._ranking = self._rank(tagger)
        self._current = -1
        if training and len(labels) > learned:
            self._train()

    @property
    def count_left(self) -> int:
        """How many sentences are not labelled."""
        return len(self._left)

    def next(self) -> Sentence | None:
        """Return the most useful sentence with what is predicted for it; None if none is left.

        Those that were skipped come after all others.
        """
        if (position := self._ranking.next()) is None:
            if self._left <= self._skipped:
                self._skipped.clear()
            self._ranked, self._ranking = self._rank(self.tagger)
            if (position := self._ranking.next()) is None:
                return None
        self._current = self._ranked[position]
        sentence = self._sentences[self._current]
        if self.tagger is not None:
            (sentence,) = self.tagger.tag([Example(sentence.text, location=sentence.location)])
        return replace(sentence, slots=[*(sentence.slots or ())])

    def accept(self, sentence: Sentence) -> None:
        """Save the labels of the sentence that `next` or `undo` has returned."""
        self.labels.add(sentence)
        self._take()
        self._left.remove(self._current)
        self._answered.append(self._current)
        self._labelled.append(sentence.tokens)
        names = [slot.name for slot in sentence.slots or ()]
        self.slot_names += [each for each in dict.fromkeys(names) if each not in self.slot_names]
        if self.intents is not None and sentence.intent and sentence.intent not in self.intents:
            self.intents.append(sentence.intent)

    def skip(self) -> None:
        """Leave the sentence for later."""
        self._take()
        self._skipped.add(self._current)

    def undo(self) -> Sentence | None:
        """Take back the label that was saved last, and return its sentence; None if there is none.

        Raises what `LabelFile.remove_last` raises.
        """
        if not self._answered:
            return None
        sentence = self.labels.remove_last()
        self._current = self._answered.pop()
        self._labelled.pop()
        self._left.add(self._current)
        return sentence

    def poll(self) -> bool:
        """Use a run that has been trained, and train if it is time; return whether one is new."""
        if self.training is None:
            return False
        found = self.training.collect()
        if found is not None:
            (self.tagger, (self._ranked, self._ranking)), self.learned = found, self._submitted
            for position, index in enumerate(self._ranked):  # Answered in the meantime.
                if index not in self._left or index in self._skipped:
                    self._ranking.take(position)
        if not self.training.is_running and len(self.labels) - self._submitted >= self.every:
            self._train()
        return found is not None

    def _train(self) -> None:
        assert self.training is not None
        self._submitted = len(self.labels)
        self.training.start(lambda tagger: (tagger, self._rank(tagger)))

    def _take(self) -> None:
        if self._current in self._ranked:
            self._ranking.take(self._ranked.index(self._current))

    def _rank(self, tagger: Predictor | None) -> tuple[list[int], Ranking]:
        """Return the indices of some of the sentences that are left, and their ranking."""
        indices = sorted(self._left - self._skipped)
        indices = self._random.sample(indices, min(len(indices), RANKED))
        sentences = [self._sentences[index] for index in indices]
        ranking = Ranking([each.tokens for each in sentences], list(self._labelled))
        if tagger is not None:
            texts = [Example(each.text) for each in sentences]
            ranking.set_confidences([measure_confidence(each) for each in tagger.tag(texts)])
        return indices, ranking


def measure_confidence(sentence: Sentence) -> float:
    """Return the probability of the slots of a tagged sentence, and of its intent, together."""
    assert sentence.confidence is not None
    intent = 1.0 if sentence.confidence.intent is None else sentence.confidence.intent
    return intent * sentence.confidence.reading
