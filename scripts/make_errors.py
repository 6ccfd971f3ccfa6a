"""Write docs/errors.md: the errors of the runs of docs/results.md, and what they have in common.

    python scripts/make_errors.py                analyse the runs of scripts/make_results.py
    python scripts/make_errors.py --list snips   list the sentences that most seeds get wrong

Manual annotations are in scripts/annotated_errors.yaml, by corpus and index of the test sentence.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from make_results import ROOT, RUNS, run_folder, spread, table
from measured import BILSTM_CRF, record

from slotfill.data.sentence import Sentence, Slot
from slotfill.data.splits import read_split
from slotfill.evaluation.metrics import slot_f1
from slotfill.inference.tagging import predict
from slotfill.runs.load import Run, load_run

PAGE = ROOT / "docs" / "errors.md"
ANNOTATIONS = ROOT / "scripts" / "annotated_errors.yaml"
CORPORA = ("atis", "snips", "mit_restaurant")
ERROR_TYPES = ("name", "boundary", "both", "missed", "spurious")
Slots = frozenset[Slot]


@dataclass
class Corpus:
    """The training and test sentences of one corpus, and the predictions of each run on test."""

    name: str
    train: list[Sentence]
    test: list[Sentence]
    predictions: list[list[Slots]]
    known: Run

    @classmethod
    def from_runs(cls, name: str, seeds: Iterable[int]) -> Corpus:
        """Tag the test sentences of a config with its runs."""
        runs = [
            load_run(run_folder(name, seed)) for seed in seeds if run_folder(name, seed).exists()
        ]
        if not runs:
            raise SystemExit(
                f"no runs of {name} in {RUNS.relative_to(ROOT)}: python scripts/make_results.py"
            )
        train, test = (
            read_split(runs[0].config.data, split).sentences for split in ("train", "test")
        )
        predictions = [
            [frozenset(slots) for slots in predict(run.engine, run.vocab, test)[0]] for run in runs
        ]
        return cls(name, train, test, predictions, runs[0])

    def gold_slots(self, number: int) -> Slots:
        """Return the gold slots of a test sentence."""
        return frozenset(self.test[number].slots or ())

    def count_wrong(self) -> dict[int, int]:
        """Return by sentence how many seeds get it wrong, without those that none does."""
        counts = {}
        for number in range(len(self.test)):
            if count := sum(run[number] != self.gold_slots(number) for run in self.predictions):
                counts[number] = count
        return counts


def kind(slot: Slot, others: Slots) -> str:
    """Return the type of the error that `slot` is not among `others`."""
    over = [other for other in others if other.start < slot.end and slot.start < other.end]
    if any((other.start, other.end) == (slot.start, slot.end) for other in over):
        return "name"
    if any(other.name == slot.name for other in over):
        return "boundary"
    return "both" if over else "missed"


def kinds(corpus: Corpus) -> list[str]:
    """Return the row of the percentages of error types, mean over the seeds."""
    shares: dict[str, list[float]] = defaultdict(list)
    unknown: list[float] = []
    for run in corpus.predictions:
        counts: Counter[str] = Counter()
        strange = 0
        for number, (sentence, predicted) in enumerate(zip(corpus.test, run, strict=True)):
            gold = corpus.gold_slots(number)
            for slot in gold - predicted:
                counts[kind(slot, predicted)] += 1
                strange += any(
                    not corpus.known.vocab.contains_token(token)
                    for token in sentence.tokens[slot.start : slot.end]
                )
            counts["spurious"] += sum(kind(slot, gold) == "missed" for slot in predicted - gold)
        for error_type in ERROR_TYPES:
            shares[error_type].append(100 * counts[error_type] / counts.total())
        unknown.append(100 * strange / (counts.total() - counts["spurious"]))
    return [f"{statistics.mean(shares[error_type]):.0f} %" for error_type in ERROR_TYPES] + [
        f"{statistics.mean(unknown):.0f} %"
    ]


def agreement(corpus: Corpus) -> list[str]:
    """Return the row of the agreement of seeds on errors, and of the F1 of their oracle."""
    wrong = corpus.count_wrong()
    seeds = len(corpus.predictions)
    always = [number for number, count in wrong.items() if count == seeds]
    alike = [number for number in always if len({run[number] for run in corpus.predictions}) == 1]
    best = [
        max(
            (run[number] for run in corpus.predictions),
            key=lambda slots: len(slots & gold) - len(slots - gold),
        )
        for number, gold in enumerate(map(corpus.gold_slots, range(len(corpus.test))))
    ]
    ordered = [sorted(slots, key=lambda slot: slot.start) for slots in best]
    return [
        spread(
            [slot_f1(corpus.test, [list(slots) for slots in run]) for run in corpus.predictions]
        ),
        str(len(corpus.test)),
        str(len(wrong)),
        str(len(always)),
        str(len(alike)),
        f"{slot_f1(corpus.test, ordered):.2f}",
    ]


def count_values(sentences: Iterable[Sentence]) -> dict[str, Counter[str]]:
    """Return how often each lower-case value fills each slot."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for slot in sentence.slots or ():
            counts[sentence.value(slot).lower()][slot.name] += 1
    return counts


