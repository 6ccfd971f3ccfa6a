"""Suspects: labels that models which have not seen them disagree with.

The training sentences are divided into folds, and each fold is tagged by models of the others. A
label is a suspect if another is more probable there: a slot of another name or with other
boundaries, no slot, a slot where none is labelled, or another intent. Suspects are ranked by the
difference of the two probabilities, so that confident disagreement comes first.

Source: Northcutt, Jiang & Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels" (out-of-sample probabilities, and the margin between labels)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from os.path import relpath
from typing import Any

import numpy as np

from slotfill.config.sections import DataConfig
from slotfill.data.sentence import Sentence, Slot, intent_names
from slotfill.data.splits import read_split
from slotfill.data.stratification import draw_folds
from slotfill.evaluation.errors import SlotPair
from slotfill.inference.confidence import intent_confidences, slot_probabilities
from slotfill.inference.tagging import predict, tag_batches
from slotfill.lab.compare.job import Job, is_finished
from slotfill.lab.compare.plan import Plan
from slotfill.lab.compare.resampling import read_training_sentences
from slotfill.runs.load import Run, load_run

EXCERPT_WIDTH = 22
"""The most characters of a sentence that are shown on each side of a label."""

Candidate = Slot | str
"""A label that a sentence may have: a slot, one without a name for no slot there, or an intent."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that is likely to be wrong, and what the folds predict instead."""

    location: str
    """`file:line` of the sentence."""
    error: str
    """The error of the folds if the label is right, as `evaluate` calls it, or intent."""
    label: dict[str, Any] | str | None
    """The labelled slot, with character offsets, or intent; None if no slot is labelled."""
    predicted: dict[str, Any] | str | None
    """The predicted slot or intent; None if no slot is predicted."""
    label_probability: float
    confidence: float
    """The probability of what is predicted."""
    text: str

    @property
    def score(self) -> float:
        """How strongly the folds disagree with the label, from 0 to 1."""
        return self.confidence - self.label_probability

    def to_json(self) -> dict[str, Any]:
        """Return the suspect as JSON values."""
        return {"score": self.score, **asdict(self)}


def find_suspects(plan: Plan, data: DataConfig, device: str = "cpu") -> list[Suspect]:
    """Return the suspects among the training labels of `data`, the strongest first.

    `plan` is the cross-validation of one config on `data`. The probabilities of runs with several
    seeds are averaged; jobs that failed are left out.
    """
    training = read_training_sentences(data)
    folds = draw_folds(training, plan.folds)
    jobs_by_fold: dict[int, list[Job]] = defaultdict(list)
    for job in filter(is_finished, plan.jobs):
        jobs_by_fold[job.fold].append(job)
    suspects: list[Suspect] = []
    for number, jobs in jobs_by_fold.items():
        runs = [load_run(job.folder, device, "torch") for job in jobs]
        test = read_split(jobs[0].config.data, "test", tokenizer=runs[0].vocab.tokenizer).sentences
        for sentence, index in zip(test, folds[number - 1], strict=True):
            sentence.location = training[index].location
        suspects += _find_in_fold(runs, test)
    return sorted(suspects, key=lambda suspect: -suspect.score)


def _find_in_fold(runs: Sequence[Run], sentences: Sequence[Sentence]) -> Iterator[Suspect]:
    candidates: list[list[Candidate]] = []
    predictions = [predict(run.engine, run.vocab, sentences) for run in runs]
    for index, sentence in enumerate(sentences):
        slots = list(sentence.slots or ())
        intents = [sentence.intent]
        for prediction in predictions:
            slots += sentence.filter_known(prediction.slots[index])
            intents.append(prediction.intents[index])
        unnamed = [slot._replace(name="") for slot in slots]
        labels: list[Candidate] = [*slots, *unnamed, *filter(None, intents)]
        candidates.append(list(dict.fromkeys(labels)))
    by_run = [_compute_probabilities(run, sentences, candidates) for run in runs]
    names = {*runs[0].vocab.slot_names}, {*runs[0].vocab.intent_names}
    for index, sentence in enumerate(sentences):
        means = {}
        for candidate in candidates[index]:
            means[candidate] = float(np.mean([each[index][candidate] for each in by_run]))
        yield from _find_slots(sentence, means, names[0])
        yield from _find_intent(sentence, means, names[1])


