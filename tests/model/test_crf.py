"""The CRF and the constrained softmax against all tag sequences."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import pytest
import torch
from part_cases import SCHEMES, compute_loss, make_vocab, randomize, small

from slotfill.config.registry import TAGGERS
from slotfill.data.schemes import all_tags, slots_to_tags, tags_to_slots
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import decode

LENGTHS = [4, 1, 3, 2]
CASES = [
    # Two slots make nine tags in bioes; of so many, three tokens in a row are enough to count.
    *((scheme, ("city",), LENGTHS) for scheme in SCHEMES),
    *((scheme, ("city", "time"), [3, 1, 2]) for scheme in SCHEMES),
    *((scheme, (), [3, 1]) for scheme in SCHEMES),
]


def vocab_with(names, scheme):
    return Vocab({"word": 1}, all_tags(names, scheme), scheme)


def is_legal(tags, scheme):
    """Return whether `tags` are the tags of some set of slots."""
    return slots_to_tags(tags_to_slots(tags, scheme), len(tags), scheme) == list(tags)


@lru_cache
def legal_paths(names, scheme, length):
    tags = all_tags(names, scheme)
    paths = product(range(len(tags)), repeat=length)
    return np.array([path for path in paths if is_legal([tags[i] for i in path], scheme)])


def path_scores(emissions, transitions, paths):
    """The score of each of `paths` `(path, time)`, in double precision."""
    emissions = emissions.astype(np.float64)
    scores = (
        transitions.start.astype(np.float64)[paths[:, 0]]
        + transitions.end.astype(np.float64)[paths[:, -1]]
    )
    scores += emissions[np.arange(paths.shape[1]), paths].sum(axis=1)
    return scores + transitions.matrix.astype(np.float64)[paths[:, :-1], paths[:, 1:]].sum(axis=1)


def log_sum(scores):
    return scores.max() + np.log(np.exp(scores - scores.max()).sum())


def tagger_with(part, vocab, scale, dtype):
    """Return a random tagger with emissions and transitions up to `scale`, and hidden vectors."""
    tagger = TAGGERS.build(part, 4, vocab).to(dtype).eval()
    randomize(tagger, 7, scale)
    return tagger


def draw_hidden(lengths, dtype):
    hidden = torch.zeros(len(lengths), max(lengths), 4, dtype=dtype)
    generator = torch.Generator().manual_seed(9)
    for row, length in zip(hidden, lengths, strict=True):
        # One coordinate each, so that an emission is a weight and a bias.
        row[range(length), torch.randint(4, (length,), generator=generator)] = 1
    return hidden


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1, 50])
@pytest.mark.parametrize(("scheme", "names", "lengths"), CASES)
def test_crf_equals_brute_force(scheme, names, lengths, scale, dtype):
    vocab = vocab_with(names, scheme)
    tagger = tagger_with("crf", vocab, scale, dtype)
    hidden = draw_hidden(lengths, dtype)
    sizes = torch.tensor(lengths)
    emissions = tagger(hidden, sizes).detach().numpy()
    transitions = tagger.transitions()
    found = decode(emissions, np.array(lengths), transitions)
    random = np.random.default_rng(4)
    gold = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    losses, slack = [], 1e-12 if dtype == torch.float64 else 1e-6
    for row, length in enumerate(lengths):
        paths = legal_paths(names, scheme, length)
        scores = path_scores(emissions[row, :length], transitions, paths)
        gold[row, :length] = torch.from_numpy(paths[index := random.integers(len(paths))])
        losses.append(log_sum(scores) - scores[index])
        best = path_scores(emissions[row, :length], transitions, np.array([found[row]]))[0]
        assert best == pytest.approx(scores.max(), abs=scale * slack)
        assert found[row] in paths.tolist()
        alone = compute_loss(
            tagger,
            hidden[row : row + 1, :length],
            sizes[row : row + 1],
            gold[row : row + 1, :length],
        )
        assert float(alone.detach()) == pytest.approx(losses[-1], abs=20 * scale * slack)
    loss = compute_loss(tagger, hidden, sizes, gold)
    assert float(loss.detach()) == pytest.approx(np.mean(losses), abs=20 * scale * slack)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in tagger.parameters())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_crf_gradient_is_expected_minus_observed_counts(scheme):
    """The derivative by an emission is the tag's probability, less one where it is gold."""
    names, length = ("city", "time"), 3
    vocab = vocab_with(names, scheme)
    tagger = tagger_with("crf", vocab, 2, torch.float64)
    # Hidden as wide as the tags are many, through the identity: what is derived by is the emission.
    tags = len(vocab.tags)
    tagger = TAGGERS.build("crf", tags, vocab).double().eval()
    randomize(tagger, 3, 2)
    weight, bias = (
        p
        for p in tagger.parameters()
        if p.shape in ((tags, tags), (tags,)) and p in set(linear(tagger))
    )
    with torch.no_grad():
        weight.copy_(torch.eye(tags))
        bias.zero_()
    hidden = torch.randn(
        1, length, tags, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    hidden.requires_grad_()
    paths = legal_paths(names, scheme, length)
    scores = path_scores(hidden[0].detach().numpy(), tagger.transitions(), paths)
    weights = np.exp(scores - log_sum(scores))
    expected = np.zeros((length, tags))
    for path, share in zip(paths, weights, strict=True):
        expected[np.arange(length), path] += share
    gold = paths[len(paths) // 2]
    expected[np.arange(length), gold] -= 1
    loss = compute_loss(tagger, hidden, torch.tensor([length]), torch.from_numpy(gold)[None])
    (gradient,) = torch.autograd.grad(loss, hidden)
    np.testing.assert_allclose(gradient[0].numpy(), expected, atol=1e-12)


def linear(tagger):
    return next(
        module for module in tagger.modules() if isinstance(module, torch.nn.Linear)
    ).parameters()


def test_a_path_far_behind_can_still_win():
    """A path that is e^150 behind, further than float32 reaches, is put first by its next token."""
    vocab = vocab_with(("city",), "iob2")
    tagger = TAGGERS.build("crf", 3, vocab).eval()
    with torch.no_grad():
        for parameter in tagger.parameters():
            parameter.zero_()
        next(iter(linear(tagger))).copy_(torch.eye(3))
    hidden = torch.zeros(1, 3, 3)
    hidden[0, :2, 0] = 150
    hidden[0, 2, vocab.tag_ids["I-city"]] = 1000
    gold = [vocab.tag_ids[tag] for tag in ("O", "B-city", "I-city")]
    loss = compute_loss(tagger, hidden, torch.tensor([3]), torch.tensor([gold]))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-3)
    assert decode(
        tagger(hidden, torch.tensor([3])).detach().numpy(), np.array([3]), tagger.transitions()
    ) == [gold]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "part", ["crf", {"name": "softmax", "constrained": True}], ids=["crf", "softmax"]
)
def test_decoded_tags_are_legal(part, scheme):
    vocab = make_vocab(scheme)
    tagger = TAGGERS.build(part, 8, vocab).eval()
    lengths = np.array([1, 2, 30, 5, 3, 17] * 5)
    for seed in range(3):
        randomize(tagger, seed, 3)
        hidden = torch.randn(len(lengths), 30, 8, generator=torch.Generator().manual_seed(seed))
        emissions = tagger(hidden, torch.from_numpy(lengths)).detach().numpy()
        for path, length in zip(
            decode(emissions, lengths, tagger.transitions()), lengths, strict=True
        ):
            assert len(path) == length
            assert is_legal([vocab.tags[i] for i in path], scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_constrained_softmax_forbids_illegal_transitions(scheme):
    vocab = make_vocab(scheme)
    assert TAGGERS.build("softmax", 2, vocab).transitions() is None
    transitions = TAGGERS.build({"name": "softmax", "constrained": True}, 2, vocab).transitions()
    for tags in product(range(len(vocab.tags)), repeat=2):
        path = np.array([tags])
        score = path_scores(np.zeros((2, len(vocab.tags))), transitions, path)[0]
        assert score == (0 if is_legal([vocab.tags[i] for i in tags], scheme) else -np.inf)


def test_softmax_loss_is_the_negative_log_likelihood():
    vocab = make_vocab()
    tagger = tagger_with("softmax", vocab, 2, torch.float64)
    hidden, lengths = draw_hidden([3, 1], torch.float64), torch.tensor([3, 1])
    emissions = tagger(hidden, lengths).detach().numpy()
    losses = [
        log_sum(emissions[row, t]) - emissions[row, t, 1]
        for row, t in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    loss = compute_loss(tagger, hidden, lengths, torch.ones(2, 3, dtype=torch.int64))
    assert float(loss.detach()) == pytest.approx(sum(losses) / 2, abs=1e-12)


@pytest.mark.parametrize("part", TAGGERS.names())
def test_a_sentence_of_a_thousand_tokens(part):
    vocab = make_vocab()
    torch.manual_seed(1)
    tagger = TAGGERS.build(small("tagger", part), 4, vocab).eval()
    if part in ("crf", "softmax"):
        # Through 1,000 steps of a recurrence with such weights the gradient would explode, as it
        # should.
        randomize(tagger, 1, 3)
    lengths = torch.tensor([1000, 3])
    hidden = torch.randn(2, 1000, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = compute_loss(tagger, hidden, lengths, torch.zeros(2, 1000, dtype=torch.int64))
    loss.backward()
    assert loss.isfinite() and hidden.grad.isfinite().all()
    assert (hidden.grad[1, 3:] == 0).all(), "padding has no part in the loss"
    assert all(parameter.grad.isfinite().all() for parameter in tagger.parameters())
    paths = decode(tagger(hidden, lengths).detach().numpy(), lengths.numpy(), tagger.transitions())
    assert [len(path) for path in paths] == [1000, 3]