def compare_with_training(corpus: Corpus) -> list[str]:
    """Return the row of slots with a wrong name by the labels of their values in training."""
    values = count_values(corpus.train)
    counts: Counter[str] = Counter()
    for number in range(len(corpus.test)):
        for slot in corpus.gold_slots(number):
            others = [
                other.name
                for run in corpus.predictions
                if slot not in run[number]
                for other in run[number]
                if (other.start, other.end) == (slot.start, slot.end)
            ]
            if 2 * len(others) <= len(corpus.predictions):
                continue
            predicted = Counter(others).most_common(1)[0][0]
            known = values.get(corpus.test[number].value(slot).lower(), Counter())
            counts["all"] += 1
            if not known:
                counts["never"] += 1
            elif known[predicted] and not known[slot.name]:
                counts["only"] += 1
            elif known[predicted] > known[slot.name]:
                counts["mostly"] += 1
            else:
                counts["gold"] += 1
    return [str(counts[error_type]) for error_type in ("all", "only", "mostly", "gold", "never")]


def count_contradictions(corpus: Corpus) -> list[str]:
    """Return the row of how the training sentences that stand there more than once are labelled."""
    labelled: dict[tuple[str, ...], list[Slots]] = defaultdict(list)
    for sentence in corpus.train:
        labelled[lower_tokens(sentence)].append(frozenset(sentence.slots or ()))
    repeated = [labels for labels in labelled.values() if len(labels) > 1]
    inconsistent = [labels for labels in repeated if len(set(labels)) > 1]
    both = differ = 0
    for number, sentence in enumerate(corpus.test):
        if labels := labelled.get(lower_tokens(sentence)):
            both += 1
            differ += corpus.gold_slots(number) not in labels
    return [str(len(repeated)), str(len(inconsistent)), str(both), str(differ)]


def lower_tokens(sentence: Sentence) -> tuple[str, ...]:
    """Return the tokens of a sentence in lower case."""
    return tuple(token.lower() for token in sentence.tokens)


def count_annotations(corpus: Corpus, verdicts: dict[int, str]) -> list[str]:
    """Return the row of manual annotations of sentences that most seeds get wrong."""
    wrong = [
        number
        for number, count in corpus.count_wrong().items()
        if 2 * count > len(corpus.predictions)
    ]
    read = [verdicts[number] for number in wrong if number in verdicts]
    counts = Counter(read)
    named = [
        f"{counts[error_type]} ({100 * counts[error_type] / len(read):.0f} %)"
        for error_type in ("label", "either", "tagger")
    ]
    return [str(len(wrong)), str(len(read)), *named]


def write_list(corpus: Corpus) -> None:
    """Print sentences that more than half of the seeds get wrong: index, label and prediction."""
    for number, count in corpus.count_wrong().items():
        if 2 * count <= len(corpus.predictions):
            continue
        sentence = corpus.test[number]
        usual = Counter(
            run[number] for run in corpus.predictions if run[number] != corpus.gold_slots(number)
        ).most_common(1)[0][0]
        print(f"{number}: {' '.join(sentence.tokens)}")
        print("   labelled", _shown(sentence, corpus.gold_slots(number) - usual))
        print("   found   ", _shown(sentence, usual - corpus.gold_slots(number)))


