"""Decode emissions to tags and logits to intents, for every tagger and every engine."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from slotfill.data.schemes import may_follow

SINGLE_DECODE_MAX_BATCH = 3
"""Largest batch whose sentences are decoded faster one by one."""


class Hypotheses(NamedTuple):
    """Tag sequences of a sentence, from best to worst."""

    paths: list[list[int]]
    """The tag ids of each sequence."""
    logp: np.ndarray
    """Their log-probabilities, or scores up to a constant, `(hypothesis,)`."""


@dataclass(frozen=True, eq=False)
class Transitions:
    """Scores of pairs of tags in a sequence; the arrays must not be changed."""

    start: np.ndarray
    """Score of each first tag, `(tags,)`."""
    matrix: np.ndarray
    """Score of each pair of neighbouring tags, `(from, to)`."""
    end: np.ndarray
    """Score of each last tag, `(tags,)`."""

    def to_json(self) -> dict[str, Any]:
        """Return the scores for JSON: little-endian float32 in base 64."""
        return {
            name: b64encode(getattr(self, name).astype("<f4").tobytes()).decode()
            for name in ("start", "matrix", "end")
        }

    @classmethod
    def from_json(cls, data: dict[str, str], num_tags: int) -> Transitions:
        """Return the scores that `to_json` wrote; raises ValueError if they have another size."""
        start, matrix, end = (
            np.frombuffer(b64decode(data[name]), "<f4") for name in ("start", "matrix", "end")
        )
        if start.shape != end.shape or start.shape != (num_tags,):
            raise ValueError(f"transitions are not of {num_tags} tags")
        return cls(start, matrix.reshape(num_tags, num_tags), end)

    @cached_property
    def pruned(self) -> PrunedTransitions:
        """The transition matrix, prepared for decoding."""
        return PrunedTransitions(self.matrix)


class PrunedTransitions:
    """One Viterbi step with exact pruning: predecessors that cannot win are skipped.

        scores[y] = max over x of alpha[x] + matrix[x, y]

    Sparse tags y have at most two predecessors x, as I-city; these two are compared. For the other
    tags, let `best` be the predecessor with the highest alpha[x] + upper[x], where lower[x] <=
    matrix[x, y] <= upper[x] for each of these y:

        alpha[x] + matrix[x, y] <= alpha[x] + upper[x] < alpha[best] + lower[best]
                                <= alpha[best] + matrix[best, y]

    rules x out, ties included, and rounded sums keep that order. Only rivals that are not ruled out
    are compared: usually none, and all tags where scores are flat. So `scores` is bit for bit that
    of the full maximum.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        allowed = matrix > -np.inf
        sparse = np.count_nonzero(allowed, axis=0) <= 2
        sparse &= not sparse.all()
        self.sparse_tags = np.flatnonzero(sparse)
        # The first and the last predecessor; with fewer than two, minus infinity does no harm.
        first = allowed[:, sparse].argmax(axis=0)
        last = len(matrix) - 1 - allowed[::-1, sparse].argmax(axis=0)
        self.predecessors = np.stack((first, last))
        self.from_predecessors = matrix[self.predecessors, self.sparse_tags]
        dense = matrix[:, ~sparse]
        self.lower, self.upper = dense.min(axis=1), dense.max(axis=1)
        self.dense = matrix.copy()
        self.dense[:, sparse] = -np.inf
        self.by_successor = np.ascontiguousarray(matrix.T)

    def step(self, alpha: np.ndarray) -> np.ndarray:
        """Return the scores `(batch, tags)` that follow `alpha` `(batch, tags)`."""
        rows = np.arange(len(alpha))
        bounds = alpha + self.upper
        best = bounds.argmax(axis=1)
        best_alpha = alpha[rows, best]
        scores = self.dense.take(best, axis=0) + best_alpha[:, None]
        rival = bounds >= (best_alpha + self.lower[best])[:, None]
        rival[rows, best] = False
        if rival.any():
            rows, tags = np.flatnonzero(rival.any(axis=1)), np.flatnonzero(rival.any(axis=0))
            candidates = alpha[rows[:, None], tags][:, :, None] + self.dense[tags]
            scores[rows] = np.maximum(scores[rows], candidates.max(axis=1))
        (first, last), (from_first, from_last) = self.predecessors, self.from_predecessors
        from_first = alpha.take(first, axis=1) + from_first
        from_last = alpha.take(last, axis=1) + from_last
        scores[:, self.sparse_tags] = np.maximum(from_first, from_last)
        return scores

    def step_single(self, alpha: np.ndarray) -> np.ndarray:
        """Return what `step` does for a single sentence, `(tags,)`, with fewer calls."""
        bounds = alpha + self.upper
        best = bounds.argmax()
        scores = self.dense[best] + alpha[best]
        threshold = alpha[best] + self.lower[best]
        bounds[best] = -np.inf
        if bounds[bounds.argmax()] >= threshold:
            tags = np.flatnonzero(bounds >= threshold)
            scores = np.maximum(scores, (alpha[tags, None] + self.dense[tags]).max(axis=0))
        pairs = alpha.take(self.predecessors) + self.from_predecessors
        scores[self.sparse_tags] = np.maximum(pairs[0], pairs[1])
        return scores


