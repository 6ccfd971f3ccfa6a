"""Options of embeddings."""

from __future__ import annotations

import pytest
import torch
from part_cases import FILES, SENTENCES

from slotfill.config.registry import EMBEDDINGS
from slotfill.data.sentence import Sentence
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError

COUNTS = Vocab(
    {"flight": 900, "Rome": 1, "rome": 1, "11:30": 1, "12:45": 1, "oslo": 1}, ["O"], "iob2"
)


def embed(part, tokens, vocab=COUNTS, training=False, **options):
    torch.manual_seed(1)
    embedding = EMBEDDINGS.build({"name": part, **options}, vocab).train(training)
    return embedding(*(torch.from_numpy(array) for array in embedding.indexer.index([tokens])))[
        0
    ].detach()


def same(a, b):
    return torch.equal(a, b)


def test_word_lowercase():
    big, little, unknown = embed("word", ["Rome", "rome", "paris"])
    assert same(big, little) and not same(big, unknown)
    big, little, shout = embed("word", ["Rome", "rome", "ROME"], lowercase=False)
    assert not same(big, little) and not same(shout, big) and not same(shout, little)


def test_word_mask_digits():
    early, late, never, other = embed("word", ["11:30", "12:45", "99:99", "9:99"], mask_digits=True)
    assert same(early, late) and same(early, never) and not same(early, other)
    early, late, never, unknown = embed("word", ["11:30", "12:45", "99:99", "paris"])
    assert not same(early, late) and same(never, unknown)


def test_word_min_count():
    # Counted after lower-casing: Rome and rome are one word.
    flight, rome, oslo, unknown = embed("word", ["flight", "Rome", "oslo", "paris"], min_count=2)
    assert same(oslo, unknown) and not same(rome, unknown) and not same(flight, unknown)
    flight, rome, unknown = embed("word", ["flight", "Rome", "paris"], min_count=3)
    assert same(rome, unknown) and not same(flight, unknown)


def test_word_unknown_rate():
    tokens = ["oslo"] * 2000 + ["flight"] * 2000 + ["paris"]
    asleep = embed("word", tokens, unknown_rate=0.3)
    unknown = asleep[-1]
    awake = embed("word", tokens, unknown_rate=0.3, training=True)
    # Six standard deviations, of a binomial of 2,000, on each side.
    assert 477 <= int((awake[:2000] == unknown).all(1).sum()) <= 723
    assert not (awake[2000:4000] == unknown).all(1).any(), "a frequent word is always itself"
    assert not (asleep[:4000] == unknown).all(1).any()
    assert same(embed("word", tokens, unknown_rate=0.0, training=True), asleep)


def test_word_vectors_have_similar_norms():
    """The vector of <unk> too, which is not trained if no word is rare."""
    known, unknown = embed("word", ["flight", "paris"], size=300)
    assert 0.5 < unknown.norm() / known.norm() < 2


def test_word_size():
    assert embed("word", ["flight"], size=7).shape == (1, 7)


def test_char_cnn_depends_on_characters():
    vocab = Vocab.from_sentences(SENTENCES, "iob2")
    taipei, again, other, shuffled = embed(
        "char_cnn", ["Taipei", "Taipei", "Taipeh", "iepiaT"], vocab, filters=20
    )
    assert same(taipei, again) and not same(taipei, other) and not same(taipei, shuffled)
    assert taipei.shape == (20,)


def test_char_cnn_lowercase():
    big, little = embed("char_cnn", ["Rome", "rome"], lowercase=True)
    assert same(big, little)
    big, little = embed("char_cnn", ["Rome", "rome"])
    assert not same(big, little)


def test_char_cnn_max_length():
    short, long, other = embed("char_cnn", ["rome", "romeo", "romulus"], max_length=4)
    assert same(short, long) and not same(short, other)
    short, long = embed("char_cnn", ["rome", "romeo"])
    assert not same(short, long)


def test_char_cnn_width():
    # A filter of one character sees no order; a wider one does.
    one, two = embed("char_cnn", ["rome", "more"], width=1)
    assert same(one, two)
    for width in (2, 3, 4):
        one, two = embed("char_cnn", ["rome", "more"], width=width)
        assert not same(one, two)


def test_char_cnn_unknown_characters_share_a_vector():
    one, two = embed("char_cnn", ["r🛫me", "r中me"])
    assert same(one, two)


@pytest.mark.parametrize("name", EMBEDDINGS.names())
def test_minimal_vocabulary(name):
    """A vocabulary of one token of one character."""
    vocab = Vocab.from_sentences([Sentence.from_tokens(["a"], [])], "iob2")
    assert embed(name, ["a", "b", "ab"], vocab, **FILES.get(name, {})).isfinite().all()


LETTERS = Vocab({"abc": 1, "abd": 1, "xbc": 1}, ["O"], "iob2")


def test_ngrams_min_count():
    """Vectors of two words share n-grams, boundary marks included: ^ab, ab, bc, bc$, c$, ^a."""
    indexer = EMBEDDINGS.build({"name": "ngrams", "max_length": 3}, LETTERS).indexer
    assert [ngram.replace("\x02", "^").replace("\x03", "$") for ngram in indexer.ids] == [
        "^a", "^ab", "ab", "bc", "bc$", "c$"
    ]  # fmt: skip
    assert (
        len(
            EMBEDDINGS.build(
                {"name": "ngrams", "max_length": 3, "min_count": 3}, LETTERS
            ).indexer.ids
        )
        == 0
    )


def test_ngrams_are_summed():
    torch.manual_seed(1)
    part = EMBEDDINGS.build({"name": "ngrams", "max_length": 3, "size": 7}, LETTERS).eval()
    (found,) = part(
        *(torch.from_numpy(array) for array in part.indexer.index([["zab", "abc", "zzz"]]))
    )
    rows = part.vectors.weight
    assert torch.equal(found[0], rows[part.indexer.ids["ab"]]), (
        "of an unknown word with one n-gram that is known"
    )
    assert torch.allclose(found[1], rows[1:].sum(0) / 6**0.5)
    assert not found[2].any()


def test_ngrams_lowercase():
    big, little = embed("ngrams", ["ABC", "abc"], LETTERS)
    assert same(big, little)
    big, little = embed("ngrams", ["ABC", "abc"], LETTERS, lowercase=False)
    assert little.any() and not big.any()


def test_ngrams_min_and_max_length():
    longest = EMBEDDINGS.build(
        {"name": "ngrams", "min_length": 3, "max_length": 4}, LETTERS
    ).indexer.ids
    assert {len(ngram) for ngram in longest} == {3}, "no two words share four characters"
    with pytest.raises(ConfigError, match="max_length: must be at least min_length, 3"):
        EMBEDDINGS.build({"name": "ngrams", "min_length": 3, "max_length": 2}, LETTERS)


def test_ngrams_dropout():
    tokens = ["abc"] * 2
    part = EMBEDDINGS.build(
        {"name": "ngrams", "max_length": 3, "dropout": 0.5, "size": 50}, LETTERS
    )
    arrays = [torch.from_numpy(array) for array in part.indexer.index([tokens])]
    torch.manual_seed(1)
    drawn = torch.stack([part(*arrays)[0, 0] for _ in range(200)]).detach()
    assert len(drawn.unique(dim=0)) > 30, "of 2 ** 6 ways to leave some out"
    assert same(part.eval()(*arrays)[0, 0], part(*arrays)[0, 1])


def test_ngrams_of_long_tokens_are_truncated():
    (long,) = embed("ngrams", ["abc" * 100000], LETTERS)
    assert long.isfinite().all()
