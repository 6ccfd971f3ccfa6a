"""Batches: every sentence once, bounded sizes, little padding, shuffled by seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.batching import MAX_PADDED_TOKENS, bucket_batches, make_batch
from slotfill.data.indexers import CharacterIndexer, TokenIndexer
from slotfill.data.vocab import Vocab

SEEDS = st.one_of(st.none(), st.tuples(st.integers(0, 99), st.integers(0, 99)))


def draw_lengths(count, seed=0, longest=50):
    return np.random.default_rng(seed).integers(1, longest, count, endpoint=True).tolist()


@given(lengths=st.lists(st.integers(1, 9000), max_size=60), size=st.integers(1, 70), seed=SEEDS)
@settings(max_examples=150, derandomize=True)
def test_batches_partition_the_sentences_within_the_limits(lengths, size, seed):
    batches = bucket_batches(lengths, size, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= MAX_PADDED_TOKENS


@pytest.mark.parametrize("seed", range(5))
def test_padding_is_bounded_with_mixed_lengths(seed):
    """The longest sentence of a batch is not always its last."""
    lengths = draw_lengths(4000, seed, longest=40)
    batches = bucket_batches(lengths, 10**6, (seed, 0))
    assert (
        max(len(batch) * max(lengths[i] for i in batch) for batch in batches) <= MAX_PADDED_TOKENS
    )


@pytest.mark.parametrize("size", [1, 7, 16])
def test_batches_are_full(size):
    lengths = draw_lengths(1000)
    for seed in (None, (1, 1)):
        sizes = [len(batch) for batch in bucket_batches(lengths, size, seed)]
        assert len(sizes) == -(-1000 // size)
        assert sizes.count(size) >= len(sizes) - 1


@pytest.mark.parametrize("seed", [None, (1, 1)])
def test_padding_is_below_5_percent(seed):
    lengths = draw_lengths(2000)
    batches = bucket_batches(lengths, 16, seed)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)


def test_batches_without_a_seed_are_sorted_by_length():
    lengths = draw_lengths(100)
    flat = [lengths[i] for batch in bucket_batches(lengths, 8) for i in batch]
    assert flat == sorted(lengths)
    # Sentences of equal length keep their order.
    assert bucket_batches([2, 1, 2, 1, 2], 2) == [[1, 3], [0, 2], [4]]
    assert bucket_batches([2, 1] * 50, 50) == [[*range(1, 100, 2)], [*range(0, 100, 2)]]


def test_a_batch_has_as_many_tokens_as_allowed():
    assert bucket_batches([4] * 6, 10, max_tokens=12) == [[0, 1, 2], [3, 4, 5]]
    assert bucket_batches([4] * 6, 2, max_tokens=12) == [[0, 1], [2, 3], [4, 5]]
    assert bucket_batches([1, 13, 1], 10, max_tokens=12) == [[0, 2], [1]]


def test_a_seed_mixes_sentences_whose_lengths_differ_by_one_and_no_more():
    batches = bucket_batches([5, 6] * 100, 10, (1, 1))
    assert sum(len({index % 2 for index in batch}) for batch in batches) > len(batches) + 5
    batches = bucket_batches([5, 7] * 100, 10, (1, 1))
    assert all(len({index % 2 for index in batch}) == 1 for batch in batches)


def test_the_seed_determines_the_result():
    lengths = draw_lengths(200)
    first = bucket_batches(lengths, 8, (1, 1))
    assert first == bucket_batches(lengths, 8, (1, 1))
    for other in ((1, 2), (2, 1)):
        batches = bucket_batches(lengths, 8, other)
        assert batches != first
        # The composition of batches changes, not only their order.
        assert {frozenset(batch) for batch in batches} != {frozenset(batch) for batch in first}
    # The batches are shuffled, not sorted by length.
    means = [np.mean([lengths[i] for i in batch]) for batch in first]
    assert means != sorted(means) and abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.6


def test_very_long_sentence_has_its_own_batch():
    for seed in (None, (3, 1)):
        batches = bucket_batches([5, 10_000, 5, 17_000, 6], 16, seed)
        assert sorted(map(sorted, batches)) == [[0, 2, 4], [1], [3]]


def test_no_sentences_give_no_batches():
    assert bucket_batches([], 4) == [] and bucket_batches([], 4, (1, 1)) == []


def test_make_batch():
    vocab = Vocab({"a": 2, "b": 1}, ["O", "B-x"], "iob2")
    indexers = [
        TokenIndexer(vocab.tokens, lowercase=True, mask_digits=False, min_count=1),
        CharacterIndexer(vocab.tokens, lowercase=True, max_length=5),
    ]
    batch = make_batch([["b"], ["a", "b", "?"]], indexers, [[1], [0, 1, 0]])
    assert batch.lengths.tolist() == [1, 3] and batch.lengths.dtype == np.int64
    assert batch.tags.tolist() == [[1, 0, 0], [0, 1, 0]] and batch.tags.dtype == np.int64
    assert [len(arrays) for arrays in batch.features] == [1, 2]
    assert batch.features[0][0].tolist() == [[3, 0, 0], [2, 3, 1]]
    assert make_batch([["a"]], indexers).tags is None
    assert (batch.intents, batch.words, batch.weights) == (None, None, None)
    more = make_batch(
        [["b"], ["a", "b"]],
        indexers,
        intents=[np.array([0, 1]), np.array([1, 1])],
        words=[[4], [5, 6]],
        weights=np.array([0.5, 2]),
    )
    assert more.intents.tolist() == [[0, 1], [1, 1]]
    assert more.words.tolist() == [[4, 0], [5, 6]]
    assert more.weights.tolist() == [0.5, 2]