class Scores(NamedTuple):
    """What a network computes for a batch, before decoding."""

    emissions: np.ndarray
    """Scores of the tags, `(batch, time, tags)`; any number at padding."""
    transitions: Transitions | None = None
    """Scores of pairs of tags, if the tagger has any."""
    intent_logits: np.ndarray | None = None
    """`(batch, intents)`, or None without an intent head."""
    hypotheses: list[Hypotheses] | None = None
    """For each sentence, the result of the beam search, if the tagger decodes by one."""

    def best_tags(self, lengths: np.ndarray) -> list[list[int]]:
        """Return the ids of the best tags of each sentence; `lengths` is `(batch,)`."""
        if self.hypotheses is not None:
            return [hypotheses.paths[0] for hypotheses in self.hypotheses]
        return decode(self.emissions, lengths, self.transitions)


def legal_transitions(tags: list[str], scheme: str) -> Transitions:
    """Return 0 where `scheme` allows a pair of tags and minus infinity elsewhere, float32."""

    def scores(first: list[str], second: list[str]) -> np.ndarray:
        allowed = [may_follow(tag, next_tag, scheme) for tag in first for next_tag in second]
        return np.where(allowed, 0, -np.inf).astype(np.float32)

    matrix = scores(tags, tags).reshape(len(tags), len(tags))
    return Transitions(scores(["O"], tags), matrix, scores(tags, ["O"]))


@np.errstate(over="ignore", invalid="ignore")  # Scores that are not finite decode to some tags.
def decode(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions | None
) -> list[list[int]]:
    """Return the ids of the best tags of each sentence.

    Without transitions these are the best at each token, else the best sequence (Viterbi 1967).
    `emissions` is `(batch, time, tags)`, `lengths` `(batch,)`.
    """
    if emissions.shape[1] == 0:
        return [[] for _ in lengths]
    if transitions is None:
        best = emissions.argmax(axis=2)
        return [row[:length].tolist() for row, length in zip(best, lengths, strict=True)]
    if len(lengths) > SINGLE_DECODE_MAX_BATCH:
        return _viterbi_batch(emissions, lengths, transitions)
    return [
        decode_single(row[:length], transitions)
        for row, length in zip(emissions, lengths, strict=True)
    ]


def _viterbi_batch(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions
) -> list[list[int]]:
    """Keep the scores of all steps, and look up predecessors along the best path only."""
    # From long to short, so that the sentences that continue come first.
    order = np.argsort(-lengths, kind="stable")
    ordered = emissions[order]
    active = np.count_nonzero(lengths > np.arange(lengths.max())[:, None], axis=1).tolist()
    alphas: list[np.ndarray] = []
    for step, count in enumerate(active):
        scores = transitions.pruned.step(alphas[-1][:count]) if alphas else transitions.start
        alphas.append(scores + ordered[:count, step])
    paths = np.zeros((len(active) + 1, len(order)), np.intp)
    continuing = 0
    for step in range(len(active) - 1, -1, -1):
        scores = alphas.pop()
        next_tags = paths[step + 1, :continuing]
        scores[:continuing] += transitions.pruned.by_successor.take(next_tags, axis=0)
        scores[continuing:] += transitions.end
        continuing = active[step]
        scores.argmax(axis=1, out=paths[step, :continuing])
    tags: list[list[int]] = [[] for _ in order]
    for index, path in zip(order.tolist(), paths.T.tolist(), strict=True):
        tags[index] = path[: lengths[index]]
    return tags


