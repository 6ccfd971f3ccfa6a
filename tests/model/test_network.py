"""Network: composition of parts, and unusual sentences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slotfill.config.validate import parse_config
from slotfill.data.batching import make_batch
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.evaluation.evaluate import evaluate
from slotfill.inference.decoding import decode
from slotfill.inference.tagging import predict
from slotfill.model.build import build_model
from slotfill.model.network import Network

SENTENCES = [
    Sentence.from_tokens(
        ["leave", "Taipei", "at", "11:30"], [Slot("from", 1, 2), Slot("time", 3, 4)]
    ),
    Sentence.from_tokens(["arrive", "in", "New", "York"], [Slot("to", 2, 4)]),
    Sentence.from_tokens(["yes"], []),
]
LONGER = Sentence.from_tokens(
    ["leave", "New", "York", "at", "11", "30"], [Slot("from", 1, 3), Slot("time", 4, 6)]
)
VOCAB = Vocab.from_sentences([*SENTENCES, LONGER], "iob2")
SMALL = {"name": "recurrent", "hidden_size": 6}


def build_tagger(embedding=("word", "char_cnn"), encoder=SMALL, tagger="crf", seed=1):
    torch.manual_seed(seed)
    return Network(VOCAB, embedding, encoder, tagger).eval()


def test_built_from_a_config():
    config = parse_config(
        "", "x", ["encoder.hidden_size=7", "embedding=[word, {name: char_cnn, filters: 9}]"]
    )
    model = build_model(config, VOCAB)
    assert model.encoders[0].output_size == 14
    assert [part.output_size for part in model.embeddings] == [100, 9]
    assert len(model.indexers) == 2
    batch = make_batch([s.tokens for s in SENTENCES], model.indexers)
    assert model.emissions(batch).shape == (3, 4, len(VOCAB.tags))


@pytest.mark.parametrize(
    "embedding", [["word"], ["char_cnn"], ["char_cnn", "word"], ["word", "word"]]
)
def test_embeddings_in_any_number_and_order(embedding):
    model = build_tagger(embedding)
    assert model.emissions(make_batch([["x", "y"]], model.indexers)).shape == (
        1,
        2,
        len(VOCAB.tags),
    )


def test_every_embedding_changes_the_emissions():
    """Words that are equal for one embedding and different for the other."""
    lower = {"name": "word", "lowercase": True}
    only_word = build_tagger([lower])
    both = build_tagger([lower, "char_cnn"])
    for model, changes in ((only_word, False), (both, True)):
        one, two = model.emissions(make_batch([["Taipei"], ["TAIPEI"]], model.indexers))
        assert np.array_equal(one, two) != changes


def test_an_unknown_part_is_refused():
    with pytest.raises(ConfigError, match="unknown encoder 'recurent'; did you mean 'recurrent'"):
        build_tagger(encoder="recurent")


@pytest.mark.parametrize(
    "tokens",
    [["a"], ["x" * 300], ["🛫"], ["\u0301"], ["never", "Seen", "台北"], ["yes"] * 700],
    ids=["one character", "300 characters", "emoji", "a mark alone", "unknown", "700 tokens"],
)
def test_unusual_sentences_are_tagged(tokens):
    model = build_tagger()
    sentence = Sentence.from_tokens(tokens)
    batch = make_batch([tokens], model.indexers)
    emissions = model.emissions(batch)
    assert emissions.shape == (1, len(tokens), len(VOCAB.tags)) and np.isfinite(emissions).all()
    assert all(
        0 <= slot.start < slot.end <= len(tokens)
        for slot in predict(model, VOCAB, [sentence])[0][0]
    )


def test_predictions_keep_the_order_of_sentences():
    model = build_tagger()
    # A random network predicts slots in nearly every sentence.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    words = ["leave", "Taipei", "at", "in", "York", "yes"]
    random = np.random.default_rng(1)
    sentences = [
        Sentence.from_tokens(random.choice(words, size).tolist())
        for size in random.integers(1, 9, 200)
    ]
    together = predict(model, VOCAB, sentences)[0]
    assert together == [predict(model, VOCAB, [sentence])[0][0] for sentence in sentences]
    assert len({tuple(slots) for slots in together}) > 20
    assert predict(model, VOCAB, [])[0] == []


def test_prediction_changes_neither_mode_nor_weights():
    model = build_tagger()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, VOCAB, SENTENCES)
    assert not model.training and all(
        p.grad is None and p.requires_grad for p in model.parameters()
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_evaluate_counts_unknown_words_and_slots():
    model = build_tagger()
    strange = [
        Sentence.from_tokens(
            ["leave", "TAIPEI", "by", "train"], [Slot("from", 1, 2), Slot("vehicle", 3, 4)]
        ),
        Sentence.from_tokens(["by", "bus"], [Slot("class", 0, 1), Slot("vehicle", 1, 2)]),
    ]
    result = evaluate(model, VOCAB, strange)
    assert (result.sentences, result.tokens) == (2, 6)
    assert result.unknown_words == 4, "by twice, train, bus; TAIPEI is known in another case"
    assert result.unknown_slots == 3 and result.unknown_names == ["class", "vehicle"]
    assert result.overall.support == 4 and result.slots["vehicle"].f1 == 0
    known = evaluate(model, VOCAB, SENTENCES)
    assert (known.unknown_words, known.unknown_slots, known.unknown_names) == (0, 0, [])


def test_gradient_descent_fits_a_batch():
    model = build_tagger()
    tags = [
        [VOCAB.tag_ids[t] for t in tags]
        for tags in (["O", "B-from", "O", "B-time"], ["O", "O", "B-to", "I-to"])
    ]
    batch = make_batch([s.tokens for s in SENTENCES[:2]], model.indexers, tags)
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert decode(model.emissions(batch), batch.lengths, model.tagger.transitions()) == tags
