"""Generation: labelled sentences that the generator of a run samples."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split
from slotfill.errors import SlotfillError
from slotfill.runs.load import GeneratorRun

SAMPLES = 50
"""At most so many samples are drawn for each sentence that is asked for."""


@dataclass(slots=True)
class Generated:
    """Sampled sentences, and how many samples are not among them."""

    sentences: list[Sentence] = field(default_factory=list)
    malformed: int = 0
    """Samples that are no labelled sentence, see `Linearization.decode`."""
    of_training: int = 0
    """Sentences with the tokens of a training sentence."""
    repeated: int = 0
    """Sentences with the tokens of an earlier sample."""

    @property
    def samples(self) -> int:
        """The number of samples that were drawn."""
        return len(self.sentences) + self.malformed + self.of_training + self.repeated


def generate(run: GeneratorRun, number: int, seed: int, training: Iterable[Sentence]) -> Generated:
    """Return `number` different sentences that are not in `training`.

    They are fewer if the generator has few others. The same seed gives the same sentences, of which
    more begin with those of a smaller `number`.
    """
    known = {tuple(sentence.tokens) for sentence in training}
    seen: set[tuple[str, ...]] = set()
    result = Generated()
    samples = run.generator.sample(seed)
    while len(result.sentences) < number and result.samples < SAMPLES * number:
        sentence = next(samples)
        if sentence is None:
            result.malformed += 1
        elif (tokens := tuple(sentence.tokens)) in known:
            result.of_training += 1
        elif tokens in seen:
            result.repeated += 1
        else:
            seen.add(tokens)
            result.sentences.append(sentence)
    return result


def read_training_sentences(run: GeneratorRun) -> list[Sentence] | None:
    """Return the training sentences of `run`; None if they are gone or cannot be read."""
    with suppress(SlotfillError):
        return read_split(run.config.data, "train", tokenizer=run.vocab.tokenizer).sentences
    return None
