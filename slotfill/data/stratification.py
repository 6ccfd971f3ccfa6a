"""Stratified splits, folds and subsets: sentences drawn at random, with each label in proportion.

Labels are slot names and intents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain

import numpy as np

from slotfill.data.sentence import Sentence
from slotfill.errors import UsageError


def draw_holdout(sentences: Sequence[Sentence], size: int) -> set[int]:
    """Draw the indices of `size` sentences so that both parts have every label, if possible.

    Rare labels are covered first, as in iterative stratification
    (Sechidis et al. 2011), and the other sentences are drawn at random, all from a fixed seed. Of
    a label that only one sentence has, that sentence is drawn last.
    """
    labels = _list_labels(sentences)
    in_train = Counter(chain.from_iterable(labels))
    order = np.random.default_rng(0).permutation(len(sentences)).tolist()
    with_label: dict[tuple[str, str], list[int]] = {}
    for index in order:
        for label in labels[index]:
            with_label.setdefault(label, []).append(index)
    held: set[int] = set()
    in_valid: set[tuple[str, str]] = set()

    def hold(index: int) -> None:
        held.add(index)
        in_train.subtract(labels[index])
        in_valid.update(labels[index])

    def leaves_labels(index: int) -> bool:
        return index not in held and all(in_train[label] > 1 for label in labels[index])

    for label in sorted(with_label, key=lambda label: (len(with_label[label]), label)):
        candidates = list(filter(leaves_labels, with_label[label]))
        if len(held) < size and label not in in_valid and candidates:
            hold(max(candidates, key=lambda index: len(labels[index] - in_valid)))
    for is_drawn in (leaves_labels, lambda index: index not in held):
        for index in order:
            if len(held) < size and is_drawn(index):
                hold(index)
    return held


def draw_folds(sentences: Sequence[Sentence], count: int, seed: int = 0) -> list[list[int]]:
    """Divide the indices of `sentences` at random into `count` folds of similar size and labels.

    Sentences with the same text are in the same fold. Raises UsageError if there are too few.
    """
    groups, labels = _group_by_text(sentences)
    if len(groups) < count:
        raise UsageError(f"{count} folds of only {len(groups)} different training sentences")
    folds: list[list[int]] = [[] for _ in range(count)]
    for group in _shuffle_by_labels(labels, seed):
        min(folds, key=len).extend(groups[group])
    return [sorted(fold) for fold in folds]


def draw_splits(
    sentences: Sequence[Sentence], shares: Mapping[str, float], seed: int = 0
) -> dict[str, list[int]]:
    """Divide the indices of `sentences` at random into train and splits of the given shares.

    Each split has the labels in proportion, and train has at least one sentence with each label.
    Sentences with the same text are in the same split.
    """
    groups, labels = _group_by_text(sentences)
    shares = {"train": 1 - sum(shares.values()), **shares}
    splits: dict[str, list[int]] = {split: [] for split, share in shares.items() if share > 0}
    in_train: set[tuple[str, str]] = set()
    # Of neighbours in this order, which have similar labels, each split gets its share.
    for group in _shuffle_by_labels(labels, seed):
        size = len(groups[group])
        split = min(splits, key=lambda name: (len(splits[name]) + size / 2) / shares[name])
        if not labels[group] <= in_train:
            split = "train"
        if split == "train":
            in_train |= labels[group]
        splits[split] += groups[group]
    return {split: sorted(indices) for split, indices in splits.items()}


def _group_by_text(
    sentences: Sequence[Sentence],
) -> tuple[list[list[int]], list[set[tuple[str, str]]]]:
    """Return the indices of the sentences with each text, and the labels that they have."""
    by_text: dict[str, list[int]] = defaultdict(list)
    labels: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for index, sentence in enumerate(sentences):
        by_text[sentence.text.casefold()].append(index)
        labels[sentence.text.casefold()] |= sentence.labels
    return list(by_text.values()), list(labels.values())


def draw_subset(sentences: Sequence[Sentence], size: int, seed: int = 0) -> list[int]:
    """Draw the indices of `size` sentences at random, with each label in proportion.

    With the same seed, a smaller subset is part of each larger one.
    """
    order = _shuffle_by_labels(_list_labels(sentences), seed)
    # Multiples of the golden ratio, modulo 1, are spread evenly in each run of neighbours.
    start = np.random.default_rng(seed).random()
    priorities = (start + np.arange(len(order)) * (5**0.5 - 1) / 2) % 1
    return sorted(order[position] for position in np.argsort(priorities)[:size].tolist())


def _list_labels(sentences: Iterable[Sentence]) -> list[frozenset[tuple[str, str]]]:
    """Return the labels of each sentence; equal ones are stored once, to save memory."""
    seen: dict[frozenset[tuple[str, str]], frozenset[tuple[str, str]]] = {}
    return [seen.setdefault(own, own) for own in (frozenset(each.labels) for each in sentences)]


def _shuffle_by_labels(labels: Sequence[Set[tuple[str, str]]], seed: int) -> list[int]:
    """Return positions in random order, but those with the same rare labels next to each other."""
    counts = Counter(chain.from_iterable(labels))
    ranks = {label: rank for rank, (label, _) in enumerate(reversed(counts.most_common()))}
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    return sorted(order, key=lambda index: sorted(ranks[label] for label in labels[index]))
