"""Slot names as words: weights are shared, and folded into the linear layer after training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slotfill.data.sentence import Sentence, Slot
from slotfill.data.static_table import BUILTIN_TABLE, StaticTable, words_of_name
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.network import Network
from slotfill.model.taggers.crf import CRF

SENTENCES = [
    Sentence.from_tokens(
        ["from", "New", "York", "to", "Rome", "at", "9"],
        [Slot("from.city_name", 1, 3), Slot("to.city_name", 4, 5), Slot("time", 6, 7)],
    )
]
NAMES = {"name": "crf", "slot_names": True, "dropout": 0.0}


def make_vocab(scheme="iob2", **descriptions):
    return Vocab.from_sentences(SENTENCES, scheme, descriptions=descriptions)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("toloc.city_name", "toloc city name"),
        ("cityName", "city name"),
        ("Restaurant_Name", "restaurant name"),
        ("time-of-day", "time of day"),
        ("abflug.Stadt", "abflug stadt"),
        ("出發地", "出發地"),
        ("B52", "b52"),
    ],
)
def test_words_of_names(name, words):
    assert words_of_name(name) == words


def test_texts_with_like_words_have_like_vectors():
    table = StaticTable.read(BUILTIN_TABLE)
    texts = ["city of arrival", "town of departure", "price of the meal", "cities"]
    city, town, price, cities = table.embed(texts)

    def cosine(one, two):
        return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))

    assert cosine(city, town) > cosine(city, price)
    np.testing.assert_allclose(table.embed(["a b"])[0], table.embed(["a", "b"]).mean(0))
    assert table.embed([]).shape == (0, table.vectors.shape[1])
    assert cosine(city, cities) > cosine(price, cities)


def test_the_tags_of_a_described_slot_are_those_that_occur():
    assert make_vocab(city="a town").tags == [
        "O", *(f"{letter}-{name}" for name in ("city", "from.city_name") for letter in "BI"),
        "B-time", "B-to.city_name",
    ]  # fmt: skip
    assert make_vocab(time="when").tags == make_vocab().tags
    letters = {tag[0] for tag in make_vocab("bioes", city="").tags if tag.endswith("-city")}
    assert letters == {"B", "E", "S"}, "no slot has three words"


@pytest.mark.parametrize("scheme", ["iob2", "bioes"])
def test_folding_changes_nothing_for_labelled_slots(scheme):
    torch.manual_seed(1)
    vocab = make_vocab(scheme, city="a town")
    tagger = CRF(5, vocab, slot_names=True, dropout=0.0)
    for parameter in tagger.parameters():
        torch.nn.init.normal_(parameter)
    hidden, lengths = torch.randn(2, 3, 5), torch.tensor([3, 3])
    before, transitions = tagger(hidden, lengths), tagger.transitions()
    tagger.finish_training()
    after, later = tagger(hidden, lengths), tagger.transitions()
    known = torch.tensor([not tag.endswith("-city") for tag in vocab.tags])
    assert known.sum() == len(vocab.tags) - len(
        {*"BIES"} & {tag[0] for tag in vocab.tags if tag.endswith("-city")}
    )
    torch.testing.assert_close(before[..., known], after[..., known])
    assert (before[..., ~known] < -999).all() and (after[..., ~known] > -999).all()
    pairs = np.outer(known, known).astype(bool)
    np.testing.assert_array_equal(transitions.matrix[pairs], later.matrix[pairs])
    assert set(tagger.state_dict()) == set(CRF(5, vocab).state_dict())
    start = [
        transitions.start[vocab.tag_ids[f"B-{name}"]]
        for name in ("from.city_name", "to.city_name", "time")
        if f"B-{name}" in vocab.tag_ids
    ]
    assert later.start[vocab.tag_ids["B-city"]] == pytest.approx(np.mean(start), rel=1e-5)
    inside = "I" if scheme == "iob2" else "E"
    np.testing.assert_allclose(
        later.matrix[vocab.tag_ids["B-city"], vocab.tag_ids[f"{inside}-city"]],
        transitions.matrix[
            vocab.tag_ids["B-from.city_name"], vocab.tag_ids[f"{inside}-from.city_name"]
        ],
        rtol=1e-5,
    )


def test_slots_of_equal_names_learn_alike():
    """A step on one slot moves the emissions of another by the similarity of their names."""
    vocab = Vocab.from_sentences(SENTENCES, "iob2", descriptions={"to.city_name": "", "price": ""})
    tagger = CRF(4, vocab, slot_names=True, dropout=0.0)
    hidden = torch.ones(1, 1, 4)
    emissions = tagger(hidden, torch.tensor([1]))
    emissions[0, 0, vocab.tag_ids["B-from.city_name"]].backward()
    moved = tagger.names.table @ tagger.names.weight.grad.sum(1)
    by_tag = dict(zip(vocab.tags, moved.tolist(), strict=True))
    assert by_tag["B-from.city_name"] > by_tag["B-to.city_name"] > by_tag["B-time"]
    assert by_tag["I-from.city_name"] == by_tag["O"] == 0


def test_a_slot_without_examples_needs_a_tagger_that_knows_names():
    with pytest.raises(ConfigError, match=r"no training sentence has this slot.*; label some, or"):
        Network(make_vocab(city="a town"), ["word"], "recurrent", "crf")
    Network(make_vocab(city="a town"), ["word"], "recurrent", NAMES)
    Network(make_vocab(time="when"), ["word"], "recurrent", "softmax")


def test_a_saved_run_has_no_names(desk, cli):
    slots = {"stop": "city where one stops"}
    settings = [f"data.slots={slots}", "tagger.slot_names=true", "train.epochs=2"]
    result = cli("train", "tiny.yaml", *settings, "--out", "run")
    assert result.code == 0
    assert "no training sentence has the slot 'stop'; predicted from its name" in result.out
    assert cli("check", "tiny.yaml", *settings, "thresholds={stop: 0.9}").code == 0
    result = cli("check", "tiny.yaml", settings[0])
    assert result.code == 2 and "data.slots.stop: no training sentence has this" in result.err
    assert "label some, or predict it from its name with tagger: {name: crf, slot" in result.err
    assert cli("train", "tiny.yaml", settings[0], "--out", "other").err == result.err
    one = cli("predict", "run", "leave Oslo for Rome", "--engine", "torch")
    assert one.code == 0 and one.out == cli("predict", "run", "leave Oslo for Rome").out
    result = cli("train", "tiny.yaml", "data.slots={O: x}", "--out", "other")
    assert result.code == 2 and "data.slots: not the name of a slot: 'O'" in result.err