def decode_single(emissions: np.ndarray, transitions: Transitions) -> list[int]:
    """Return what `decode` does for one sentence with emissions `(time, tags)`."""
    pruned = transitions.pruned
    alphas: list[np.ndarray] = []
    for emission in emissions:
        scores = pruned.step_single(alphas[-1]) if alphas else transitions.start
        alphas.append(scores + emission)
    path: list[int] = []
    scores = transitions.end
    while alphas:
        path.append(int((alphas.pop() + scores).argmax()))
        scores = pruned.by_successor[path[-1]]
    return path[::-1]


def select_intents(logits: np.ndarray, multi_label: bool) -> list[list[int]]:
    """Return the ids of the intents of each sentence from `logits` `(batch, intents)`.

    This is the best one; with `multi_label` also all whose probability is above 0.5.
    """
    best = logits.argmax(axis=1)
    if not multi_label:
        return best[:, None].tolist()
    selected = logits > 0
    selected[np.arange(len(best)), best] = True
    return [np.flatnonzero(row).tolist() for row in selected]


def decode_nbest(emissions: np.ndarray, transitions: Transitions | None, count: int) -> Hypotheses:
    """Return the `count` best tag sequences of a sentence, fewer if it has fewer (list Viterbi).

    They are searched among a few tags of each token, those of its best sequences. No other tag is
    in one of them if the best sequence with it is worse than the last that was found; otherwise
    they are searched again, with the tags for which that is not so.

    Args:
        emissions: `(time, tags)`.
        transitions: The scores of pairs of tags; None if tokens are independent.
        count: How many sequences are returned.

    Source: Seshadri & Sundberg 1994, "List Viterbi Decoding Algorithms with Applications"
    """
    scores = emissions.astype(np.float64)
    zeros = np.zeros(scores.shape[1])
    tables = (zeros, np.zeros((len(zeros),) * 2), zeros)
    if transitions is not None:
        tables = (transitions.start, transitions.matrix, transitions.end)
    best = _best_scores_through(scores, *tables)
    few = np.sort(np.argsort(-best, axis=1, kind="stable")[:, :_FEW_TAGS], axis=1)
    found = _list_viterbi(scores, *tables, list(few), count)
    if few.shape[1] == len(zeros):
        return found
    lowest = found.logp[-1] if len(found.logp) == count else -np.inf
    # Compared so that scores that are not numbers leave nothing out.
    needed = ~(best < lowest - 1e-9 * abs(lowest))
    if needed.sum() == np.take_along_axis(needed, few, axis=1).sum():
        return found
    return _list_viterbi(scores, *tables, [np.flatnonzero(row) for row in needed], count)


_FEW_TAGS = 8
"""So many tags of a token are tried first."""


