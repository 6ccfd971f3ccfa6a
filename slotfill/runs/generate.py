"""Generation: labelled sentences that the generator of a run samples."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split, split_names
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
    copies: int = 0
    """Sentences with the tokens of a labelled one."""
    repeated: int = 0
    """Sentences with the tokens of an earlier sample."""

    @property
    def samples(self) -> int:
        """The number of samples that were drawn."""
        return len(self.sentences) + self.malformed + self.copies + self.repeated


def generate(run: GeneratorRun, number: int, seed: int, labelled: Iterable[Sentence]) -> Generated:
    """Return `number` different sentences that are not in `labelled`.

    They are fewer if the generator has few others. The same seed gives the same sentences, of which
    more begin with those of a smaller `number`.
    """
    known = {tuple(sentence.tokens) for sentence in labelled}
    seen: set[tuple[str, ...]] = set()
    result = Generated()
    samples = run.generator.sample(seed)
    while len(result.sentences) < number and result.samples < SAMPLES * number:
        sentence = next(samples)
        if sentence is None:
            result.malformed += 1
        elif (tokens := tuple(sentence.tokens)) in known:
            result.copies += 1
        elif tokens in seen:
            result.repeated += 1
        else:
            seen.add(tokens)
            result.sentences.append(sentence)
    return result


def read_labelled(run: GeneratorRun) -> list[Sentence] | None:
    """Return the sentences of train and of valid, held out or not; None if they cannot be read."""
    data, tokenizer = run.config.data, run.vocab.tokenizer
    with suppress(SlotfillError):
        splits = {"train", "valid"}.intersection(split_names(data))
        read = [read_split(data, split, tokenizer=tokenizer).sentences for split in splits]
        return [sentence for sentences in read for sentence in sentences]
    return None