def _shown(sentence: Sentence, slots: Iterable[Slot]) -> str:
    ordered = sorted(slots, key=lambda slot: slot.start)
    return ", ".join(f"{slot.name}={sentence.value(slot)}" for slot in ordered) or "nothing more"


def page(corpora: Sequence[Corpus], verdicts: dict[str, dict[int, str]]) -> str:
    """Return docs/errors.md."""
    seeds = len(corpora[0].predictions)

    def rows(row: object, of: Sequence[Corpus] = corpora) -> list[list[str]]:
        return [[f"`{corpus.name}`", *row(corpus)] for corpus in of]  # type: ignore[operator]

    read = [corpus for corpus in corpora if corpus.name in verdicts]
    kinds_head = [
        "config",
        "wrong name",
        "wrong boundary",
        "both",
        "missed",
        "spurious",
        "missed, out of vocabulary",
    ]
    agreement_head = [
        "config",
        "test F1",
        "sentences",
        "some seed wrong",
        "all seeds wrong",
        "all agree",
        "oracle F1",
    ]
    training_head = [
        "config",
        "renamed by most seeds",
        "only predicted name",
        "mostly predicted name",
        "as labelled",
        "not in training",
    ]
    twice_head = [
        "config",
        "duplicates in train",
        "labelled differently",
        "test sentences in train",
        "label not in train",
    ]
    judged_head = [
        "config",
        "wrong in most seeds",
        "read",
        "label is wrong",
        "ambiguous",
        "tagger is wrong",
    ]
    return f"""# Error analysis

This page shows which errors remain on the public corpora, and how many of them are due to their
labels; [evaluation.md](evaluation.md) shows how to find those of your own runs. `python
scripts/make_errors.py` writes it from {seeds} seeds of each config in [results.md](results.md).

## Types of errors

The errors of a run by type: correct boundaries with a wrong name, correct name with other
boundaries, both, a missed slot, a spurious slot. The last column counts missed slots with an
out-of-vocabulary word.

{table(kinds_head, rows(kinds))}

## Agreement between seeds

Networks with different initial weights make the same errors if the sentence, or its label, is
difficult. "All agree" counts the sentences for which all seeds predict the same, different from the
label. The last column is the F1 of an oracle that selects for each sentence the seed that is
closest to the label: an upper bound for these networks.

{table(agreement_head, rows(agreement))}

## Labels of the same values in training

Slots for which more than half of the seeds predict the same wrong name, and how the same value is
labelled in training: only with the predicted name, mostly with the predicted name, mostly as in
test, or not at all.

{table(training_head, rows(compare_with_training))}

## Contradictory labels

Training sentences that occur more than once, those of them with different labels; test sentences
that occur in training, and those of them with a label that training never has.

{table(twice_head, rows(count_contradictions))}

## Manual annotation

Sentences that more than half of the seeds get wrong, annotated by hand
(`scripts/annotated_errors.yaml`): the label is wrong or inconsistent with similar sentences; the
sentence is ambiguous; the tagger is wrong. For MIT Restaurant, a random sample of sixty.

{table(judged_head, rows(lambda corpus: count_annotations(corpus, verdicts[corpus.name]), read))}
"""


def main() -> None:
    """Write the page, or list the sentences to be read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3,4,5", help="seeds, separated by commas")
    parser.add_argument(
        "--list", choices=CORPORA, help="print what is to be read, and write nothing"
    )
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    if args.list:
        write_list(Corpus.from_runs(args.list, seeds))
        return
    verdicts = {
        corpus: {number: verdict for verdict, numbers in error_type.items() for number in numbers}
        for corpus, error_type in yaml.safe_load(ANNOTATIONS.read_text(encoding="utf-8")).items()
    }
    PAGE.write_text(
        page([Corpus.from_runs(name, seeds) for name in CORPORA], verdicts), encoding="utf-8"
    )
    folders = [run_folder(name, seed) for name in CORPORA for seed in seeds]
    record(
        "docs/errors.md",
        "python scripts/make_errors.py",
        *BILSTM_CRF,
        runs=filter(Path.is_dir, folders),
    )
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
