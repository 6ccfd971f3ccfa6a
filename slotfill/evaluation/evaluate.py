"""Evaluation: tag labelled sentences and score the result."""

from __future__ import annotations

from collections.abc import Sequence

from slotfill.data.sentence import Sentence, intent_names
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError
from slotfill.evaluation.metrics import Score, intent_accuracy, score, score_intents, slot_f1
from slotfill.inference.engine import Engine
from slotfill.inference.tagging import label


def validation_metrics(
    model: Engine, vocab: Vocab, sentences: Sequence[Sentence]
) -> tuple[float, float | None]:
    """Return the F1 of slots alone, and the accuracy of intents, None where `model` has not learned
    any.
    """
    slots, intents = label(model, vocab, sentences)
    return slot_f1(sentences, slots), intent_accuracy(sentences, intents) if vocab.intents else None


def evaluate(model: Engine, vocab: Vocab, sentences: Sequence[Sentence]) -> Score:
    """Return the score of `model` on labelled `sentences`, with what in them it has never seen.

    Intents are scored where `model` has learned them and the sentences have some. Raises DataError
    where one has none.
    """
    slots, intents = label(model, vocab, sentences)
    result = score(sentences, slots)
    result.unknown_words = sum(
        not vocab.contains_token(token) for sentence in sentences for token in sentence.tokens
    )
    known = set(vocab.slot_names)
    unknown = [
        slot.name
        for sentence in sentences
        for slot in sentence.slots or ()
        if slot.name not in known
    ]
    result.unknown_slots = len(unknown)
    result.unknown_names = sorted(set(unknown))
    if vocab.intents and any(sentence.intent for sentence in sentences):
        names = [intent_names(sentence.intent) for sentence in sentences]
        if [] in names:
            place = sentences[names.index([])].location
            raise DataError(f"{place}: the sentence has no intent, though others have; give it one")
        result.intent = score_intents(sentences, slots, intents)
        known = set(vocab.intent_names)
        unknown = [name for each in names for name in each if name not in known]
        result.intent.unknown_intents = len(unknown)
        result.intent.unknown_names = sorted(set(unknown))
    return result
