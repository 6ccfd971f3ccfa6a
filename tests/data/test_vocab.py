"""Vocab: counts of training tokens, ids, and JSON."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest

from slotfill.data.indexers import (
    PADDING,
    UNKNOWN,
    CharacterIndexer,
    GazetteerIndexer,
    NgramIndexer,
    PieceIndexer,
    PretrainedIndexer,
    TokenIndexer,
)
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.values import KnownValues
from slotfill.data.vocab import Vocab, check_described_slots, check_slot_names
from slotfill.errors import ConfigError

SENTENCES = [
    Sentence.from_tokens(["to", "Taipei", "at", "11:30"], [Slot("to", 1, 2), Slot("time", 3, 4)]),
    Sentence.from_tokens(["to", "to", "taipei", "at", "12:45"], [Slot("to", 2, 3)]),
    Sentence.from_tokens(["去", "台北"], [Slot("to", 0, 2)]),
    Sentence.from_tokens(["yes"], []),
]


def ids(lookup, *tokens):
    (actual,) = lookup.index([tokens])
    return actual[0].tolist()


def lookup(vocab=None, lowercase=False, mask_digits=False, min_count=1):
    vocab = vocab or Vocab.from_sentences(SENTENCES, "iob2")
    return TokenIndexer(
        vocab.tokens, lowercase=lowercase, mask_digits=mask_digits, min_count=min_count
    )


def test_counts_and_tags():
    vocab = Vocab.from_sentences(SENTENCES, "iob2")
    assert vocab.tokens["to"] == 3 and vocab.tokens["at"] == 2 and vocab.tokens["台北"] == 1
    assert list(vocab.tokens)[:2] == ["to", "at"]
    assert vocab.tags == ["O", "B-time", "B-to", "I-to"]
    assert vocab.tag_ids == {"O": 0, "B-time": 1, "B-to": 2, "I-to": 3}
    assert vocab.slot_names == ["time", "to"]
    assert Vocab.from_sentences(SENTENCES, "bioes").tags == ["O", "S-time", "B-to", "E-to", "S-to"]
    assert Vocab.from_sentences(SENTENCES[3:], "iob2").tags == ["O"]


def test_slot_names_may_contain_dashes():
    vocab = Vocab.from_sentences(
        [Sentence.from_tokens(["x"], [Slot("fromloc.city-name", 0, 1)])], "bioes"
    )
    assert vocab.slot_names == ["fromloc.city-name"]
    again = Vocab.from_sentences(
        [Sentence.from_tokens(["x"], [Slot("from-city", 0, 1)])], "iob2", descriptions={"day": ""}
    )
    assert again.tags == ["O", "B-day", "B-from-city"]


def test_a_vocabulary_of_nothing_and_one_of_tokens_and_tags_alone():
    assert Vocab.from_sentences([], "iob2").tags == ["O"]
    vocab = Vocab({"a": 2, "b": 1}, ["O"], "iob2")
    assert vocab.num_labelled_tokens == 3 and vocab.is_restored is False
    assert (vocab.slot_descriptions, vocab.unlabelled_slots) == ({}, frozenset())
    assert isinstance(vocab.values, KnownValues) and not vocab.values


def test_the_tokenizer_is_saved():
    tokenizer = Tokenizer("whitespace", "none")
    vocab = Vocab.from_sentences(SENTENCES, "iob2", tokenizer=tokenizer)
    assert vocab.tokenizer is tokenizer
    again = Vocab.from_json(json.dumps(vocab.to_json()).encode())
    assert again.tokenizer.to_json() == tokenizer.to_json() != Tokenizer().to_json()


def test_vocabulary_is_independent_of_sentence_order():
    expected = json.dumps(Vocab.from_sentences(SENTENCES, "iob2").to_json())
    for seed in range(5):
        shuffled = random.Random(seed).sample(SENTENCES, len(SENTENCES))
        assert json.dumps(Vocab.from_sentences(shuffled, "iob2").to_json()) == expected


@pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes", "bilou"])
def test_json_round_trip(scheme):
    vocab = Vocab.from_sentences(SENTENCES, scheme)
    text = json.dumps(vocab.to_json(), ensure_ascii=False)
    again = Vocab.from_json(text.encode())
    assert json.dumps(again.to_json(), ensure_ascii=False) == text
    assert (again.scheme, again.tags, again.tag_ids) == (scheme, vocab.tags, vocab.tag_ids)
    tokens = ["taipei", "Taipei", "台北", "12:45", "new"]
    assert ids(lookup(again, lowercase=True), *tokens) == ids(
        lookup(vocab, lowercase=True), *tokens
    )
    assert lookup(again).counts.tolist() == lookup(vocab).counts.tolist()
    for restored, original in zip(
        CharacterIndexer(again.tokens, lowercase=False, max_length=9).index([tokens]),
        CharacterIndexer(vocab.tokens, lowercase=False, max_length=9).index([tokens]),
        strict=True,
    ):
        assert np.array_equal(restored, original)


def test_contains_token():
    vocab = Vocab.from_sentences(SENTENCES, "iob2")
    assert all(
        vocab.contains_token(token) for token in ("Taipei", "TAIPEI", "taipei", "台北", "Yes")
    )
    assert not any(vocab.contains_token(token) for token in ("Tai", "11:31", "", "台"))


def test_token_ids():
    assert (PADDING, UNKNOWN) == (0, 1)
    assert ids(lookup(), "to", "at", "12:45", "never", "TO") == [2, 3, 5, 1, 1]
    assert lookup().counts.tolist() == [0, 0, 3, 2, 1, 1, 1, 1, 1, 1, 1]
    assert ids(lookup(lowercase=True), "Taipei", "taipei", "TO") == [4, 4, 2]
    one, two, never = ids(lookup(mask_digits=True), "11:30", "12:45", "98:76")
    assert one == two == never != UNKNOWN
    assert ids(lookup(), "98:76") == [UNKNOWN]
    # Digits of other scripts are digits too.
    assert ids(lookup(mask_digits=True), "١٢:٣٤") == [one]


def test_min_count():
    # Lower-casing comes first: Taipei and taipei are one word seen twice.
    assert ids(lookup(min_count=2), "to", "at", "Taipei", "yes") == [2, 3, 1, 1]
    assert ids(lookup(min_count=2, lowercase=True), "to", "Taipei", "yes")[1:] != [1, 1]
    assert len(lookup(min_count=4).ids) == 0 and ids(lookup(min_count=4), "to") == [UNKNOWN]
    assert lookup(min_count=2).counts.tolist() == [0, 0, 3, 2]
    assert ids(lookup(min_count=0), "yes", "no")[1] == UNKNOWN


def test_token_padding():
    (actual,) = lookup().index([["to"], ["to", "at", "to"], ["x", "to"]])
    assert actual.tolist() == [[2, 0, 0], [2, 3, 2], [1, 2, 0]]
    assert actual.dtype == np.int64
    (actual,) = lookup().index([])
    assert actual.shape == (0, 0)


def test_characters():
    vocab = Vocab({"ab": 2, "Ba": 1}, ["O"], "iob2")
    spell = CharacterIndexer(vocab.tokens, lowercase=False, max_length=4)
    spellings, types = spell.index([["ab", "Ba", "ab"], ["b🛫"], ["abababab", "B"]])
    # Characters in the order of Unicode: B 2, a 3, b 4; 1 is unknown; the empty spelling comes
    # first.
    assert spellings.tolist() == [
        [0, 0, 0, 0],
        [3, 4, 0, 0],
        [2, 3, 0, 0],
        [4, 1, 0, 0],
        [3, 4, 3, 4],
        [2, 0, 0, 0],
    ]
    assert types.tolist() == [[1, 2, 1], [3, 0, 0], [4, 5, 0]]
    lower = CharacterIndexer(vocab.tokens, lowercase=True, max_length=4)
    assert len(lower.ids) == 2
    spellings, types = lower.index([["Ba", "ba"]])
    assert spellings[types[0, 0]].tolist() == spellings[types[0, 1]].tolist() == [3, 2]


def test_characters_of_an_empty_batch():
    spellings, types = CharacterIndexer(
        Vocab({"a": 1}, ["O"], "iob2").tokens, lowercase=False, max_length=3
    ).index([])
    assert spellings.tolist() == [[0]] and types.shape == (0, 0)


def test_intents_keep_the_spelling_of_the_training_data():
    labels = ["go", "go", "tell#ask", "ask", "ask#tell", "tell#ask", "ask # go", "greet#greet"]
    sentences = [Sentence.from_tokens(["x"], [], intent) for intent in labels]
    vocab = Vocab.from_sentences(sentences, "iob2", intents=True)
    assert vocab.intents == {
        "go": 2,
        "tell#ask": 2,
        "ask": 1,
        "ask # go": 1,
        "ask#tell": 1,
        "greet#greet": 1,
    }
    assert vocab.intent_names == ["go", "tell", "ask", "greet"] and vocab.is_multi_intent
    assert [row.tolist() for row in vocab.intent_targets(sentences[2:5])] == [
        [0, 1, 1, 0],
        [0, 0, 1, 0],
        [0, 1, 1, 0],
    ]
    answers = {
        (0,): "go",
        (1,): "tell",
        (1, 2): "tell#ask",
        (0, 2): "ask # go",
        (0, 1, 2): "go#tell#ask",
    }
    assert {ids: vocab.join_intents(ids) for ids in answers} == answers
    again = Vocab.from_json(json.dumps(vocab.to_json()).encode())
    assert (
        again.intents == vocab.intents
        and {ids: again.join_intents(ids) for ids in answers} == answers
    )
    assert not Vocab.from_sentences(sentences[:1], "iob2", intents=True).is_multi_intent


def test_intents_are_not_stored_unless_learned():
    vocab = Vocab.from_sentences([Sentence.from_tokens(["x"], [], "go")], "iob2")
    assert (vocab.intents, vocab.intent_names, vocab.intent_targets(SENTENCES)) == ({}, [], [])
    assert set(vocab.to_json()) == {"tokenizer", "scheme", "tags", "tokens"}


def test_tags_slots_and_words_that_no_labelled_sentence_has():
    text = [Sentence.from_tokens(["now", "to"])]
    descriptions = {"seat": "a place", "to": "where to"}
    vocab = Vocab.from_sentences(
        SENTENCES, "bioes", tags=["I-to", "B-never"], text=text, descriptions=descriptions
    )
    seat = ["B-seat", "I-seat", "E-seat", "S-seat"]
    assert vocab.tags == ["O", *seat, "S-time", "B-to", "I-to", "E-to", "S-to"]
    assert (vocab.tokens["to"], vocab.tokens["now"], vocab.num_labelled_tokens) == (4, 1, 12)
    assert list(vocab.tokens)[-2:] == ["去", "台北"], "of equal counts in the order of Unicode"
    assert vocab.slot_descriptions == descriptions and vocab.unlabelled_slots == {"seat"}
    plain = Vocab.from_sentences(SENTENCES, "bioes", descriptions={"seat": ""})
    assert plain.tags[:4] == ["O", "B-seat", "E-seat", "S-seat"], "of the letters that occur"
    plain = Vocab.from_sentences(SENTENCES, "bioes", {"a.txt": {}})
    assert plain.slot_descriptions == {} and plain.unlabelled_slots == frozenset()
    assert plain.num_labelled_tokens == sum(plain.tokens.values()) == 12
    assert plain.resources == {"a.txt": {}} and plain.restored_resources == {"a.txt"}
    assert not plain.is_restored and plain.tokenizer.to_json() == Tokenizer().to_json()


def test_a_vocabulary_grows_by_what_further_training_adds():
    old = [Sentence.from_tokens(["to", "to", "Rome"], [Slot("to", 2, 3)], "go")] * 2
    base = Vocab.from_sentences(
        old, "bioes", {"a.txt": {}}, intents=True, tokenizer=Tokenizer("whitespace")
    )
    new = [Sentence.from_tokens(["to", "New", "York"], [Slot("city", 1, 3)], "ask")]
    grown = base.grow([*old[:1], *new], [Sentence.from_tokens(["now"])])
    assert list(grown.tokens.items()) == [
        ("to", 4),
        ("Rome", 2),
        ("New", 1),
        ("York", 1),
        ("now", 1),
    ]
    assert grown.tags == ["O", "B-city", "E-city", "S-to"]
    assert grown.intents == {"go": 2, "ask": 1} and list(grown.intents) == ["go", "ask"]
    assert (grown.scheme, grown.resources) == ("bioes", {"a.txt": {}})
    assert grown.tokenizer is base.tokenizer and grown.is_restored
    assert Vocab.from_sentences(old, "iob2").grow(new).intents == {}


def test_the_share_of_known_tokens():
    vocab = Vocab.from_sentences(SENTENCES, "iob2")
    assert vocab.known_share(["to", "Taipei"]) == 1
    assert vocab.known_share(["to", "TO", "never", "x", "yes"]) == 0.6


def test_an_intent_that_was_predicted_counts_by_its_confidence():
    sentences = [Sentence.from_tokens(["x"], [], intent) for intent in ("go", "ask#go", "go")]
    sentences[2].confidence = SimpleNamespace(intent=0.25)
    vocab = Vocab.from_sentences(sentences, "iob2", intents=True)
    targets = vocab.intent_targets(sentences)
    assert [row.tolist() for row in targets] == [[1, 0], [1, 1], [0.25, 0]]
    assert {row.dtype for row in targets} == {np.dtype(np.float32)}


RESOURCES = {
    "a.txt": {"phrases": ["new york"]},
    "b.txt": {"phrases": ["to"]},
    "pieces": {"lowercase": True, "pieces": "t\no"},
    "vectors": {"words": ["to"], "composed": []},
}


def test_indexers_have_their_files_by_path_or_by_number():
    vocab = Vocab({"to": 2, "a": 1}, ["O"], "iob2", RESOURCES)
    for settings, kind in (
        ({"kind": "token", "lowercase": True, "mask_digits": False, "min_count": 1}, TokenIndexer),
        ({"kind": "character", "lowercase": True, "max_length": 3}, CharacterIndexer),
        ({"kind": "ngram", "ngrams": ["to"], "lowercase": True}, NgramIndexer),
        ({"kind": "gazetteer", "files": ["b.txt", "a.txt"]}, GazetteerIndexer),
        ({"kind": "piece", "file": "pieces"}, PieceIndexer),
        ({"kind": "pretrained", "file": "vectors", "lowercase": True}, PretrainedIndexer),
    ):
        numbered = vocab.number_files(settings)
        assert not set(RESOURCES) & {str(value) for value in numbered.values()}
        expected = vocab.indexer(settings)
        assert type(expected) is kind and expected.settings == settings
        found = vocab.indexer(numbered)
        assert found.settings == settings
        for one, other in zip(found.index([["to"]]), expected.index([["to"]]), strict=True):
            assert one.tolist() == other.tolist() and one.any()
    assert vocab.number_files({"files": ["b.txt", "a.txt"]}) == {"files": [1, 0]}
    assert vocab.number_files({"file": "pieces", "x": 1}) == {"file": 2, "x": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "iob3"}, "scheme 'iob3' is unknown"),
        ({"tags": []}, "^tags must be a list of different tags"),
        ({"tags": ["O", "O"]}, "tags must be a list of different tags"),
        ({"tags": ["O", "S-x"]}, "tag 'S-x' is not of scheme iob2"),
        ({"tokens": {"\ud800": 1}}, "half a character"),
        ({"tags": ["O", "B-\ud800"]}, "half a character"),
        ({"intents": {"\ud800": 1}}, "half a character"),
        ({"tokens": ["a"]}, "tokens"),
        ({"tokenizer": {}}, "tokenizer.name is missing"),
    ],
)
def test_json_of_no_vocabulary_is_an_error(change, message):
    valid = Vocab({"a": 1}, ["O", "B-x"], "iob2", {"f": {}}, {"go": 1}).to_json()
    again = Vocab.from_json(json.dumps(valid).encode())
    assert again.to_json() == valid and again.is_restored
    assert (again.resources, again.intents) == ({"f": {}}, {"go": 1})
    with pytest.raises(ValueError, match=message):
        Vocab.from_json(json.dumps(valid | change).encode())


def test_slots_of_a_config_are_those_of_training():
    check_slot_names("data.values", ["city"], {"city", "day"})
    with pytest.raises(ConfigError) as error:
        check_slot_names("data.values", ["city", "citi", "x"], {"city", "day"}, "; label some")
    assert [each.key for each in error.value.errors] == ["data.values.citi", "data.values.x"]
    assert all(
        e.message.startswith("no training sentence has this slot") for e in error.value.errors
    )
    assert "did you mean 'city'?" in error.value.errors[0].message
    assert all(each.message.endswith("; label some") for each in error.value.errors)
    with pytest.raises(ConfigError) as error:
        check_slot_names("data.values", ["x"], {"city"})
    message = "no training sentence has this slot (allowed: city)"
    assert error.value.errors[0].message == message
    check_described_slots(["seat"], {"city"}, uses_names=True)
    check_described_slots(["city"], {"city"}, uses_names=False)
    with pytest.raises(ConfigError) as error:
        check_described_slots(["seat"], {"city"}, uses_names=False)
    assert error.value.errors[0].key == "data.slots.seat"
    assert error.value.errors[0].message.endswith(
        "; label some, or predict it from its name with tagger: {name: crf, slot_names: true}"
    )
