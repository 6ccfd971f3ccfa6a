"""Decoding against all sequences, with ties, and of long sentences."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.schemes import (
    all_tags,
    may_follow,
    slots_to_tags,
    tags_to_slots,
)
from slotfill.inference.decoding import (
    Hypotheses,
    PrunedTransitions,
    Scores,
    Transitions,
    beam_search,
    decode,
    decode_nbest,
    legal_transitions,
    marginals,
    select_intents,
)

SCHEMES = ["iob1", "iob2", "bioes", "bilou"]


def score(emissions, transitions, path):
    pairs = sum(transitions.matrix[a, b] for a, b in pairwise(path))
    return (
        transitions.start[path[0]]
        + sum(emissions[range(len(path)), path])
        + pairs
        + transitions.end[path[-1]]
    )


@st.composite
def cases(draw):
    """Small integers, for exact sums and many ties; some pairs of tags are forbidden."""
    tags, lengths = (
        draw(st.integers(1, 4)),
        draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)),
    )
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    largest = draw(st.sampled_from([0, 1, 3, 50]))

    def scores(*shape):
        return random.integers(-largest, largest, shape, endpoint=True).astype(np.float32)

    start, matrix, end = scores(tags), scores(tags, tags), scores(tags)
    # Tag 0 may stand anywhere, as O may, so that there always is a path.
    matrix[1:, 1:][random.random((tags - 1, tags - 1)) < 0.4] = -np.inf
    start[1:][random.random(tags - 1) < 0.4] = -np.inf
    end[1:][random.random(tags - 1) < 0.4] = -np.inf
    return (
        scores(len(lengths), max(lengths), tags),
        np.array(lengths),
        Transitions(start, matrix, end),
    )


@given(case=cases())
@settings(max_examples=100, derandomize=True)
def test_equals_brute_force(case):
    emissions, lengths, transitions = case
    found = decode(emissions, lengths, transitions)
    assert len(found) == len(lengths)
    for path, row, length in zip(found, emissions, lengths, strict=True):
        assert len(path) == length
        best = max(
            score(row, transitions, list(p))
            for p in product(range(row.shape[1]), repeat=int(length))
        )
        assert score(row, transitions, path) == best


@given(case=cases())
@settings(max_examples=50, derandomize=True)
def test_without_transitions_each_tag_is_the_best(case):
    emissions, lengths, _ = case
    for path, row, length in zip(decode(emissions, lengths, None), emissions, lengths, strict=True):
        assert path == row[:length].argmax(axis=1).tolist()


def test_ties_are_the_same_in_a_batch_of_any_size():
    emissions = np.random.default_rng(1).integers(0, 2, (30, 6, 5)).astype(np.float32)
    lengths = np.random.default_rng(2).integers(1, 6, 30, endpoint=True)
    zeros = Transitions(
        np.zeros(5, np.float32), np.zeros((5, 5), np.float32), np.zeros(5, np.float32)
    )
    for transitions in (zeros, None):
        together = decode(emissions, lengths, transitions)
        for row, length, path in zip(emissions, lengths, together, strict=True):
            assert decode(row[None, :length], np.array([length]), transitions) == [path]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_legal_transitions(scheme):
    tags = all_tags(["a", "b"], scheme)
    transitions = legal_transitions(tags, scheme)
    assert (
        transitions.start.dtype == transitions.matrix.dtype == transitions.end.dtype == np.float32
    )
    for index, tag in enumerate(tags):
        assert transitions.start[index] == (0 if may_follow("O", tag, scheme) else -np.inf)
        assert transitions.end[index] == (0 if may_follow(tag, "O", scheme) else -np.inf)
        for other, after in enumerate(tags):
            assert transitions.matrix[index, other] == (
                0 if may_follow(tag, after, scheme) else -np.inf
            )


@pytest.mark.parametrize("scale", [1, 50, 1e4])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_constrained_decoding_is_legal_and_best(scheme, scale):
    tags = all_tags(["a"], scheme)
    emissions = np.random.default_rng(3).normal(0, scale, (20, 4, len(tags))).astype(np.float32)
    lengths = np.tile([4, 1, 3, 2], 5)
    transitions = legal_transitions(tags, scheme)
    for path, row, length in zip(
        decode(emissions, lengths, transitions), emissions, lengths, strict=True
    ):
        legal = [
            p
            for p in product(range(len(tags)), repeat=int(length))
            if slots_to_tags(tags_to_slots([tags[i] for i in p], scheme), int(length), scheme)
            == [tags[i] for i in p]
        ]
        assert tuple(path) in legal
        best = max(row[range(length), p].sum(dtype=np.float64) for p in legal)
        assert row[range(length), path].sum(dtype=np.float64) == pytest.approx(best, rel=1e-6)


def test_padding_and_the_rest_of_the_batch_change_nothing():
    random = np.random.default_rng(5)
    transitions = Transitions(
        *(random.normal(size=s).astype(np.float32) for s in ((6,), (6, 6), (6,)))
    )
    emissions = random.normal(size=(8, 12, 6)).astype(np.float32)
    lengths = np.array([12, 1, 5, 3, 12, 7, 2, 11])
    together = decode(emissions, lengths, transitions)
    for row, length, path in zip(emissions, lengths, together, strict=True):
        assert decode(row[None, :length], np.array([length]), transitions) == [path]
    large_padding = np.where(
        np.arange(12)[None, :, None] < lengths[:, None, None], emissions, np.float32(1e6)
    )
    assert decode(large_padding, lengths, transitions) == together


def test_inputs_are_not_modified():
    emissions, lengths = np.ones((2, 3, 3), np.float32), np.array([3, 2])
    decode(emissions, lengths, legal_transitions(all_tags(["a"], "iob2"), "iob2"))
    assert (emissions == 1).all()


def test_tags_are_python_integers():
    found = decode(np.zeros((1, 2, 3), np.float32), np.array([2]), None)
    assert found == [[0, 0]] and type(found[0][0]) is int


@pytest.mark.parametrize("constrained", [False, True])
def test_sentences_of_zero_and_ten_thousand_tokens(constrained):
    tags = all_tags(["a", "b"], "bioes")
    transitions = legal_transitions(tags, "bioes") if constrained else None
    assert decode(np.zeros((2, 0, len(tags)), np.float32), np.array([0, 0]), transitions) == [
        [],
        [],
    ]
    assert decode(np.zeros((0, 0, len(tags)), np.float32), np.zeros(0, np.int64), transitions) == []
    random = np.random.default_rng(1).normal(size=(1, 10_000, len(tags))).astype(np.float32)
    assert len(decode(random, np.array([10_000]), transitions)[0]) == 10_000
    # A batch of a sentence without tokens and one with tokens.
    assert [len(path) for path in decode(random[[0, 0], :2], np.array([0, 2]), transitions)] == [
        0,
        2,
    ]


def full_lattice(row, transitions):
    """Viterbi by definition, in the precision of its input; the first of equal tags wins."""
    alpha, pointers = transitions.start + row[0], []
    for emission in row[1:]:
        scores = alpha[:, None] + transitions.matrix
        pointers.append(scores.argmax(axis=0))
        alpha = scores.max(axis=0) + emission
    path = [int((alpha + transitions.end).argmax())]
    for pointer in reversed(pointers):
        path.append(int(pointer[path[-1]]))
    return path[::-1]


def learned(random, legal, scale):
    """Return random transitions, minus infinity where `legal` is false."""
    names = ("start", "matrix", "end")
    scores = {n: random.normal(0, scale, getattr(legal, n).shape).astype(np.float32) for n in names}
    return Transitions(*(scores[n] + getattr(legal, n) for n in names))


@pytest.mark.parametrize("peak", [0, 0.1, 1, 10, 1000])
@pytest.mark.parametrize("scheme", [None, *SCHEMES])
def test_equals_the_full_lattice(scheme, peak):
    random = np.random.default_rng(11)
    tags = all_tags(["a", "b", "c", "d"], scheme or "bioes")
    size = len(tags)
    legal = Transitions(*(np.zeros(shape, np.float32) for shape in (size, (size, size), size)))
    if scheme is not None:
        legal = legal_transitions(tags, scheme)
    for batch in (*range(1, 8), 40):
        for transitions in (legal, learned(random, legal, 0.5), learned(random, legal, 20)):
            emissions = (peak * random.normal(size=(batch, 9, size))).astype(np.float32)
            lengths = random.integers(1, 9, batch, endpoint=True)
            for numbers in (emissions, emissions.round()):
                found = decode(numbers, lengths, transitions)
                assert found == [
                    full_lattice(row[:n], transitions)
                    for row, n in zip(numbers, lengths, strict=True)
                ]


@given(
    size=st.integers(1, 9),
    forbidden=st.sampled_from([0, 0.3, 0.7, 0.95, 1]),
    scale=st.sampled_from([0, 0.01, 1, 30]),
    integers=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, derandomize=True)
def test_a_pruned_step_equals_the_full_maximum(size, forbidden, scale, integers, seed):
    """Results are identical for any set of forbidden transitions."""
    random = np.random.default_rng(seed)
    matrix, alpha = (
        random.normal(0, scale, shape).astype(np.float32) for shape in ((size, size), (12, size))
    )
    if integers:
        matrix, alpha = matrix.round(), alpha.round()
    matrix[random.random(matrix.shape) < forbidden] = -np.inf
    alpha[random.random(alpha.shape) < forbidden / 2] = -np.inf
    expected = (alpha[:, :, None] + matrix).max(axis=1)
    pruned = PrunedTransitions(matrix)
    np.testing.assert_array_equal(pruned.step(alpha), expected)
    for row, scores in zip(alpha, expected, strict=True):
        np.testing.assert_array_equal(pruned.step_single(row), scores)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pruned_predecessors_are_not_read(scheme):
    """NaN as the scores of all predecessors but one shows where they are read."""
    random = np.random.default_rng(12)
    tags = all_tags(["a", "b", "c"], scheme)
    size = len(tags)
    pruned = PrunedTransitions(learned(random, legal_transitions(tags, scheme), 1).matrix)
    outside = tags.index("O")
    pruned.dense[[tag for tag in range(size) if tag != outside]] = np.nan
    flat = random.normal(size=(5, size)).astype(np.float32)
    peaked = flat.copy()
    peaked[:, outside] += 100
    for step in (
        pruned.step,
        lambda alphas: np.stack([pruned.step_single(alpha) for alpha in alphas]),
    ):
        assert np.isfinite(step(peaked)[:, outside]).all()
        assert np.isnan(step(flat)[:, outside]).all()
        in_batch = step(np.stack([peaked[0], flat[0], peaked[1]]))
        assert np.isnan(in_batch[:, outside]).tolist() == [False, True, False]


def test_read_only_inputs_are_accepted():
    random = np.random.default_rng(13)
    for batch in (1, 6):
        transitions = Transitions(
            *(random.normal(size=s).astype(np.float32) for s in ((4,), (4, 4), (4,)))
        )
        emissions, lengths = random.normal(size=(batch, 5, 4)).astype(np.float32), np.full(batch, 5)
        for array in (emissions, lengths, transitions.start, transitions.matrix, transitions.end):
            array.flags.writeable = False
        assert [len(path) for path in decode(emissions, lengths, transitions)] == [5] * batch


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_sentences_without_tokens(batch):
    transitions = legal_transitions(all_tags(["a"], "iob2"), "iob2")
    assert (
        decode(np.zeros((batch, 3, 3), np.float32), np.zeros(batch, np.int64), transitions)
        == [[]] * batch
    )


def legal_paths(tags, scheme, length):
    """By the definition of legal: the tags are what some slots are written as."""
    for path in product(range(len(tags)), repeat=length):
        names = [tags[i] for i in path]
        if scheme is None or slots_to_tags(tags_to_slots(names, scheme), length, scheme) == names:
            yield path


def counted_marginals(row, transitions, paths):
    """The share of each tag at each token, of all `paths` by their weights."""
    weights = np.array(
        [score(row.astype(np.float64), transitions, path) for path in paths], np.float64
    )
    weights = np.exp(weights - weights.max())
    shares = np.zeros(row.shape)
    for path, weight in zip(paths, weights / weights.sum(), strict=True):
        shares[range(len(path)), path] += weight
    return shares


@pytest.mark.parametrize("scale", [1, 50, 1e4])
@pytest.mark.parametrize("scheme", [None, *SCHEMES])
def test_marginals_are_the_shares_of_all_sequences(scheme, scale):
    tags = all_tags(["a"], scheme or "bioes")
    random = np.random.default_rng(8)
    size, lengths = len(tags), np.array([4, 1, 3, 2, 4])
    transitions = Transitions(
        *(random.normal(0, scale, shape) for shape in ((size,), (size, size), (size,)))
    )
    if scheme is not None:
        legal = legal_transitions(tags, scheme)
        transitions = Transitions(
            *(getattr(transitions, n) + getattr(legal, n) for n in ("start", "matrix", "end"))
        )
    emissions = random.normal(0, scale, (5, 4, size))
    found = marginals(emissions, lengths, transitions)
    assert found.dtype == np.float64 and found.shape == emissions.shape
    for row, length, shares in zip(emissions, lengths, found, strict=True):
        paths = list(legal_paths(tags, scheme, int(length)))
        np.testing.assert_allclose(
            shares[:length], counted_marginals(row[:length], transitions, paths), atol=1e-10
        )
        assert (shares[length:] == 0).all()
        never = {(t, i) for t in range(length) for i in range(size)} - {
            (t, i) for p in paths for t, i in enumerate(p)
        }
        assert all(shares[place] == 0 for place in never), (
            "what the scheme forbids has no share at all"
        )


def test_marginals_without_transitions_are_the_softmax():
    emissions = np.array([[[0, np.log(3)], [1000, 0], [np.inf, np.nan]]], np.float32)
    found = marginals(emissions, np.array([2]), None)
    np.testing.assert_allclose(found, [[[0.25, 0.75], [1, 0], [0, 0]]], atol=1e-7)


@pytest.mark.parametrize("constrained", [False, True])
def test_marginals_of_zero_and_ten_thousand_tokens(constrained):
    tags = all_tags(["a", "b"], "bioes")
    transitions = legal_transitions(tags, "bioes") if constrained else None
    assert marginals(np.zeros((2, 0, len(tags))), np.array([0, 0]), transitions).shape == (
        2,
        0,
        len(tags),
    )
    random = np.random.default_rng(1).normal(size=(2, 10_000, len(tags))).astype(np.float32)
    random[1, 3:] = np.nan
    found = marginals(random, np.array([10_000, 3]), transitions)
    np.testing.assert_allclose(found[0].sum(axis=1), 1)
    np.testing.assert_array_equal(
        found[1, :3], marginals(random[1:, :3], np.array([3]), transitions)[0]
    )
    assert (found[1, 3:] == 0).all()


@pytest.mark.parametrize("size", [3, 10])
@pytest.mark.parametrize("constrained", [False, True])
def test_the_n_best_are_the_first_of_all_sequences(size, constrained):
    random = np.random.default_rng(size)
    for time in (1, 2, 3):
        row = random.normal(size=(time, size)).astype(np.float32)
        tables = [random.normal(size=shape) for shape in ((size,), (size, size), (size,))]
        if constrained:
            for table in tables:
                table[random.random(table.shape) < 0.3] = -np.inf
        transitions = Transitions(*tables) if constrained else None
        paths = [list(path) for path in product(range(size), repeat=time)]
        scores = [nbest_score(row, transitions, path) for path in paths]
        order = [i for i in np.argsort(-np.array(scores), kind="stable") if scores[i] > -np.inf]
        for count in (1, 5, 60, 2000):
            found = decode_nbest(row, transitions, count)
            assert found.paths == [paths[i] for i in order[:count]]
            np.testing.assert_allclose(found.logp, [scores[i] for i in order[:count]], atol=1e-9)


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_a_constant_changes_no_order_of_the_n_best(shift):
    random = np.random.default_rng(5)
    row = random.normal(size=(4, 12))
    start, matrix, end = (random.normal(size=shape) for shape in ((12,), (12, 12), (12,)))
    expected = decode_nbest(row, Transitions(start, matrix, end), 50)
    for shifted in (
        Transitions(start + shift, matrix, end),
        Transitions(start, matrix, end + shift),
        Transitions(start + shift, matrix - shift, end + 2 * shift),
    ):
        found = decode_nbest(row, shifted, 50)
        assert found.paths == expected.paths
        np.testing.assert_allclose(np.diff(found.logp), np.diff(expected.logp), atol=1e-9)


def test_equally_good_sequences_are_in_the_order_of_their_tags():
    found = decode_nbest(np.zeros((1, 100)), None, 30)
    assert found.paths == [[tag] for tag in range(30)]


def nbest_score(row, transitions, path):
    """Return the score of a sequence in 64 bits."""
    total = sum(float(row[step, tag]) for step, tag in enumerate(path))
    if transitions is not None:
        total += transitions.start[path[0]] + transitions.end[path[-1]]
        total += sum(transitions.matrix[pair] for pair in pairwise(path))
    return total


@pytest.mark.parametrize("beam", [1, 2, 5, 100])
def test_beam_search_keeps_the_best_of_each_sentence(beam):
    """Against one sentence at a time; each has its own scores, which are found by its rows."""
    random = np.random.default_rng(beam)
    lengths, tags = np.array([3, 1, 0, 4, 3, 2]), 3
    initial = random.normal(size=(len(lengths), tags))
    table = random.normal(size=(len(lengths), tags, tags))
    sentences = np.arange(len(lengths))

    def step(rows, last):
        nonlocal sentences
        sentences = sentences[rows]
        return table[sentences, last]

    found = beam_search(initial, step, lengths, beam)
    for index, length in enumerate(lengths):
        hypotheses = [([], 0.0)]
        for _ in range(length):
            extended = [
                (
                    [*path, tag],
                    score + (table[index, path[-1], tag] if path else initial[index, tag]),
                )
                for path, score in hypotheses
                for tag in range(tags)
            ]
            hypotheses = sorted(extended, key=lambda each: -each[1])[:beam]
        assert found[index].paths == [path for path, _ in hypotheses]
        np.testing.assert_allclose(found[index].logp, [score for _, score in hypotheses])
    assert beam_search(np.zeros((0, 3)), step, np.array([], np.int64), beam) == []


def test_transitions_as_json_keep_their_bits_and_their_size():
    random = np.random.default_rng(4)
    tables = [random.normal(size=shape).astype(np.float32) for shape in ((3,), (3, 3), (3,))]
    tables[1][0, 2] = -np.inf
    data = Transitions(*tables).to_json()
    again = Transitions.from_json(data, 3)
    for name, table in zip(("start", "matrix", "end"), tables, strict=True):
        np.testing.assert_array_equal(getattr(again, name), table)
    with pytest.raises(ValueError, match="transitions are not of 4 tags"):
        Transitions.from_json(data, 4)
    other = Transitions(*(table[:2] for table in tables)).to_json()
    for name in ("start", "end"):
        with pytest.raises(ValueError, match="transitions are not of 3 tags"):
            Transitions.from_json({**data, name: other[name]}, 3)
    with pytest.raises(ValueError):
        Transitions.from_json({**data, "matrix": other["matrix"]}, 3)


def test_best_tags_are_those_of_the_search_or_of_the_scores():
    emissions, lengths = (
        np.array([[[0, 1], [3, 2]], [[5, 4], [0, 9]]], np.float32),
        np.array([2, 1]),
    )
    assert Scores(emissions).best_tags(lengths) == [[1, 0], [0]]
    stay = Transitions(np.zeros(2), np.array([[0, -9.0], [-9, 0]]), np.array([0, 7]))
    assert Scores(emissions, stay).best_tags(lengths) == [[1, 1], [1]]
    hypotheses = [Hypotheses([[0, 0], [1, 1]], np.zeros(2)), Hypotheses([[1]], np.zeros(1))]
    assert Scores(emissions, None, None, hypotheses).best_tags(lengths) == [[0, 0], [1]]


def test_intents_are_the_best_or_all_above_one_half():
    logits = np.array([[-1, 2, 0.5], [-3, -2, -9], [0, -1, -2], [1, 0, 3]], np.float32)
    assert select_intents(logits, False) == [[1], [1], [0], [2]]
    assert select_intents(logits, True) == [[1, 2], [1], [0], [0, 2]]
