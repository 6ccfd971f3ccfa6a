"""Augmentation: new sentences made from labelled ones.

Mention replacement: the value of a slot is replaced by another value that the training sentences
have for a slot of the same name.

Source: Dai & Adel 2020, "An Analysis of Simple Data Augmentation for Named Entity Recognition"
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slotfill.data.sentence import Sentence, Slot

REPLACED = 0.5
"""The probability that a slot gets another value."""

_MAX_TRIES = 20
"""How often a sentence is drawn for each that is wanted: most draws of few sentences are known."""


def replace_mentions(sentences: Sequence[Sentence], count: int, seed: int) -> list[Sentence]:
    """Return up to `count` sentences with values replaced, all different and none of `sentences`.

    Each different value of a slot is as likely. They have the slots of the sentence they are made
    from, and its intent.
    """
    values: dict[str, dict[tuple[str, ...], None]] = {}
    for sentence in sentences:
        for name, start, end in sentence.slots or ():
            values.setdefault(name, {})[tuple(sentence.tokens[start:end])] = None
    choices = {name: list(own) for name, own in values.items()}
    sources = [each for each in sentences if each.slots and not each.unknown]
    known = {tuple(sentence.tokens) for sentence in sentences}
    random = np.random.default_rng(seed)
    made: list[Sentence] = []
    for _ in range(count * _MAX_TRIES if sources else 0):
        if len(made) == count:
            break
        source = sources[random.integers(len(sources))]
        new = _replace_values(source, choices, random)
        if tuple(new.tokens) not in known:
            known.add(tuple(new.tokens))
            made.append(new)
    return made


def _replace_values(
    sentence: Sentence, choices: dict[str, list[tuple[str, ...]]], random: np.random.Generator
) -> Sentence:
    tokens: list[str] = []
    slots = []
    done = 0
    for name, start, end in sentence.slots or ():
        tokens += sentence.tokens[done:start]
        value: Sequence[str] = sentence.tokens[start:end]
        if random.random() < REPLACED:
            value = choices[name][random.integers(len(choices[name]))]
        slots.append(Slot(name, len(tokens), len(tokens) + len(value)))
        tokens += value
        done = end
    tokens += sentence.tokens[done:]
    return Sentence.from_tokens(tokens, slots, sentence.intent, sentence.location)
