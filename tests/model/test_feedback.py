"""Taggers with tag feedback against loops over the equations; beam search against all paths."""

from __future__ import annotations

from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from part_cases import DECODER_CELLS, compute_loss, label, make_vocab, randomize, small

from slotfill.config.registry import TAGGERS
from slotfill.data.schemes import all_tags
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import Scores, beam_search
from slotfill.model.activations import record_activations

LENGTHS = torch.tensor([4, 1, 3, 2])
SIZE = 3
FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}
DECODERS = [
    {**small("tagger", name), "cell": small("cell", cell)}
    for name in ("focus", "aligned")
    for cell in DECODER_CELLS
] + [
    {**small("tagger", "show_attend_tell"), **options}
    for options in ({}, {"attention": "hard"}, {"aligned": False, "attention": "hard"})
]
VOCAB = Vocab({"word": 1}, all_tags(["city"], "iob2"), "iob2")


def built(part, vocab=VOCAB, seed=1, scale=1.0):
    tagger = TAGGERS.build(part, SIZE, vocab).double().eval()
    randomize(tagger, seed, scale)
    return tagger


def sentences(lengths=LENGTHS, seed=5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(
        len(lengths), int(lengths.max()), SIZE, generator=generator, dtype=torch.float64
    )
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return x


def gold(vocab=VOCAB, seed=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(vocab.tags), (len(LENGTHS), int(LENGTHS.max())), generator=generator)


def best_paths(hypotheses):
    return [own.paths[0] for own in hypotheses]


def predict(tagger, hidden, lengths):
    with torch.inference_mode():
        hypotheses = tagger.search(hidden, lengths)
        return Scores(tagger(hidden, lengths).numpy(), None, None, hypotheses).best_tags(
            lengths.numpy()
        )


def arrays(module):
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


# Jordan


@pytest.mark.parametrize("elman", [False, True])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_jordan_equals_the_equations(activation, elman):
    tagger = built({"name": "jordan", "hidden_size": 4, "activation": activation, "elman": elman})
    weights, hidden, tags = arrays(tagger), sentences(), gold()
    actual = tagger(hidden, LENGTHS).detach().numpy()
    nll = 0.0
    for row, length in enumerate(LENGTHS):
        y, h = np.zeros(len(VOCAB.tags)), np.zeros(4)
        for time in range(length):
            products = weights["input.weight"] @ hidden[row, time].numpy() + weights["input.bias"]
            products += weights["feedback.weight"] @ y
            if elman:
                products += weights["recurrent.weight"] @ h
            h = FUNCTIONS[activation](products)
            scores = weights["output.weight"] @ h + weights["output.bias"]
            np.testing.assert_allclose(actual[row, time], scores, atol=1e-12)
            y = softmax(scores)
            nll -= np.log(y[tags[row, time]])
    loss = compute_loss(tagger, hidden, LENGTHS, tags)
    assert float(loss.detach()) == pytest.approx(nll / len(LENGTHS), abs=1e-12)
    assert elman == ("recurrent.weight" in weights)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("elman", [False, True])
def test_jordan_feeds_back_its_softmax(elman, training):
    """In training and prediction, for any gold tags, with and without dropout."""
    part = {"name": "jordan", "hidden_size": 4, "elman": elman, "dropout": 0.5}
    tagger, hidden = built(part).train(training), sentences()

    def fed_back(work):
        torch.manual_seed(3)
        with record_activations(tagger) as notes:
            result = work()
        return result, torch.stack(notes[""]["feedback"])[:, 0], notes[""]["hidden"]

    emissions, fed, states = fed_back(lambda: tagger(hidden, LENGTHS))
    assert (fed[0] == 0).all()
    assert torch.equal(fed[1:], emissions.detach().softmax(2).transpose(0, 1)[:-1])
    assert [state.shape for state in states] == [(1, 4, 4)] * 4
    for seed in (1, 2):
        _, again, _ = fed_back(
            lambda seed=seed: compute_loss(tagger, hidden, LENGTHS, gold(seed=seed))
        )
        assert torch.equal(again, fed)


def test_jordan_without_recurrence_depends_only_on_its_tags():
    """The hidden state reaches the next step only through the tags, or directly (hybrid)."""
    for elman in (False, True):
        tagger, hidden = (
            built({"name": "jordan", "hidden_size": 4, "elman": elman}),
            sentences().requires_grad_(),
        )
        with torch.no_grad():
            tagger.feedback.weight.zero_()
        (slope,) = torch.autograd.grad(tagger(hidden, LENGTHS)[0, 1].sum(), hidden)
        assert bool((slope[0, 0] != 0).any()) == elman


# Focus and aligned


class Loop:
    """A decoder for one sentence: one step of its cell at a time, given the previous tags."""

    def __init__(self, tagger, hidden):
        self.tagger, self.weights, self.hidden = tagger, arrays(tagger), hidden.numpy()

    def context(self, s):
        query = self.weights["attention.query.weight"] @ s
        keys = [self.weights["attention.key.weight"] @ h for h in self.hidden]
        shares = softmax(
            np.array([self.weights["attention.score"] @ np.tanh(query + key) for key in keys])
        )
        return sum(share * h for share, h in zip(shares, self.hidden, strict=True)), shares

    def scores(self, tags):
        """Return scores `(time, tags)` given the gold `tags`, and attention weights."""
        vectors, cell = self.weights["tag_vectors.weight"], self.tagger.cell
        actual, weights, state = [], [], None
        for time, before in enumerate([len(vectors) - 1, *tags][: len(self.hidden)]):
            seen = [vectors[before], self.hidden[time]]
            if "attention.score" in self.weights:
                if time == 0:
                    summary = self.hidden[0]
                    if "gate.weight" in self.weights:
                        summary = self.hidden.mean(0)
                    first = (
                        self.weights["first_query.weight"] @ summary
                        + self.weights["first_query.bias"]
                    )
                    s = np.tanh(first)
                context, shares = self.context(s)
                if "gate.weight" in self.weights:
                    if self.tagger.is_hard:
                        context = self.hidden[shares.argmax()]
                    gate = self.weights["gate.weight"] @ s + self.weights["gate.bias"]
                    context = FUNCTIONS["sigmoid"](gate) * context
                    seen = seen if self.tagger.aligned else seen[:1]
                seen.append(context)
                weights.append(shares)
            projected = cell.project(torch.from_numpy(np.concatenate(seen))[None, None])
            output, state = cell.step(
                projected, cell.initial_state(projected) if state is None else state
            )
            s = output[0, 0].detach().numpy()
            actual.append(self.weights["linear.weight"] @ s + self.weights["linear.bias"])
        return np.array(actual), np.array(weights)

    def log_probability(self, tags):
        scores, _ = self.scores(tags[:-1])
        return sum(np.log(softmax(row)[tag]) for row, tag in zip(scores, tags, strict=True))

    def greedy(self):
        tags = []
        for _ in self.hidden:
            scores, _ = self.scores(tags)
            tags = scores.argmax(1)[: len(tags) + 1].tolist()
        return tags


@pytest.mark.parametrize("part", DECODERS, ids=label)
def test_decoder_loss_is_teacher_forced(part):
    tagger, hidden, tags = built(part), sentences(), gold()
    tagger.cell.has_kl_term = False  # The terms of such a cell, and of attention, are tested below.
    tagger.doubly_stochastic = tagger.entropy = 0.0
    loss = float(compute_loss(tagger, hidden, LENGTHS, tags).detach())
    expected = [
        -Loop(tagger, hidden[row, :length]).log_probability(tags[row, :length].tolist())
        for row, length in enumerate(LENGTHS)
    ]
    assert loss == pytest.approx(np.mean(expected), abs=1e-10)


@pytest.mark.parametrize("part", DECODERS, ids=label)
def test_decoder_emissions_are_greedy(part):
    """The argmax of each token's scores is the greedy path."""
    tagger, hidden = built(part), sentences()
    emissions = tagger(hidden, LENGTHS).detach().numpy()
    paths = predict(tagger, hidden, LENGTHS)
    for row, length in enumerate(LENGTHS):
        loop = Loop(tagger, hidden[row, :length])
        path = loop.greedy()
        assert paths[row] == path == emissions[row, :length].argmax(1).tolist()
        np.testing.assert_allclose(emissions[row, :length], loop.scores(path[:-1])[0], atol=1e-10)


def test_a_kl_bottleneck_adds_its_kl_terms():
    part = {"name": "focus", "hidden_size": 4, "tag_size": 2, "cell": "kl_bottleneck"}
    tagger, hidden, tags = built(part), sentences(), gold()
    loss = compute_loss(tagger, hidden, LENGTHS, tags)
    before = torch.cat((torch.full((4, 1), len(VOCAB.tags)), tags[:, :-1]), dim=1)
    _, last_states = tagger.teacher_forced((hidden,), before)
    terms = sum(
        float(last_states[row, :length].detach().sum()) for row, length in enumerate(LENGTHS)
    )
    tagger.cell.has_kl_term = False
    rest = compute_loss(tagger, hidden, LENGTHS, tags)
    assert terms > 0 and float((loss - rest).detach()) == pytest.approx(terms / 4, abs=1e-12)


def test_aligned_attends_with_the_previous_state():
    tagger, hidden = built({"name": "aligned", "hidden_size": 4, "tag_size": 2}), sentences()
    with record_activations(tagger) as notes:
        emissions = tagger(hidden, LENGTHS).detach().numpy()
    weights = torch.cat(notes[""]["weights"], dim=2)
    assert weights.shape == (4, 1, 4, 4)
    torch.testing.assert_close(weights.sum(3), torch.ones_like(weights[..., 0]), atol=1e-12, rtol=0)
    for row, length in enumerate(LENGTHS):
        assert (weights[row, :, :, length:] == 0).all()
        _, expected = Loop(tagger, hidden[row, :length]).scores(
            emissions[row, :length].argmax(1).tolist()
        )
        np.testing.assert_allclose(weights[row, 0, :length, :length], expected, atol=1e-12)


def attention_loss(part):
    """Return the tagger, what it adds to the loss, and its weights `(sentence, query, key)`."""
    sizes = {"hidden_size": 4, "tag_size": 2, "dropout": 0.0}
    tagger, hidden = built({"name": "show_attend_tell", **sizes, **part}), sentences()
    with record_activations(tagger) as notes:
        tagger(hidden, LENGTHS, gold())
    weights = torch.cat(notes[""]["weights"], dim=2)[:, 0].numpy()
    return tagger, float(tagger.regularization_loss.detach()), weights


def test_doubly_stochastic_attention_should_attend_once_to_each_token():
    _, loss, weights = attention_loss({"doubly_stochastic": 2.0})
    expected = [
        sum((1 - weights[row, :length, key].sum()) ** 2 for key in range(length))
        for row, length in enumerate(LENGTHS)
    ]
    assert loss == pytest.approx(2 * np.mean(expected), abs=1e-12)
    assert attention_loss({"doubly_stochastic": 0.0})[1] == 0


def test_the_entropy_of_hard_attention_lowers_the_loss():
    _, loss, weights = attention_loss({"attention": "hard", "entropy": 0.5})
    rows = [weights[row, :length, :length] for row, length in enumerate(LENGTHS)]
    entropies = [-(own * np.log(own)).sum() for own in rows]
    assert loss == pytest.approx(-0.5 * np.mean(entropies), abs=1e-12)


def test_reinforce_estimates_the_gradient_of_the_expected_loss(monkeypatch):
    """Against the sum over all draws of two tokens; every second sentence has soft attention."""
    # The reward is a mean over two tokens, and the loss a sum.
    part = {"attention": "hard", "reinforce": 2.0, "entropy": 1e-9, "doubly_stochastic": 0.0}
    sizes = {"hidden_size": 3, "tag_size": 2, "dropout": 0.0}
    tagger = built({"name": "show_attend_tell", **sizes, **part})
    parameters = list(tagger.parameters())
    hidden, lengths, tags = sentences()[:1, :2], torch.tensor([2]), torch.tensor([[0, 2]])
    expected = torch.zeros((), dtype=torch.float64)
    for draws in product(range(2), repeat=2):
        probabilities, left = [], list(draws)

        def fixed(weights, probabilities=probabilities, left=left):
            probabilities.append(weights[0, 0, left[0]])
            return torch.eye(2, dtype=torch.float64)[left.pop(0)].view(1, 1, 2)

        monkeypatch.setattr(tagger, "_choose", fixed)
        loss = compute_loss(tagger, hidden, lengths, tags)
        expected = expected + probabilities[0] * probabilities[1] * loss
    monkeypatch.undo()
    tagger.is_hard = False
    expected = (expected + compute_loss(tagger, hidden, lengths, tags)) / 2
    tagger.is_hard = True
    tagger.train().baseline.fill_(-1.5)
    copies, seed = 20_000, 1
    torch.manual_seed(seed)
    many = (hidden.expand(copies, -1, -1), lengths.expand(copies), tags.expand(copies, -1))
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(expected, parameters)])
    emissions = tagger(*many)
    losses = tagger.loss(emissions, *many[1:])
    total = losses.mean() + tagger.regularization_loss
    estimate = torch.cat([g.flatten() for g in torch.autograd.grad(total, parameters)])
    assert float(losses.detach().mean()) == pytest.approx(float(expected.detach()), rel=0.02)
    assert float((estimate - exact).norm() / exact.norm()) < 0.03
    mean_reward = -float(losses.detach().mean()) / 2
    assert float(tagger.baseline) == pytest.approx(0.9 * -1.5 + 0.1 * mean_reward, abs=1e-12)


