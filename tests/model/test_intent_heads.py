"""Intent heads against loops over sentences; feeding the tagger; equal results in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from part_cases import SENTENCES, STRANGE, make_labelled_batch, randomize, small

from slotfill.config.registry import INTENTS
from slotfill.data.batching import make_batch
from slotfill.data.sentence import Sentence
from slotfill.data.vocab import Vocab
from slotfill.export.to_onnx import export_model
from slotfill.inference.decoding import select_intents
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.inference.tagging import predict
from slotfill.model.activations import record_activations
from slotfill.model.network import Network, to_device

LENGTHS = torch.tensor([4, 1, 6, 3])
SIZE = 5
ONE_EACH = Vocab.from_sentences(SENTENCES[1:], "iob2", intents=True)
SEVERAL = Vocab.from_sentences(SENTENCES, "iob2", intents=True)
VOCABS = pytest.mark.parametrize("vocab", [ONE_EACH, SEVERAL], ids=["single label", "multi label"])


def states():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(
        len(LENGTHS), int(LENGTHS.max()), SIZE, generator=generator, dtype=torch.float64
    )
    return x * (torch.arange(x.shape[1]) < LENGTHS[:, None])[..., None]


def built(name, vocab, **options):
    head = INTENTS.build({**small("intent", name), **options}, SIZE, vocab).double().eval()
    randomize(head, 2)
    return head


def attended(head, x):
    """The pooled vector and the weights of a sentence `x`, straight from the equations."""
    w, b = head.key.weight.detach().numpy().T, head.key.bias.detach().numpy()
    v = head.score.detach().numpy()
    powers = [np.exp(v @ np.tanh(h @ w + b)) for h in x]
    weights = [power / sum(powers) for power in powers]
    return sum(a * h for a, h in zip(weights, x, strict=True)), np.array(weights)


def averaged(head, x):
    """Return the concatenation of mean and maximum, element by element."""
    mean, highest = np.zeros(SIZE), np.full(SIZE, -np.inf)
    for h in x:
        mean += h / len(x)
        highest = np.maximum(highest, h)
    return np.concatenate([mean, highest]), None


POOLED = {"attention": attended, "mean": averaged}


def probabilities(scores, multi_label):
    """The probability of each intent."""
    if multi_label:
        return 1 / (1 + np.exp(-scores))
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


@VOCABS
@pytest.mark.parametrize("name", INTENTS.names())
def test_head_equals_the_equations(name, vocab):
    head = built(name, vocab, feed=True, weight=0.7)
    golds = vocab.intent_targets(SENTENCES[1:5])
    with torch.no_grad(), record_activations(head) as notes:
        seen, scores = head(states(), LENGTHS)
        loss = head.loss(scores, torch.tensor(np.stack(golds)))
    losses = []
    for index, (row, length, gold) in enumerate(
        zip(states().numpy(), LENGTHS.tolist(), golds, strict=True)
    ):
        pooled, weights = POOLED[name](head, row[:length])
        expected = head.linear.weight.detach().numpy() @ pooled + head.linear.bias.detach().numpy()
        np.testing.assert_allclose(scores[index], expected, atol=1e-12)
        p = probabilities(expected, vocab.is_multi_intent)
        for token in range(length):
            np.testing.assert_allclose(
                seen[index, token], np.concatenate([row[token], p]), atol=1e-12
            )
        if weights is not None:
            np.testing.assert_allclose(
                notes[""]["weights"][0][index, 0, 0, :length], weights, atol=1e-12
            )
        right = np.log(p) @ gold
        losses.append(-right - (np.log(1 - p) @ (1 - gold) if vocab.is_multi_intent else 0))
    assert float(loss) == pytest.approx(0.7 * np.mean(losses))


def test_multi_label_only_with_multi_intent_training_data():
    assert (ONE_EACH.is_multi_intent, SEVERAL.is_multi_intent) == (False, True)
    scores = np.array([[-3.0, -1.0, -2.0], [1.0, 0.5, -0.1], [0.1, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert select_intents(scores, False) == [[1], [0], [2], [0]]
    assert select_intents(scores, True) == [[1], [0, 1], [0, 1, 2], [0]], (
        "those above 0, and always the best"
    )


@pytest.mark.parametrize("tagger", ["crf", "focus"])
def test_emissions_depend_on_intents_only_with_feed(tagger):
    """The weights of intents change emissions only with `feed`."""
    for feed in (True, False):
        torch.manual_seed(1)
        head = {**small("intent", "attention"), "feed": feed}
        model = Network(
            SEVERAL, ["word"], small("encoder", "recurrent"), small("tagger", tagger), head
        ).eval()
        batch = make_labelled_batch(model, SEVERAL, SENTENCES)
        before = model.emissions(batch)
        model.loss(batch).backward()
        model.intent.linear.bias.data[0] += 5
        after = model.emissions(batch)
        assert np.array_equal(before, after) == (not feed)


@VOCABS
@pytest.mark.parametrize("feed", [True, False])
@pytest.mark.parametrize("name", INTENTS.names())
def test_onnx_gives_the_same_intents(name, feed, vocab):
    torch.manual_seed(1)
    head = {**small("intent", name), "feed": feed}
    model = Network(vocab, ["word"], small("encoder", "recurrent"), "crf", head).eval()
    randomize(model, 3, 2.0)
    engine = OnnxEngine(export_model(model, vocab), vocab)
    for tokens in (
        [s.tokens for s in SENTENCES],
        STRANGE,
        [["leave"]],
        [["at", "Taipei"] * 20, ["yes"]],
    ):
        torch_batch, onnx_batch = (
            make_batch(tokens, model.indexers),
            make_batch(tokens, engine.indexers),
        )
        assert engine.predict(onnx_batch) == model.predict(torch_batch)
        with torch.no_grad():
            scores = model(*to_device(torch_batch, model)[:2]).intent_logits
        np.testing.assert_allclose(
            engine.scores(onnx_batch).intent_logits, scores.numpy(), atol=1e-4, rtol=1e-4
        )


def test_predictions_keep_the_order_and_skip_empty_sentences():
    torch.manual_seed(1)
    model = Network(SEVERAL, ["word"], small("encoder", "recurrent"), "crf", "mean").eval()
    randomize(model, 3, 2.0)
    random = np.random.default_rng(1)
    sentences = [
        Sentence.from_tokens(random.choice(["leave", "at", "yes"], n).tolist())
        for n in [0, 3, 1, 7] * 9
    ]
    slots, intents, _ = predict(model, SEVERAL, sentences)
    assert [(slots[i], intents[i]) for i in range(len(sentences))] == [
        (one[0][0], one[1][0])
        for one in (predict(model, SEVERAL, [sentence]) for sentence in sentences)
    ]
    assert all(
        (intent is None) == (not sentence.tokens)
        for sentence, intent in zip(sentences, intents, strict=True)
    )
    assert len(set(intents)) > 2
