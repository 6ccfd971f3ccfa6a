"""From emissions to tags, for every tagger and every engine."""

from __future__ import annotations

from collections.abc import Callable
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


def beam_search(
    first: np.ndarray, advance: Callable[[np.ndarray, np.ndarray], np.ndarray], lengths: np.ndarray, beam: int
) -> list[list[int]]:
    """Return the most probable tags of each sentence that a search finds which keeps its `beam` best beginnings.

    For a network whose scores depend on all tags chosen before. `first` `(batch, tags)` is the log-probability of each
    first tag; `advance(rows, tags)` goes on with the beginnings `rows` of what it, or `first`, returned last, gives
    them `tags`, and returns the log-probability of each next tag, `(rows, tags)`.
    """
    paths = np.zeros((len(lengths), 1, 0), np.int64)
    scores = first[:, None].astype(np.float64)
    alive = np.arange(len(lengths))
    found: list[list[int]] = [[] for _ in lengths]
    for step in range(1, max(lengths, default=0) + 1):
        _, width, tags = scores.shape
        flat = scores.reshape(len(alive), -1)
        best = np.argsort(-flat, axis=1, kind="stable")[:, :beam]
        before, tag = np.divmod(best, tags)
        paths = np.concatenate((np.take_along_axis(paths, before[..., None], axis=1), tag[..., None]), axis=2)
        for place in np.flatnonzero(lengths[alive] == step):
            found[alive[place]] = paths[place, 0].tolist()
        on = np.flatnonzero(lengths[alive] > step)
        if len(on):
            rows = on[:, None] * width + before[on]
            after = advance(rows.ravel(), tag[on].ravel()).reshape(*rows.shape, tags)
            scores = np.take_along_axis(flat, best, axis=1)[on][..., None] + after
            paths, alive = paths[on], alive[on]
    return found


def marginals(emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions | None) -> np.ndarray:
    """Return the probability of each tag at each token, `(batch, time, tags)`, in double precision; 0 at padding.

    Without transitions the softmax of the emissions. With them what all sequences with that tag there weigh together:
    the forward-backward algorithm on logarithms (Rabiner 1989, "A Tutorial on Hidden Markov Models").
    """
    time = emissions.shape[1]
    real = (np.arange(time) < lengths[:, None])[..., None]
    scores = np.where(real, emissions, 0).astype(np.float64)
    if transitions is not None and time:
        between = transitions.between.astype(np.float64)
        before, after = np.zeros_like(scores) + transitions.start, np.zeros_like(scores) + transitions.end
        for step in range(1, time):
            reached = before[:, step - 1] + scores[:, step - 1]
            before[:, step] = np.logaddexp.reduce(reached[:, :, None] + between, axis=1)
        for step in range(time - 2, -1, -1):
            rows = np.flatnonzero(lengths > step + 1)
            onward = scores[rows, step + 1] + after[rows, step + 1]
            after[rows, step] = np.logaddexp.reduce(between + onward[:, None, :], axis=2)
        scores = np.where(real, before + scores + after, 0)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return np.where(real, weights / weights.sum(axis=2, keepdims=True), 0)