# Beam search


def exhaustive_beam(score, length, beam, tags):
    """Beam search by definition: extend all prefixes by all tags, sort, and keep the best."""
    kept = [[]]
    for _ in range(length):
        kept = sorted(([*path, tag] for path in kept for tag in range(tags)), key=score)[-beam:]
    return kept[-1]


@pytest.mark.parametrize("name", ["focus", "aligned"])
def test_a_full_beam_finds_the_best_sequence(name):
    """The best path is not always that of greedy decoding."""
    part = {"name": name, "hidden_size": 3, "tag_size": 3}
    greedy_errors = 0
    for seed in range(6):
        hidden, tagger = sentences(seed=seed), built({**part, "beam": 3**3}, seed=seed, scale=3.0)
        actual = predict(tagger, hidden, LENGTHS)
        for row, length in enumerate(LENGTHS):
            loop = Loop(tagger, hidden[row, :length])
            best = max(map(list, product(range(3), repeat=int(length))), key=loop.log_probability)
            assert actual[row] == best
            greedy_errors += loop.greedy() != actual[row]
    assert greedy_errors > 0


@pytest.mark.parametrize("part", DECODERS, ids=label)
def test_decoder_beam_search_by_definition(part):
    """Beam search by definition: states follow their prefix; padding and batch change no path."""
    vocab = make_vocab()
    tagger, hidden = built({**part, "beam": 3}, vocab, scale=2.0), sentences()
    together = predict(tagger, hidden, LENGTHS)
    assert [len(path) for path in together] == LENGTHS.tolist()
    order = torch.tensor([2, 0, 3, 1])
    assert predict(tagger, hidden[order], LENGTHS[order]) == [together[row] for row in order]
    wider = torch.nn.functional.pad(hidden, (0, 0, 0, 2), value=7.0)
    assert predict(tagger, wider, LENGTHS) == together
    for row, length in enumerate(LENGTHS):
        assert predict(tagger, hidden[row : row + 1, :length], LENGTHS[row : row + 1]) == [
            together[row]
        ]
        loop = Loop(tagger, hidden[row, :length])
        assert together[row] == exhaustive_beam(loop.log_probability, length, 3, len(vocab.tags))


