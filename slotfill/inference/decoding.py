"""From emissions to tags, and from scores to intents, for every tagger and every engine."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from slotfill.data.schemes import may_end, may_follow, may_start

SINGLE_DECODE_MAX_BATCH = 3
"""So few sentences are decoded faster each by itself."""


@dataclass(frozen=True)
class Transitions:
    """Scores of tags beside each other: `start` `(tags,)`, `between` `(from, to)`, `end` `(tags,)`;
    never changed.
    """

    start: np.ndarray
    between: np.ndarray
    end: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Return the scores as what JSON can hold: float32 in base 64, the lowest byte first."""
        scores = {"start": self.start, "between": self.between, "end": self.end}
        return {
            name: b64encode(table.astype("<f4").tobytes()).decode()
            for name, table in scores.items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Transitions:
        """Return the scores that `to_json` gave."""
        start, between, end = (
            np.frombuffer(b64decode(data[name]), "<f4") for name in ("start", "between", "end")
        )
        return cls(start, between.reshape(len(start), -1), end)

    @cached_property
    def moves(self) -> PrunedTransitions:
        """What decoding needs of `between`, prepared once."""
        return PrunedTransitions(self.between)


class PrunedTransitions:
    """One step of the Viterbi algorithm, with nothing computed that a bound proves to be in vain.

        reached[y] = max over x of alpha[x] + between[x, y]

    Where at most two tags x may come before y, as before I-city, these two are compared. To all
    other y at once, from the tag `best` with the highest alpha[x] + high[x], where low[x] <=
    between[x, y] <= high[x] for each of those y:

        alpha[x] + between[x, y] <= alpha[x] + high[x] < alpha[best] + low[best] <= alpha[best] +
        between[best, y]

    rules x out, ties included; sums that are rounded keep that order. Only a rival that is not
    ruled out is compared: none as a rule, and every tag where the scores are flat. So `reached` has
    the very numbers of the full maximum.
    """

    def __init__(self, between: np.ndarray) -> None:
        allowed = between > -np.inf
        few = np.count_nonzero(allowed, axis=0) <= 2
        few &= not few.all()
        self.few = np.flatnonzero(few)
        # Of two the first and the last; where there are fewer, minus infinity does no harm.
        self.first = allowed[:, few].argmax(axis=0)
        self.last = len(between) - 1 - allowed[::-1, few].argmax(axis=0)
        self.from_first, self.from_last = (
            between[self.first, self.few],
            between[self.last, self.few],
        )
        many = between[:, ~few]
        self.low, self.high = many.min(axis=1), many.max(axis=1)
        self.between = between.copy()
        self.between[:, few] = -np.inf
        self.into = np.ascontiguousarray(between.T)

    def step(self, alpha: np.ndarray) -> np.ndarray:
        """Return `reached` `(batch, tags)`."""
        rows = np.arange(len(alpha))
        highest = alpha + self.high
        best = highest.argmax(axis=1)
        value = alpha[rows, best]
        reached = self.between.take(best, axis=0) + value[:, None]
        rival = highest >= (value + self.low[best])[:, None]
        rival[rows, best] = False
        if rival.any():
            rows, tags = np.flatnonzero(rival.any(axis=1)), np.flatnonzero(rival.any(axis=0))
            others = alpha[rows[:, None], tags][:, :, None] + self.between[tags]
            reached[rows] = np.maximum(reached[rows], others.max(axis=1))
        first = alpha.take(self.first, axis=1) + self.from_first
        reached[:, self.few] = np.maximum(first, alpha.take(self.last, axis=1) + self.from_last)
        return reached

    def step_alone(self, alpha: np.ndarray) -> np.ndarray:
        """Return what `step` does for a single sentence, `(tags,)`: the same numbers in fewer
        calls.
        """
        highest = alpha + self.high
        best = highest.argmax()
        reached = self.between[best] + alpha[best]
        bound = alpha[best] + self.low[best]
        highest[best] = -np.inf
        if highest[highest.argmax()] >= bound:
            tags = np.flatnonzero(highest >= bound)
            reached = np.maximum(reached, (alpha[tags, None] + self.between[tags]).max(axis=0))
        first = alpha.take(self.first) + self.from_first
        reached[self.few] = np.maximum(first, alpha.take(self.last) + self.from_last)
        return reached


def legal_transitions(tags: list[str], scheme: str) -> Transitions:
    """Return 0 where `scheme` allows and minus infinity where it does not, float32."""

    def scores(allowed: list[bool]) -> np.ndarray:
        return np.where(allowed, 0, -np.inf).astype(np.float32)

    return Transitions(
        scores([may_start(tag, scheme) for tag in tags]),
        np.stack(
            [scores([may_follow(before, after, scheme) for after in tags]) for before in tags]
        ),
        scores([may_end(tag, scheme) for tag in tags]),
    )


def decode(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions | None
) -> list[list[int]]:
    """Return the best tags of each sentence, from `emissions` `(batch, time, tags)` and `lengths`
    `(batch,)`.

    Without transitions each token's best; with them the best sequence (Viterbi 1967).
    """
    if emissions.shape[1] == 0:
        return [[] for _ in lengths]
    if transitions is None:
        best = emissions.argmax(axis=2)
        return [row[:length].tolist() for row, length in zip(best, lengths, strict=True)]
    if len(lengths) <= SINGLE_DECODE_MAX_BATCH:
        return [
            _decode_alone(row[:length], transitions)
            for row, length in zip(emissions, lengths, strict=True)
        ]
    return _decode_together(emissions, lengths, transitions)


def _decode_together(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions
) -> list[list[int]]:
    """Keep only each step's maxima; which tag gave one is asked for along the best path alone."""
    # From long to short, so that the sentences which go on are the first ones.
    order = np.argsort(-lengths, kind="stable")
    ordered = emissions[order]
    alive = np.count_nonzero(lengths > np.arange(lengths.max())[:, None], axis=1).tolist()
    alphas: list[np.ndarray] = []
    for step, count in enumerate(alive):
        reached = transitions.moves.step(alphas[-1][:count]) if alphas else transitions.start
        alphas.append(reached + ordered[:count, step])
    paths = np.zeros((len(alive) + 1, len(order)), np.intp)
    onward = 0
    for step in range(len(alive) - 1, -1, -1):
        scores = alphas.pop()
        scores[:onward] += transitions.moves.into.take(paths[step + 1, :onward], axis=0)
        scores[onward:] += transitions.end
        onward = alive[step]
        scores.argmax(axis=1, out=paths[step, :onward])
    found: list[list[int]] = [[] for _ in order]
    for place, path in zip(order.tolist(), paths.T.tolist(), strict=True):
        found[place] = path[: lengths[place]]
    return found


def _decode_alone(emissions: np.ndarray, transitions: Transitions) -> list[int]:
    """Return what `_decode_together` does for the sentence with `emissions` `(time, tags)`."""
    moves = transitions.moves
    alphas: list[np.ndarray] = []
    for emission in emissions:
        alphas.append((moves.step_alone(alphas[-1]) if alphas else transitions.start) + emission)
    path: list[int] = []
    onward = transitions.end
    while alphas:
        path.append(int((alphas.pop() + onward).argmax()))
        onward = moves.into[path[-1]]
    return path[::-1]


def select_intents(scores: np.ndarray, several: bool) -> list[list[int]]:
    """Return the ids of the intents of each sentence from their `scores` `(batch, intents)`: the
    best one.

    Where a sentence may have `several`, also each that is more likely than not: whose score is
    above 0.
    """
    best = scores.argmax(axis=1)
    if not several:
        return best[:, None].tolist()
    chosen = scores > 0
    chosen[np.arange(len(best)), best] = True
    return [np.flatnonzero(row).tolist() for row in chosen]


def beam_search(
    first: np.ndarray,
    advance: Callable[[np.ndarray, np.ndarray], np.ndarray],
    lengths: np.ndarray,
    beam: int,
) -> list[list[int]]:
    """Return the most probable tags of each sentence that a search finds which keeps its `beam`
    best beginnings.

    For a network whose scores depend on all tags chosen before. `first` `(batch, tags)` is the
    log-probability of each first tag; `advance(rows, tags)` goes on with the beginnings `rows` of
    what it, or `first`, returned last, gives them `tags`, and returns the log-probability of each
    next tag, `(rows, tags)`.
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
        paths = np.concatenate(
            (np.take_along_axis(paths, before[..., None], axis=1), tag[..., None]), axis=2
        )
        for place in np.flatnonzero(lengths[alive] == step):
            found[alive[place]] = paths[place, 0].tolist()
        on = np.flatnonzero(lengths[alive] > step)
        if len(on):
            rows = on[:, None] * width + before[on]
            after = advance(rows.ravel(), tag[on].ravel()).reshape(*rows.shape, tags)
            scores = np.take_along_axis(flat, best, axis=1)[on][..., None] + after
            paths, alive = paths[on], alive[on]
    return found


def marginals(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions | None
) -> np.ndarray:
    """Return the probability of each tag at each token, `(batch, time, tags)`, in double precision;
    0 at padding.

    Without transitions the softmax of the emissions. With them what all sequences with that tag
    there weigh together: the forward-backward algorithm on logarithms (Rabiner 1989, "A Tutorial on
    Hidden Markov Models").
    """
    time = emissions.shape[1]
    real = (np.arange(time) < lengths[:, None])[..., None]
    scores = np.where(real, emissions, 0).astype(np.float64)
    if transitions is not None and time:
        between = transitions.between.astype(np.float64)
        before, after = (
            np.zeros_like(scores) + transitions.start,
            np.zeros_like(scores) + transitions.end,
        )
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