def _compute_probabilities(
    run: Run, sentences: Sequence[Sentence], candidates: Sequence[Sequence[Candidate]]
) -> list[dict[Candidate, float]]:
    """Return the probabilities of the candidates of each sentence; 0 for unknown names."""
    result = [dict.fromkeys(own, 0.0) for own in candidates]
    vocab, calibration = run.vocab, run.calibration
    for batch in tag_batches(run.engine, vocab, sentences):
        slots = [[each for each in candidates[i] if isinstance(each, Slot)] for i in batch.indices]
        probabilities = slot_probabilities(
            batch.scores,
            batch.lengths,
            batch.tags,
            slots,
            vocab.tags_to_slots,
            calibration.slot_temperature,
        )
        for index, own_slots, row in zip(batch.indices, slots, probabilities, strict=True):
            result[index].update(zip(own_slots, row, strict=True))
        if (logits := batch.scores.intent_logits) is not None:
            for index, own_logits in zip(batch.indices, logits, strict=True):
                for intent in (each for each in candidates[index] if isinstance(each, str)):
                    result[index][intent] = _intent_probability(run, own_logits, intent)
    return result


def _intent_probability(run: Run, logits: np.ndarray, intent: str) -> float:
    """Return the probability of `intent`, given the logits of one sentence, `(intents,)`."""
    known, names = run.vocab.intent_names, intent_names(intent)
    if not set(names) <= set(known):
        return 0.0
    ids = [known.index(name) for name in names]
    temperature = run.calibration.intent_temperature
    return intent_confidences(logits[None], [ids], run.engine.is_multi_intent, temperature)[0]


def _find_slots(
    sentence: Sentence, probabilities: Mapping[Candidate, float], known: set[str]
) -> Iterator[Suspect]:
    """Yield the suspects among the slots, except those whose names the folds have never seen."""
    labels = sentence.slots or []
    alternatives = [s for s in probabilities if isinstance(s, Slot) and s.name and s not in labels]
    pairs: list[tuple[Slot | None, Slot]] = []
    for label in labels:
        if label.name in known:
            overlapping = list(filter(label.overlaps, alternatives))
            overlapping.append(label._replace(name=""))
            pairs.append((label, max(overlapping, key=lambda slot: probabilities[slot])))
    for alternative in alternatives:
        if not any(map(alternative.overlaps, labels)):
            pairs.append((None, alternative))
    for gold, alternative in pairs:
        label_probability = probabilities[gold or alternative._replace(name="")]
        if label_probability < probabilities[alternative]:
            predicted = alternative if alternative.name else None
            yield Suspect(
                sentence.location,
                SlotPair(gold, predicted).error or "",
                gold and sentence.slot_to_json(gold),
                predicted and sentence.slot_to_json(predicted),
                label_probability,
                probabilities[alternative],
                sentence.text,
            )


def _find_intent(
    sentence: Sentence, probabilities: Mapping[Candidate, float], known: set[str]
) -> Iterator[Suspect]:
    intents = {each: p for each, p in probabilities.items() if isinstance(each, str)}
    label = sentence.intent
    if not label or not set(intent_names(label)) <= known:
        return
    best = max(intents, key=lambda intent: intents[intent])
    if intents[best] > intents[label] and {*intent_names(best)} != {*intent_names(label)}:
        yield Suspect(
            sentence.location, "intent", label, best, intents[label], intents[best], sentence.text
        )


def tables(suspects: Sequence[Suspect]) -> list[tuple[str, list[list[str]]]]:
    """Return a table of suspects, if there are any, as a title and columns."""
    if not suspects:
        return []
    columns = [
        ["line", *(suspect.location.rpartition(":")[2] for suspect in suspects)],
        ["sentence", *map(_excerpt, suspects)],
        ["label", *(_describe(suspect.label) for suspect in suspects)],
        ["predicted", *map(_describe_prediction, suspects)],
        ["confidence", *(f"{suspect.confidence:.2f}" for suspect in suspects)],
    ]
    file = relpath(suspects[0].location.rpartition(":")[0])
    return [(f"Labels to check in {file}", columns)]


def _excerpt(suspect: Suspect) -> str:
    """Return the labelled words in brackets, with some of the words around them."""
    slot = suspect.label or suspect.predicted
    if not isinstance(slot, dict):
        return _cut(suspect.text, 2 * EXCERPT_WIDTH)
    before, after = suspect.text[: slot["start"]], suspect.text[slot["end"] :]
    return f"{_cut(before[::-1])[::-1]}[{slot['value']}]{_cut(after)}"


def _cut(text: str, width: int = EXCERPT_WIDTH) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _describe(label: dict[str, Any] | str | None) -> str:
    return label["name"] if isinstance(label, dict) else label or "no slot"


def _describe_prediction(suspect: Suspect) -> str:
    """Return what is predicted, with its words if they are not those of the label."""
    slot = suspect.predicted
    if isinstance(slot, dict) and suspect.error in ("boundary", "both"):
        return f"{slot['name']} [{slot['value']}]"
    return _describe(slot)
