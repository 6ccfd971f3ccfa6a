"""Linearization: labelled sentences as symbols, and back."""

from __future__ import annotations

import pytest
from part_cases import SCHEMES, SENTENCES, STRANGE, make_vocab

from slotfill.data.linearization import END, PADDING, UNKNOWN, Linearization
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab


def linearize(sentences, scheme="iob2", intents=True):
    vocab = Vocab.from_sentences(SENTENCES, scheme, intents=intents)
    linearization = Linearization(vocab)
    symbols, lengths = linearization.encode(linearization.make_batch(sentences))
    return linearization, [row[:n].tolist() for row, n in zip(symbols, lengths, strict=True)]


def name(linearization, symbols):
    """The symbols in words."""
    names = {PADDING: "PADDING", END: "END", UNKNOWN: "UNKNOWN"}
    intents = linearization.vocab.intent_names
    names |= dict(enumerate(intents, 3)) | linearization._tags | linearization._tokens
    return [names[symbol] for symbol in symbols]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("intents", [True, False])
def test_decoding_returns_the_encoded_sentence(scheme, intents):
    linearization, rows = linearize(SENTENCES, scheme, intents)
    for sentence, symbols in zip(SENTENCES, rows, strict=True):
        decoded = linearization.decode(symbols)
        assert (decoded.tokens, decoded.slots) == (sentence.tokens, sentence.slots)
        assert decoded.intent == (sentence.intent if intents else None)


def test_tags_come_before_their_tokens_and_intents_first():
    linearization, (first, *_) = linearize(SENTENCES)
    expected = "go ask leave B-from New I-from York at B-time 11:30 END"
    assert " ".join(name(linearization, first)) == expected


def test_what_training_has_not_seen_is_unknown():
    sentences = [Sentence.from_tokens(tokens, [Slot("new", 0, 1)], "other") for tokens in STRANGE]
    linearization, rows = linearize(sentences)
    for tokens, symbols in zip(STRANGE, rows, strict=True):
        known = [token if token in linearization.vocab.tokens else "UNKNOWN" for token in tokens]
        assert name(linearization, symbols) == ["UNKNOWN", *known, "END"]
        assert linearization.decode(symbols) is None


def test_labels_that_are_not_known_are_unknown():
    sentence = Sentence.from_tokens(["leave", "Taipei"], [], "go")
    sentence.unknown = [(1, 2)]
    linearization, (symbols,) = linearize([sentence])
    assert name(linearization, symbols) == ["go", "leave", "UNKNOWN", "Taipei", "END"]


@pytest.mark.parametrize(
    "words",
    [
        "leave",
        "go leave",
        "END",
        "go END",
        "leave END",
        "go go leave END",
        "go agree leave END",
        "ask go leave END",
        "leave go END",
        "go leave go END",
        "go B-from END",
        "go B-from I-from Taipei END",
        "go I-from Taipei END",
        "go B-time at I-from Taipei END",
        "go leave UNKNOWN END",
        "go leave PADDING END",
        "go leave END leave END",
    ],
)
def test_malformed_symbols_are_no_sentence(words):
    linearization, _ = linearize(SENTENCES)
    ids = {name(linearization, [symbol])[0]: symbol for symbol in range(linearization.size)}
    assert linearization.decode([ids["go"], ids["leave"], END]).tokens == ["leave"]
    assert linearization.decode([ids[word] for word in words.split()]) is None


@pytest.mark.parametrize(
    ("tokenizer", "text"), [("words", "離開台北 at 7 pm 時"), ("characters", "離開台北at7p.m.時")]
)
def test_tokens_are_joined_as_the_tokenizer_splits_them(tokenizer, text):
    vocab = make_vocab()
    vocab.tokenizer = type(vocab.tokenizer)(tokenizer)
    tokens = vocab.tokenizer.tokenize(text).tokens
    vocab = Vocab(dict.fromkeys(tokens, 1), ["O"], "iob2", tokenizer=vocab.tokenizer)
    linearization = Linearization(vocab)
    symbols, _ = linearization.encode(linearization.make_batch([Sentence.from_tokens(tokens, [])]))
    decoded = linearization.decode(symbols[0].tolist())
    assert decoded.text == text
    assert decoded.surface_forms == tokens