def markov(seed, batch=5, tags=4, steps=5):
    """Return log-probabilities of first tags and of tag pairs by sentence, and their `step_fn`."""
    random = np.random.default_rng(seed)
    first = np.log(random.dirichlet(np.ones(tags), batch))
    after = np.log(random.dirichlet(np.ones(tags), (batch, steps, tags)))
    lengths = random.integers(0, steps, batch, endpoint=True)
    state = {"sentence": np.arange(batch), "step": 0}

    def step_fn(rows, chosen):
        state["sentence"] = state["sentence"][rows]
        state["step"] += 1
        return after[state["sentence"], state["step"] - 1, chosen]

    def score(sentence, path):
        total = first[sentence, path[0]]
        for step, (before, tag) in enumerate(pairwise(path)):
            total += after[sentence, step, before, tag]
        return total

    return first, step_fn, lengths, score


@pytest.mark.parametrize("beam", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_beam_search_by_definition(beam, seed):
    """Beams wider than the number of prefixes, and sentences without tokens; 1,000 keeps all."""
    first, step_fn, lengths, score = markov(seed)
    actual = best_paths(beam_search(first, step_fn, lengths, beam))
    for sentence, (length, path) in enumerate(zip(lengths, actual, strict=True)):
        assert path == exhaustive_beam(partial(score, sentence), length, beam, 4)
        if beam == 1000 and length:
            assert path == list(
                max(product(range(4), repeat=int(length)), key=partial(score, sentence))
            )


def test_a_beam_of_one_is_greedy():
    first, step_fn, lengths, _ = markov(9)
    asked = []

    def watched(rows, chosen):
        asked.append(step_fn(rows, chosen))
        return asked[-1]

    lengths[:] = 5
    paths = np.array(best_paths(beam_search(first, watched, lengths, 1)))
    assert np.array_equal(paths, np.stack([scores.argmax(1) for scores in (first, *asked)], axis=1))


def test_beam_search_ties_and_empty_batches():
    flat = beam_search(
        np.zeros((2, 3)), lambda rows, tags: np.zeros((len(rows), 3)), np.array([3, 2]), 4
    )
    assert best_paths(flat) == [[0, 0, 0], [0, 0]]
    assert all(len(own.paths) == len(own.logp) == 4 for own in flat)
    assert (
        beam_search(
            np.zeros((0, 3)), lambda rows, tags: np.zeros((0, 3)), np.array([], np.int64), 4
        )
        == []
    )
