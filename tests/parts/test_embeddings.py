"""What each option of an embedding does."""

from __future__ import annotations

import pytest
import torch
from part_cases import FILES, SENTENCES

from slotfill.registry import EMBEDDINGS
from slotfill.sentence import Sentence
from slotfill.vocab import Vocab

COUNTS = Vocab({"flight": 900, "Rome": 1, "rome": 1, "11:30": 1, "12:45": 1, "oslo": 1}, ["O"], "iob2")


def vectors(part, tokens, vocab=COUNTS, training=False, **options):
    torch.manual_seed(1)
    embedding = EMBEDDINGS.build({"name": part, **options}, vocab).train(training)
    return embedding(*(torch.from_numpy(array) for array in embedding.lookup.arrays([tokens])))[0].detach()


def same(a, b):
    return torch.equal(a, b)


def test_word_lowercase():
    big, little, unknown = vectors("word", ["Rome", "rome", "paris"])
    assert same(big, little) and not same(big, unknown)
    big, little, shout = vectors("word", ["Rome", "rome", "ROME"], lowercase=False)
    assert not same(big, little) and not same(shout, big) and not same(shout, little)


def test_word_mask_digits():
    early, late, never, other = vectors("word", ["11:30", "12:45", "99:99", "9:99"], mask_digits=True)
    assert same(early, late) and same(early, never) and not same(early, other)
    early, late, never, unknown = vectors("word", ["11:30", "12:45", "99:99", "paris"])
    assert not same(early, late) and same(never, unknown)


def test_word_min_count():
    # Counted after lower-casing: Rome and rome are two of one word.
    flight, rome, oslo, unknown = vectors("word", ["flight", "Rome", "oslo", "paris"], min_count=2)
    assert same(oslo, unknown) and not same(rome, unknown) and not same(flight, unknown)
    flight, rome, unknown = vectors("word", ["flight", "Rome", "paris"], min_count=3)
    assert same(rome, unknown) and not same(flight, unknown)


def test_word_unknown_rate():
    tokens = ["oslo"] * 2000 + ["flight"] * 2000 + ["paris"]
    asleep = vectors("word", tokens, unknown_rate=0.3)
    unknown = asleep[-1]
    awake = vectors("word", tokens, unknown_rate=0.3, training=True)
    # Six standard deviations, of a binomial of 2,000, on each side.
    assert 477 <= int((awake[:2000] == unknown).all(1).sum()) <= 723
    assert not (awake[2000:4000] == unknown).all(1).any(), "a frequent word is always itself"
    assert not (asleep[:4000] == unknown).all(1).any()
    assert same(vectors("word", tokens, unknown_rate=0.0, training=True), asleep)


def test_word_vectors_are_of_like_length():
    """That of the unknown word too, which nothing trains where no word is rare."""
    known, unknown = vectors("word", ["flight", "paris"], size=300)
    assert 0.5 < unknown.norm() / known.norm() < 2


def test_word_size():
    assert vectors("word", ["flight"], size=7).shape == (1, 7)


def test_char_cnn_reads_the_spelling():
    vocab = Vocab.of(SENTENCES, "iob2")
    taipei, again, other, shuffled = vectors("char_cnn", ["Taipei", "Taipei", "Taipeh", "iepiaT"], vocab, filters=20)
    assert same(taipei, again) and not same(taipei, other) and not same(taipei, shuffled)
    assert taipei.shape == (20,)


def test_char_cnn_lowercase():
    big, little = vectors("char_cnn", ["Rome", "rome"], lowercase=True)
    assert same(big, little)
    big, little = vectors("char_cnn", ["Rome", "rome"])
    assert not same(big, little)


def test_char_cnn_max_length():
    short, long, other = vectors("char_cnn", ["rome", "romeo", "romulus"], max_length=4)
    assert same(short, long) and not same(short, other)
    short, long = vectors("char_cnn", ["rome", "romeo"])
    assert not same(short, long)


def test_char_cnn_width():
    # A filter of one character sees no order; a wider one does.
    one, two = vectors("char_cnn", ["rome", "more"], width=1)
    assert same(one, two)
    for width in (2, 3, 4):
        one, two = vectors("char_cnn", ["rome", "more"], width=width)
        assert not same(one, two)


def test_char_cnn_unknown_characters_are_one():
    one, two = vectors("char_cnn", ["r🛫me", "r中me"])
    assert same(one, two)


@pytest.mark.parametrize("name", EMBEDDINGS.names())
def test_nothing_but_a_sentence(name):
    """A vocabulary of one token of one character."""
    vocab = Vocab.of([Sentence.of_tokens(["a"], [])], "iob2")
    assert vectors(name, ["a", "b", "ab"], vocab, **FILES.get(name, {})).isfinite().all()