def _best_scores_through(
    scores: np.ndarray, start: np.ndarray, matrix: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Return the score of the best sequence that has a tag at a token, `(time, tags)`."""
    forward, backward = np.empty_like(scores), np.empty_like(scores)
    forward[0], backward[-1] = start + scores[0], end
    for step in range(1, len(scores)):
        forward[step] = (forward[step - 1][:, None] + matrix).max(axis=0) + scores[step]
    for step in range(len(scores) - 2, -1, -1):
        backward[step] = (matrix + (backward[step + 1] + scores[step + 1])).max(axis=1)
    return forward + backward


def _list_viterbi(
    scores: np.ndarray,
    start: np.ndarray,
    matrix: np.ndarray,
    end: np.ndarray,
    tags: list[np.ndarray],
    count: int,
) -> Hypotheses:
    """Return the `count` best sequences that consist of the ids `tags` of each token."""
    # The best sequences up to a token that end with each tag, `(rank, tags)`.
    alpha = (start + scores[0])[None, tags[0]]
    origins: list[np.ndarray] = []
    for emission, before, after in zip(scores[1:], tags, tags[1:], strict=False):
        # (rank, from, to), flattened to rank * tags + from.
        extended = alpha[:, :, None] + matrix[before[:, None], after]
        extended = extended.reshape(-1, len(after))
        origins.append(_largest(extended, count))
        alpha = np.take_along_axis(extended, origins[-1], axis=0) + emission[after]
    final = (alpha + end[tags[-1]]).ravel()
    best = _largest(final[:, None], count)[:, 0]
    best = best[final[best] > -np.inf]
    ranks, current = np.divmod(best, len(tags[-1]))
    columns = [tags[-1][current]]
    for origin, before in zip(reversed(origins), reversed(tags[:-1]), strict=True):
        ranks, current = np.divmod(origin[ranks, current], len(before))
        columns.append(before[current])
    return Hypotheses(np.stack(columns[::-1], axis=1).tolist(), final[best])


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the `count` largest scores of each column, in order."""
    return np.argsort(-scores, axis=0, kind="stable")[:count]


def beam_search(
    initial_logp: np.ndarray,
    step_fn: Callable[[np.ndarray, np.ndarray], np.ndarray],
    lengths: np.ndarray,
    beam: int,
) -> list[Hypotheses]:
    """Decode each sentence with `beam` hypotheses, for scores that depend on all previous tags.

    Returns the hypotheses that are left at the end of each sentence, the best one first.

    Args:
        initial_logp: Log-probability of each first tag, `(batch, tags)`.
        step_fn: From rows of the hypotheses that it last returned, or of `initial_logp`, and the
            tag that extends each of them, to the log-probability of each next tag, `(row, tags)`.
        lengths: `(batch,)`.
        beam: Hypotheses that are kept for each sentence.
    """
    paths = np.zeros((len(lengths), 1, 0), np.int64)
    scores = initial_logp[:, None].astype(np.float64)
    active = np.arange(len(lengths))
    hypotheses = [Hypotheses([[]], np.zeros(1)) for _ in lengths]
    for step in range(1, max(lengths, default=0) + 1):
        _, width, tag_count = scores.shape
        flat = scores.reshape(len(active), -1)
        best = np.argsort(-flat, axis=1, kind="stable")[:, :beam]
        hypothesis, tag = np.divmod(best, tag_count)
        paths = np.concatenate(
            (np.take_along_axis(paths, hypothesis[..., None], axis=1), tag[..., None]), axis=2
        )
        logp = np.take_along_axis(flat, best, axis=1)
        for index in np.flatnonzero(lengths[active] == step):
            hypotheses[active[index]] = Hypotheses(paths[index].tolist(), logp[index])
        continuing = np.flatnonzero(lengths[active] > step)
        if len(continuing):
            rows = continuing[:, None] * width + hypothesis[continuing]
            next_logp = step_fn(rows.ravel(), tag[continuing].ravel())
            scores = logp[continuing][..., None] + next_logp.reshape(*rows.shape, tag_count)
            paths, active = paths[continuing], active[continuing]
    return hypotheses


def marginals(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions | None
) -> np.ndarray:
    """Return the probability of each tag at each token, `(batch, time, tags)`, 0 at padding.

    Without transitions this is the softmax of the emissions, else the share of all sequences, by
    the forward-backward algorithm in log space and double precision.

    Source: Rabiner 1989, "A Tutorial on Hidden Markov Models"
    """
    time = emissions.shape[1]
    mask = (np.arange(time) < lengths[:, None])[..., None]
    scores = np.where(mask, emissions, 0).astype(np.float64)
    if transitions is not None and time:
        matrix = transitions.matrix.astype(np.float64)
        forward = np.zeros_like(scores) + transitions.start
        backward = np.zeros_like(scores) + transitions.end
        for step in range(1, time):
            alpha = forward[:, step - 1] + scores[:, step - 1]
            forward[:, step] = np.logaddexp.reduce(alpha[:, :, None] + matrix, axis=1)
        for step in range(time - 2, -1, -1):
            rows = np.flatnonzero(lengths > step + 1)
            beta = backward[rows, step + 1] + scores[rows, step + 1]
            backward[rows, step] = np.logaddexp.reduce(matrix + beta[:, None, :], axis=2)
        scores = np.where(mask, forward + scores + backward, 0)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return np.where(mask, weights / weights.sum(axis=2, keepdims=True), 0)
