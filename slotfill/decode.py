"""From emissions to tags, for every tagger and every engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slotfill.schemes import may_end, may_follow, may_start


@dataclass(frozen=True, slots=True)
class Transitions:
    """Scores of tags beside each other: `start` `(tags,)`, `between` `(from, to)`, `end` `(tags,)`."""

    start: np.ndarray
    between: np.ndarray
    end: np.ndarray


def legal_transitions(tags: list[str], scheme: str) -> Transitions:
    """Return 0 where `scheme` allows and minus infinity where it does not, float32."""

    def scores(allowed: list[bool]) -> np.ndarray:
        return np.where(allowed, 0, -np.inf).astype(np.float32)

    return Transitions(
        scores([may_start(tag, scheme) for tag in tags]),
        np.stack([scores([may_follow(before, after, scheme) for after in tags]) for before in tags]),
        scores([may_end(tag, scheme) for tag in tags]),
    )


def decode(emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions | None) -> list[list[int]]:
    """Return the best tags of each sentence, from `emissions` `(batch, time, tags)` and `lengths` `(batch,)`.

    Without transitions each token's best; with them the best sequence (Viterbi 1967).
    """
    if emissions.shape[1] == 0:
        return [[] for _ in lengths]
    if transitions is None:
        best = emissions.argmax(axis=2)
        return [row[:length].tolist() for row, length in zip(best, lengths, strict=True)]
    return _viterbi(emissions, lengths, transitions)


def _viterbi(emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> list[list[int]]:
    """Keep only each step's maxima; which tag gave one is asked for along the best path alone."""
    batch, time, _ = emissions.shape
    # Contiguous along the tag come from, over which the maximum is taken.
    into = np.ascontiguousarray(transitions.between.T)
    alphas = np.empty_like(emissions)
    alphas[:, 0] = transitions.start + emissions[:, 0]
    for step in range(1, time):
        alive = lengths > step
        alphas[alive, step] = (alphas[alive, step - 1][:, None, :] + into).max(axis=2) + emissions[alive, step]
    paths = np.zeros((batch, time), np.int64)
    rows = np.flatnonzero(lengths > 0)
    paths[rows, lengths[rows] - 1] = (alphas[rows, lengths[rows] - 1] + transitions.end).argmax(axis=1)
    for step in range(time - 1, 0, -1):
        rows = np.flatnonzero(lengths > step)
        paths[rows, step - 1] = (alphas[rows, step - 1] + into[paths[rows, step]]).argmax(axis=1)
    return [path[:length].tolist() for path, length in zip(paths, lengths, strict=True)]
