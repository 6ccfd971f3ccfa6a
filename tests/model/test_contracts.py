"""Contracts of every registered part in all options; new files are tested automatically."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from part_cases import (
    SENTENCES,
    STRANGE,
    all_variants,
    compute_loss,
    label,
    make_labelled_batch,
    make_vocab,
    networks,
    randomize,
)
from safetensors.torch import load_file, save_file

from slotfill.config.registry import CELLS, EMBEDDINGS, ENCODERS, INTENTS, REGISTRIES, TAGGERS
from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import select_intents
from slotfill.model.activations import record_activations
from slotfill.model.network import Network
from slotfill.model.recurrence import run_cell
from slotfill.training.data_parallel import trainable_parameters

LENGTHS = torch.tensor([3, 1, 7, 5, 2])
HIDDEN = 6
WIRING = {
    "embedding": ["vocab"],
    "cell": ["input_size", "hidden_size", "directions"],
    "encoder": ["input_size"],
    "intent": ["input_size", "vocab"],
    "tagger": ["input_size", "vocab"],
    "generator": ["vocab"],
    "format": [],
    "logger": [],
}


def network(parts, seed=1, scheme="iob2"):
    # `torch.manual_seed` also keeps a traceback for each kind of device.
    torch.default_generator.manual_seed(seed)
    vocab = make_vocab(scheme)
    return Network(vocab, *parts), vocab


def inputs(size, lengths=LENGTHS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(len(lengths), int(lengths.max()), size, generator=generator, dtype=dtype)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return x


def run(cell, x):
    return run_cell(cell, x)[0]


def embed(embedding, sentences):
    return embedding(*(torch.from_numpy(array) for array in embedding.indexer.index(sentences)))


# Documentation of a part


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in REGISTRIES for name in REGISTRIES[kind].names()]
)
def test_summary_and_options_are_documented(kind, name):
    part = REGISTRIES[kind].part(name)
    assert part.summary.endswith(".") and part.summary[0].isupper()
    parameters = list(inspect.signature(part.load()).parameters.values())
    wiring = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    expected = WIRING[kind] + (
        ["has_lower_layer"] if getattr(part.load(), "takes_lower_memory", False) else []
    )
    assert wiring == expected, "only wiring is positional; what YAML may set comes after the star"
    options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert options == list(part.options)
    lines = [line.strip() for line in (part.load().__doc__ or "").splitlines()]
    assert lines[0].endswith(".")
    for option in options:
        assert any(line.startswith(f"{option}: ") for line in lines), (
            f"the class's docstring has no '{option}: ...'"
        )


# Embeddings


@pytest.mark.parametrize("part", all_variants("embedding"))
def test_embedding_shape_and_independence_of_batch(part):
    embedding = EMBEDDINGS.build(part, make_vocab()).double().eval()
    randomize(embedding, 1)
    sentences = [s.tokens for s in SENTENCES] + STRANGE
    together = embed(embedding, sentences)
    assert together.shape == (len(sentences), max(map(len, sentences)), embedding.output_size)
    assert together.isfinite().all()
    for tokens, row in zip(sentences, together, strict=True):
        alone = embed(embedding, [tokens])
        assert alone.shape == (1, len(tokens), embedding.output_size)
        torch.testing.assert_close(alone[0], row[: len(tokens)], atol=1e-12, rtol=0)


# Cells


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("part", all_variants("cell"))
class TestCell:
    def cell(self, part, directions):
        cell = CELLS.build(part, 2, HIDDEN, directions).double().eval()
        randomize(cell, 1)
        return cell

    def x(self, directions, time=4, batch=2):
        return torch.randn(
            directions,
            time,
            batch,
            2,
            generator=torch.Generator().manual_seed(2),
            dtype=torch.float64,
        )

    def stepped(self, cell, x):
        """Return the outputs, computed one step at a time by the contract."""
        directions, time, batch, size = x.shape
        projected = cell.project(x.reshape(directions, time * batch, size)).view(
            directions, time, batch, -1
        )
        state = cell.initial_state(projected[:, 0])
        shapes = [tensor.shape for tensor in state]
        outputs = []
        for step in range(time):
            h, state = cell.step(projected[:, step], state)
            assert [tensor.shape for tensor in state] == shapes
            outputs.append(h)
        return torch.stack(outputs, dim=1)

    def test_sequence_matches_steps(self, part, directions):
        """With and without gradients, in which `run` may use different code."""
        cell, x = self.cell(part, directions), self.x(directions).requires_grad_()
        expected = self.stepped(cell, x)
        assert expected.shape == (directions, 4, 2, HIDDEN)
        weights = torch.randn(
            expected.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
        )
        gradients = torch.autograd.grad((expected * weights).sum(), [x, *cell.parameters()])
        actual = run(cell, x)
        torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)
        actual = torch.autograd.grad((actual * weights).sum(), [x, *cell.parameters()])
        for computed, reference in zip(actual, gradients, strict=True):
            torch.testing.assert_close(computed, reference, atol=1e-11, rtol=0)
        with torch.inference_mode():
            torch.testing.assert_close(run(cell, x), expected, atol=1e-12, rtol=0)

    def test_directions_are_independent(self, part, directions):
        cell, x = self.cell(part, directions), self.x(directions)
        together = run(cell, x)
        for direction in range(directions):
            alone = CELLS.build(part, 2, HIDDEN, 1).double().eval()
            with torch.no_grad():
                for one, both in zip(alone.parameters(), cell.parameters(), strict=True):
                    one.copy_(both[direction : direction + 1])
            actual = run(alone, x[direction : direction + 1])
            torch.testing.assert_close(actual[0], together[direction], atol=1e-12, rtol=0)

    def test_independent_of_batch_and_of_later_steps(self, part, directions):
        cell, x = self.cell(part, directions), self.x(directions)
        full = run(cell, x)
        torch.testing.assert_close(run(cell, x[:, :, :1]), full[:, :, :1], atol=1e-12, rtol=0)
        for time in (1, 3):
            torch.testing.assert_close(run(cell, x[:, :time]), full[:, :time], atol=1e-12, rtol=0)

    def test_records_its_gates(self, part, directions):
        """Every gate and the output are recorded at each step, and only on request."""
        cell, x = self.cell(part, directions), self.x(directions)
        with record_activations(cell) as notes:
            outputs = run(cell, x)
        assert {*cell.gates, "hidden"} <= set(notes[""])
        for gate in cell.gates:
            assert [step.shape for step in notes[""][gate]] == [(directions, 2, HIDDEN)] * 4
        assert torch.equal(torch.stack(notes[""]["hidden"], dim=1), outputs)
        run(cell, x)
        assert len(notes[""]["hidden"]) == 4 and cell.activations is None

    def test_gradient_matches_numerical(self, part, directions):
        cell, x = self.cell(part, directions), self.x(directions, time=3).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x, *_: run(cell, x), (x, *cell.parameters()), fast_mode=True
        )


# Encoders


@pytest.mark.parametrize("part", all_variants("encoder"))
class TestEncoder:
    def encoder(self, part, size=2):
        encoder = ENCODERS.build(part, size).double().eval()
        randomize(encoder, 1)
        return encoder

    def test_shape_and_padding(self, part):
        encoder = self.encoder(part)
        outputs = encoder(inputs(2), LENGTHS)
        assert outputs.shape == (5, 7, encoder.output_size)
        for row, length in zip(outputs, LENGTHS, strict=True):
            assert (row[length:] == 0).all()
            assert (row[:length] != 0).any()

    def test_independent_of_the_batch(self, part):
        encoder, x = self.encoder(part), inputs(2)
        together = encoder(x, LENGTHS)
        for row, length, encoded in zip(x, LENGTHS, together, strict=True):
            alone = encoder(row[None, :length], length[None])
            torch.testing.assert_close(alone[0], encoded[:length], atol=1e-12, rtol=0)
        order = torch.tensor([4, 2, 0, 3, 1])
        torch.testing.assert_close(
            encoder(x[order], LENGTHS[order]), together[order], atol=1e-12, rtol=0
        )

    def test_independent_of_padding(self, part):
        """Outputs and gradients depend neither on values nor on the length of padding."""
        encoder, x = self.encoder(part), inputs(2)
        x.requires_grad_()
        expected = encoder(x, LENGTHS)
        parameters = [x, *encoder.parameters()]
        gradients = torch.autograd.grad(expected.square().sum(), parameters)
        padded = torch.nn.functional.pad(x, (0, 0, 0, 4), value=7.0)
        padded = torch.where(torch.arange(11)[None, :, None] < LENGTHS[:, None, None], padded, 7.0)
        actual = encoder(padded, LENGTHS)
        torch.testing.assert_close(actual[:, :7], expected, atol=1e-12, rtol=0)
        assert (actual[:, 7:] == 0).all()
        for computed, reference in zip(
            torch.autograd.grad(actual.square().sum(), parameters), gradients, strict=True
        ):
            torch.testing.assert_close(computed, reference, atol=1e-10, rtol=1e-10)

    def test_the_seed_determines_the_weights_and_they_are_all_that_is_saved(self, part):
        def drawn(seed):
            torch.default_generator.manual_seed(seed)
            return ENCODERS.build(part, 2).eval()

        first, again, other = drawn(1), drawn(1), drawn(2)
        weights = first.state_dict()
        assert all(torch.equal(weights[name], one) for name, one in again.state_dict().items())
        x = inputs(2, dtype=torch.float32)
        outputs = first(x, LENGTHS)
        assert not weights or not torch.equal(other(x, LENGTHS), outputs)
        other.load_state_dict(weights)
        assert torch.equal(other(x, LENGTHS), outputs)

    def test_gradient_matches_numerical(self, part):
        encoder = self.encoder(part)
        lengths = torch.tensor([3, 1, 2])
        x = inputs(2, lengths).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x, *_: encoder(x, lengths), (x, *encoder.parameters()), fast_mode=True
        )


# Taggers


@pytest.mark.parametrize("part", all_variants("tagger"))
class TestTagger:
    def tagger(self, part):
        vocab = make_vocab("bioes")
        tagger = TAGGERS.build(part, 3, vocab).double().eval()
        randomize(tagger, 1)
        batch = make_labelled_batch(
            Network(vocab, ["word"], "feedforward", "softmax"), vocab, SENTENCES
        )
        lengths, tags = torch.from_numpy(batch.lengths), torch.from_numpy(batch.tags)
        return tagger, vocab, inputs(3, lengths), lengths, tags

    def test_shapes(self, part):
        tagger, vocab, hidden, lengths, tags = self.tagger(part)
        count = len(vocab.tags)
        emissions = tagger(hidden, lengths)
        assert emissions.shape == (*hidden.shape[:2], count)
        assert emissions.isfinite().all()
        losses = tagger.loss(tagger(hidden, lengths, tags), lengths, tags)
        assert losses.shape == lengths.shape and (losses > 0).all()
        transitions = tagger.transitions()
        if transitions is not None:
            assert transitions.start.shape == transitions.end.shape == (count,)
            assert transitions.matrix.shape == (count, count)

    def test_independent_of_the_batch(self, part):
        tagger, _, hidden, lengths, tags = self.tagger(part)
        together = tagger(hidden, lengths)
        losses = []
        for row, length, gold, emissions in zip(hidden, lengths, tags, together, strict=True):
            alone = (row[None, :length], length[None])
            torch.testing.assert_close(tagger(*alone)[0], emissions[:length], atol=1e-12, rtol=0)
            losses.append(compute_loss(tagger, *alone, gold[None, :length]))
        mean = torch.stack(losses).mean()
        torch.testing.assert_close(
            compute_loss(tagger, hidden, lengths, tags), mean, atol=1e-12, rtol=1e-12
        )
        pad = torch.nn.functional.pad
        padded = compute_loss(tagger, pad(hidden, (0, 0, 0, 4)), lengths, pad(tags, (0, 4)))
        torch.testing.assert_close(padded, mean, atol=1e-12, rtol=1e-12)

    def test_gradient_matches_numerical(self, part):
        tagger, _, hidden, lengths, tags = self.tagger(part)
        parameters = (hidden.requires_grad_(), *tagger.parameters())
        assert torch.autograd.gradcheck(
            lambda h, *_: compute_loss(tagger, h, lengths, tags), parameters, fast_mode=True
        )


# Intent heads


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("part", all_variants("intent"))
class TestIntent:
    def head(self, part, several):
        sentences = SENTENCES if several else SENTENCES[1:]
        vocab = Vocab.from_sentences(sentences, "iob2", intents=True)
        head = INTENTS.build(part, 3, vocab).double().eval()
        randomize(head, 1)
        lengths = torch.tensor([len(sentence.tokens) for sentence in sentences])
        return (
            head,
            inputs(3, lengths),
            lengths,
            torch.tensor(np.stack(vocab.intent_targets(sentences))),
        )

    def test_shapes(self, part, several):
        head, hidden, lengths, intents = self.head(part, several)
        seen, scores = head(hidden, lengths)
        assert seen.shape == (
            *hidden.shape[:2],
            head.output_size,
        ) and scores.shape == intents.shape == (len(hidden), 3)
        assert (seen[:, :, :3] == hidden).all()
        for row, length in zip(seen, lengths, strict=True):
            assert (row[length:] == 0).all() and (row[:length, 3:] == row[0, 3:]).all()
        assert head.loss(scores, intents) > 0
        assert all(select_intents(scores.detach().numpy(), several)), "at least one intent"

    def test_independent_of_batch_and_padding(self, part, several):
        head, hidden, lengths, intents = self.head(part, several)
        seen, together = head(hidden, lengths)
        losses = []
        for row, length, gold, other, scores in zip(
            hidden, lengths, intents, seen, together, strict=True
        ):
            alone, score = head(row[None, :length], length[None])
            torch.testing.assert_close(alone[0], other[:length], atol=1e-12, rtol=0)
            torch.testing.assert_close(score[0], scores, atol=1e-12, rtol=0)
            losses.append(head.loss(score, gold[None]))
        torch.testing.assert_close(
            head.loss(together, intents), torch.stack(losses).mean(), atol=1e-12, rtol=1e-12
        )
        padded = head(torch.nn.functional.pad(hidden, (0, 0, 0, 4)), lengths)
        torch.testing.assert_close(padded[1], together, atol=1e-12, rtol=0)
        torch.testing.assert_close(padded[0][:, : hidden.shape[1]], seen, atol=1e-12, rtol=0)

    def test_gradient_matches_numerical(self, part, several):
        head, hidden, lengths, intents = self.head(part, several)

        def loss(hidden, *_):
            seen, scores = head(hidden, lengths)
            return head.loss(scores, intents) + seen.square().sum()

        assert torch.autograd.gradcheck(
            loss, (hidden.requires_grad_(), *head.parameters()), fast_mode=True
        )


# The complete network


@pytest.mark.parametrize("parts", networks(inner=False))
class TestNetwork:
    def test_sentence_alone_matches_batch(self, parts):
        model, _ = network(parts)
        model.eval()
        sentences = [s.tokens for s in SENTENCES[:4]] + STRANGE
        together = model.emissions(make_batch(sentences, model.indexers))
        assert together.dtype == np.float32 and np.isfinite(together).all()
        for position in (0, 2, 5, 6):
            tokens = sentences[position]
            alone = model.emissions(make_batch([tokens], model.indexers))
            np.testing.assert_allclose(alone[0], together[position, : len(tokens)], atol=1e-5)

    def test_loss_is_the_mean_over_sentences(self, parts):
        model, vocab = network(parts)
        model.double().eval()
        alone = [
            model.loss(make_labelled_batch(model, vocab, [sentence])) for sentence in SENTENCES[:3]
        ]
        together = model.loss(make_labelled_batch(model, vocab, SENTENCES[:3]))
        torch.testing.assert_close(together, torch.stack(alone).mean(), atol=1e-10, rtol=1e-10)

    def test_every_parameter_has_a_gradient_that_matches_the_numerical(self, parts):
        """Along a random direction that keeps the zero vector of padding."""
        model, vocab = network(parts)
        model.double().eval()
        batch = make_labelled_batch(model, vocab, SENTENCES)
        parameters = trainable_parameters(model)
        gradients = torch.autograd.grad(model.loss(batch), parameters)
        for gradient in gradients:
            assert gradient.isfinite().all() and (gradient != 0).any()
        start = [parameter.detach().clone() for parameter in parameters]
        randomize(model, 0)
        directions = [parameter.detach().clone() for parameter in parameters]
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                for parameter, origin, direction in zip(parameters, start, directions, strict=True):
                    parameter.copy_(origin + step * direction)
                ends.append(float(model.loss(batch)))
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-5, abs=1e-7)

    def test_save_and_load(self, parts, tmp_path):
        model, _ = network(parts)
        batch = make_batch([s.tokens for s in SENTENCES] + STRANGE, model.indexers)
        before = model.eval().emissions(batch)
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        other = network(parts, seed=2)[0].eval()
        assert not np.array_equal(other.emissions(batch), before)
        other.load_state_dict(load_file(tmp_path / "model.safetensors"))
        # The indexers depend only on the vocabulary, which is saved as JSON.
        again = make_batch([s.tokens for s in SENTENCES] + STRANGE, other.indexers)
        assert np.array_equal(other.emissions(again), before)
        own_transitions, loaded_transitions = (m.tagger.transitions() for m in (model, other))
        if own_transitions is not None:
            assert np.array_equal(
                own_transitions.matrix, loaded_transitions.matrix
            ) and np.array_equal(own_transitions.start, loaded_transitions.start)
            assert np.array_equal(own_transitions.end, loaded_transitions.end)

    def test_same_seed_same_weights_and_noise(self, parts):
        """Another seed has other weights: test_save_and_load."""

        def drawn():
            model, vocab = network(parts)
            loss = model.train().loss(make_labelled_batch(model, vocab, SENTENCES[:4]))
            return model.state_dict(), float(loss.detach())

        (weights, loss), (again, loss_again) = drawn(), drawn()
        assert all(torch.equal(weights[name], again[name]) for name in weights)
        assert loss == loss_again

    def test_noise_is_of_training_only(self, parts):
        """In evaluation there is none: test_save_and_load."""
        model, vocab = network(parts)
        batch = make_labelled_batch(model, vocab, SENTENCES)
        labels = " ".join(label(part) for part in (*parts[0], *parts[1:]))
        noisy = "=0.5" in labels or "=hard" in labels
        noisy |= any(getattr(module, "has_kl_term", False) for module in model.modules())
        asleep = float(model.eval().loss(batch).detach())
        awake = [float(model.train().loss(batch).detach()) for _ in range(4 if noisy else 1)]
        assert len({*awake}) > 1 if noisy else awake == [asleep]
