"""The contracts of parts: what every cell, encoder, tagger, embedding and intent head promises.

The tests check them on every built-in part, and `slotfill check --contract` on a user-defined one.
A contract is a function whose name says what holds; it raises ContractError where it does not.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from traceback import extract_stack, extract_tb
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.overrides import TorchFunctionMode

from slotfill.config.part_config import to_plain
from slotfill.config.registry import (
    CELLS,
    EMBEDDINGS,
    ENCODERS,
    GENERATORS,
    INTENTS,
    REGISTRIES,
    TAGGERS,
    PartSource,
    describe_failure,
    describe_part_error,
    find_part_line,
    loaded_part_files,
    trust_external_parts,
    user_part,
)
from slotfill.config.validate import parse_config
from slotfill.data.batching import Batch, make_batch
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, SlotfillError, UsageError
from slotfill.export.builder import ExportError
from slotfill.export.to_onnx import export_model
from slotfill.inference.decoding import select_intents
from slotfill.model.activations import record_activations
from slotfill.model.cells.base import Cell
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.generators.base import Generator, Terms
from slotfill.model.intents.base import IntentHead
from slotfill.model.layers import padding_mask
from slotfill.model.network import Network
from slotfill.model.recurrence import run_cell
from slotfill.model.taggers.base import Tagger

Part = Mapping[str, Any]
"""A part as in a config: its `name`, which may be a file, and its options."""

Contract = Callable[..., None]

INPUT, HIDDEN = 2, 6
"""The input and hidden sizes of the parts that are checked."""

LENGTHS = (3, 1, 7, 5, 2)

SENTENCES = [
    Sentence.from_tokens(
        ["leave", "New", "York", "at", "11:30"], [Slot("from", 1, 3), Slot("time", 4, 5)], "go#ask"
    ),
    Sentence.from_tokens(
        ["leave", "leave", "Taipei", "Taipei", "at", "12:45"],
        [Slot("from", 2, 3), Slot("from", 3, 4)],
        "go",
    ),
    Sentence.from_tokens(["yes"], [], "agree"),
    Sentence.from_tokens(["Boston"], [Slot("from", 0, 1)], "go"),
    Sentence.from_tokens(
        ["at", "7", "p.m.", "sharp", "leave", "San", "Juan", "del", "Sur"],
        [Slot("time", 1, 4), Slot("from", 5, 9)],
        "go",
    ),
    Sentence.from_tokens(
        ["時間", "11:30", "離開", "台北"], [Slot("time", 1, 2), Slot("from", 3, 4)], "ask"
    ),
]

UNKNOWN_WORDS = [
    ["x" * 300],
    ["q"],
    ["never", "seen", "🛫", "👩‍✈️", "ñandú", "𠮷", "\u200d", "Taipei"],
    ["a", "b" * 300, "c"],
]
"""Tokens that training has not seen: one character, 300, characters of no known word."""


class ContractError(Exception):
    """A part does not do what its kind promises; the message is one line."""


class WrongResultError(ContractError):
    """A result of another kind than documented, with which no other contract can be checked."""


class NotFiniteError(WrongResultError):
    """A result has nan or inf in it."""


def make_vocab(scheme: str = "iob2") -> Vocab:
    """Return the vocabulary of SENTENCES."""
    return Vocab.from_sentences(SENTENCES, scheme, intents=True)


def make_labelled_batch(model: Network, vocab: Vocab, sentences: Sequence[Sentence]) -> Batch:
    """Return the batch of `sentences` with their tags and intents."""
    tags = [
        [vocab.tag_ids[tag] for tag in slots_to_tags(s.slots or [], len(s.tokens), vocab.scheme)]
        for s in sentences
    ]
    tokens = [sentence.tokens for sentence in sentences]
    return make_batch(tokens, model.indexers, tags, vocab.intent_targets(sentences))


def randomize(module: nn.Module, seed: int, scale: float = 1.0) -> None:
    """Fill all trainable parameters with uniform values up to `scale`; padding stays zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.uniform_(-scale, scale, generator=generator)
        for part in module.modules():
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                part.weight[part.padding_idx] = 0


def compute_loss(tagger: Tagger, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
    """Return the loss of a tagger over `hidden`, as the network computes it."""
    emissions = tagger(hidden, lengths, tags)
    return tagger.loss(emissions, lengths, tags).mean() + tagger.regularization_loss


def make_inputs(size: int, lengths: Sequence[int] = LENGTHS) -> tuple[Tensor, Tensor]:
    """Return random vectors of sentences, zero at padding, and their lengths."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(len(lengths), max(lengths), size, generator=generator, dtype=torch.float64)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return x, torch.tensor(lengths)


def _require(holds: Any, message: str) -> None:
    if not bool(holds):
        raise ContractError(message)


def _require_result(holds: Any, message: str) -> None:
    if not bool(holds):
        raise WrongResultError(message)


def _require_shape(tensor: Any, shape: Sequence[int], name: str) -> None:
    found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
    _require_result(found == tuple(shape), f"{name} must be {tuple(shape)}, found {found}")


def _require_tensor(tensor: Any, shape: Sequence[int], like: Tensor, name: str) -> None:
    """Check that `tensor` has a shape, the type and device of `like`, and finite numbers."""
    _require_shape(tensor, shape, name)
    _require_type(tensor, like, name)
    _require_finite(tensor, name)


def _require_type(tensor: Tensor, like: Tensor, name: str) -> None:
    expected, found = (str(each.dtype).removeprefix("torch.") for each in (like, tensor))
    _require_result(found == expected, f"{name} must be {expected}, found {found}")
    message = f"{name} must be on the device of its input, {like.device}, found {tensor.device}"
    _require_result(tensor.device == like.device, message)


def _require_finite(tensor: Tensor, name: str) -> None:
    if not bool(tensor.isfinite().all()):
        raise NotFiniteError(f"{name} {'are' if _is_plural(name) else 'is'} not finite")


def _is_plural(name: str) -> bool:
    return name.split()[1].endswith("s")  # As `the losses of the sentences`.


def _require_requires_grad(tensor: Tensor, name: str) -> None:
    message = f"{name} {'have' if _is_plural(name) else 'has'} no gradient: requires_grad is False"
    _require_result(tensor.requires_grad, f"{message}, as after detach(), .data or numpy()")


def _require_arguments(function: Callable[..., Any], arguments: Sequence[Any], names: str) -> None:
    """Check that `function` can be called with `arguments`, which the documentation calls so."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise WrongResultError(f"{function.__name__}() must take {names}") from None


def _require_pair(result: Any, name: str, parts: str) -> None:
    is_tuple = isinstance(result, tuple)
    found = f"a tuple of {len(result)}" if is_tuple else type(result).__name__
    _require_result(is_tuple and len(result) == 2, f"{name} must return {parts}, found {found}")


def _require_output_size(part: nn.Module) -> None:
    found = getattr(part, "output_size", None)
    message = f"__init__ must set self.output_size, an integer, found {found}"
    _require_result(isinstance(found, int), message)


def _require_equal(
    actual: Tensor, expected: Tensor, message: str, tolerance: float = 1e-12
) -> None:
    found = type(actual).__name__
    _require_result(isinstance(actual, Tensor), f"{message}: it must be a tensor, found {found}")
    for tensor in (actual, expected):
        _require_finite(tensor, "the gradient" if "gradient" in message else "the output")
    shapes = tuple(actual.shape), tuple(expected.shape)
    _require(shapes[0] == shapes[1], f"{message}: shape {shapes[0]}, not {shapes[1]}")
    difference = float((actual - expected).detach().abs().max()) if actual.numel() else 0.0
    _require(difference <= tolerance * max(1.0, float(expected.detach().abs().max())), message)


def _require_gradient(function: Callable[..., Any], *tensors: Tensor) -> None:
    try:
        gradcheck(function, tensors, fast_mode=True)
    except GradcheckError:
        outputs = function(*tensors)
        _require_finite(outputs, "the output")
        for gradient in torch.autograd.grad(outputs.sum(), tensors, materialize_grads=True):
            _require_finite(gradient, "the gradient")
        raise ContractError("the gradient differs from the numerical gradient") from None


# Cells


def _build_cell(part: Part, directions: int) -> Cell:
    cell: Cell = CELLS.build(part, INPUT, HIDDEN, directions).double().eval()
    randomize(cell, 1)
    return cell


def _cell_inputs(directions: int, time: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (directions, time, 2, INPUT)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _run(cell: Cell, x: Tensor) -> Tensor:
    return run_cell(cell, x)[0]


def _stepwise(cell: Cell, x: Tensor) -> Tensor:
    """Return the outputs, computed one step at a time, with all shapes and types checked."""
    directions, time, batch, size = x.shape
    rows = x.reshape(directions, time * batch, size)
    _require_arguments(cell.project, [rows], "x")
    projected = cell.project(rows)
    is_tensor = isinstance(projected, Tensor)
    found = tuple(projected.shape) if is_tensor else type(projected).__name__
    _require_result(
        is_tensor and projected.dim() == 3 and projected.shape[:2] == rows.shape[:2],
        f"project() must return ({directions}, {time * batch}, size) for {tuple(rows.shape)},"
        f" found {found}",
    )
    _require_type(projected, x, "the output of project()")
    projected = projected.view(directions, time, batch, -1)
    _require_arguments(cell.initial_state, [projected[:, 0]], "projected")
    state = cell.initial_state(projected[:, 0])
    _require_state(state, "the state of initial_state()")
    for tensor in state:
        if tensor.is_floating_point():
            _require_type(tensor, x, "the state of initial_state()")
    _require_arguments(cell.step, [projected[:, 0], state], "projected and state")
    first = [(tuple(tensor.shape), tensor) for tensor in state]
    outputs = []
    for step in range(time):
        result = cell.step(projected[:, step], state)
        _require_pair(result, "step()", "the output and the next state")
        h, state = result
        name = "the output of step()"
        _require_tensor(h, (directions, batch, cell.hidden_size), x, name)
        _require_state(state, "the next state of step()")
        before = [shape for shape, _ in first]
        after = [tuple(tensor.shape) for tensor in state]
        message = f"step() must keep the shapes of the state, {before}, found {after}"
        _require_result(after == before, message)
        for tensor, (_, like) in zip(state, first, strict=True):
            _require_type(tensor, like, "the next state of step()")
        if x.requires_grad:
            _require_requires_grad(h, name)
            numbers = [tensor for tensor in state if tensor.is_floating_point()]
            kept = any(tensor.requires_grad for tensor in numbers)
            # A state that is never changed, as of a cell without one, needs no gradient.
            if not kept and any((tensor != 0).any() for tensor in numbers):
                _require_requires_grad(numbers[0], "the next state of step()")
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def _require_state(state: Any, name: str) -> None:
    is_tuple = isinstance(state, tuple)
    found = type(state).__name__
    if is_tuple and state:
        found = f"a tuple of {type(state[0]).__name__}"
    is_state = is_tuple and all(isinstance(tensor, Tensor) for tensor in state)
    _require_result(is_state, f"{name} must be a tuple of tensors, as (h,), found {found}")


def cell_has_the_documented_shapes(part: Part) -> None:
    """In the precision of training, and in 64 bits, in which the other contracts are checked."""
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        _stepwise(cell.float(), x.float().requires_grad_())
        _stepwise(cell.double(), x)


def cell_computes_sequences_as_steps(part: Part) -> None:
    """With and without gradients, where `forward_sequence` may use different code."""
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions).requires_grad_()
        expected = _stepwise(cell, x)
        generator = torch.Generator().manual_seed(3)
        weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
        parameters = [x, *cell.parameters()]
        gradients = torch.autograd.grad(
            (expected * weights).sum(), parameters, materialize_grads=True
        )
        outputs = _run(cell, x)
        message = "a sequence at once differs from its steps"
        _require_equal(outputs, expected, message)
        actual = torch.autograd.grad((outputs * weights).sum(), parameters, materialize_grads=True)
        for computed, reference in zip(actual, gradients, strict=True):
            _require_equal(computed, reference, f"the gradient of {message}", 1e-11)
        with torch.inference_mode():
            _require_equal(_run(cell, x), expected, f"without gradients, {message}")


def cell_has_independent_directions(part: Part) -> None:
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        together = _run(cell, x)
        for direction in range(directions):
            alone = _build_cell(part, 1)
            with torch.no_grad():
                for one, both in zip(alone.parameters(), cell.parameters(), strict=True):
                    found = tuple(both.shape)
                    _require(
                        found == (directions, *one.shape[1:]),
                        f"the first axis of a weight must be the direction, found {found}",
                    )
                    one.copy_(both[direction : direction + 1])
            outputs = _run(alone, x[direction : direction + 1])
            message = "a direction depends on the other"
            _require_equal(outputs[0], together[direction], message)


def cell_is_independent_of_the_batch_and_of_later_steps(part: Part) -> None:
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        full = _run(cell, x)
        message = "a sentence depends on the others of the batch"
        _require_equal(_run(cell, x[:, :, :1]), full[:, :, :1], message)
        for time in (1, 3):
            message = "an output depends on later steps"
            _require_equal(_run(cell, x[:, :time]), full[:, :time], message)


def cell_records_its_gates(part: Part) -> None:
    """Every gate and the output are recorded at each step, and only on request."""
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        with record_activations(cell) as activations:
            outputs = _run(cell, x)
        recorded = activations[""]
        for gate in cell.gates:
            _require(gate in recorded, f"step() must record '{gate}', which `gates` names")
            for tensor in recorded[gate]:
                _require_shape(tensor, (directions, 2, HIDDEN), f"the recorded '{gate}'")
            count = len(recorded[gate])
            _require(count == 4, f"'{gate}' must be recorded once a step, not {count} in 4 steps")
        stacked = torch.stack(recorded["hidden"], dim=1)
        _require_equal(stacked, outputs, "what is recorded as 'hidden' is not the output")
        _run(cell, x)
        _require(len(recorded["hidden"]) == 4, "activations are recorded unasked")


def cell_has_the_numerical_gradient(part: Part) -> None:
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions, 3).requires_grad_()
        _require_gradient(lambda x, *_, cell=cell: _run(cell, x), x, *cell.parameters())


# Encoders


def _build_encoder(part: Part) -> Encoder:
    encoder: Encoder = ENCODERS.build(part, INPUT).double().eval()
    randomize(encoder, 1)
    return encoder


def encoder_has_the_documented_shapes(part: Part) -> None:
    encoder, (x, lengths) = _build_encoder(part), make_inputs(INPUT)
    _require_output_size(encoder)
    _require_arguments(encoder.forward, [x, lengths], "x and lengths")
    shape = (*x.shape[:2], encoder.output_size)
    name = "the output of forward()"
    outputs = encoder.float()(x.float().requires_grad_(), lengths)
    _require_tensor(outputs, shape, x.float(), name)
    _require_requires_grad(outputs, name)
    outputs = encoder.double()(x, lengths)
    _require_tensor(outputs, shape, x, name)
    for row, length in zip(outputs, lengths, strict=True):
        _require((row[length:] == 0).all(), "the output must be zero at padding")
    _require((outputs != 0).any(), "the output is zero at all tokens")


def encoder_is_independent_of_the_batch(part: Part) -> None:
    encoder, (x, lengths) = _build_encoder(part), make_inputs(INPUT)
    message = "a sentence depends on the others of the batch"
    together = encoder(x, lengths)
    for row, length, encoded in zip(x, lengths, together, strict=True):
        alone = encoder(row[None, :length], length[None])
        _require_equal(alone[0], encoded[:length], message)
    order = torch.tensor([4, 2, 0, 3, 1])
    _require_equal(encoder(x[order], lengths[order]), together[order], message)


def encoder_is_independent_of_padding(part: Part) -> None:
    """Outputs and gradients depend neither on values nor on the length of padding."""
    encoder, (x, lengths) = _build_encoder(part), make_inputs(INPUT)
    x.requires_grad_()
    expected = encoder(x, lengths)
    time = x.shape[1]
    parameters = [x, *encoder.parameters()]
    gradients = torch.autograd.grad(expected.square().sum(), parameters, materialize_grads=True)
    padded = nn.functional.pad(x, (0, 0, 0, 4), value=7.0)
    mask = torch.arange(time + 4)[None, :, None] < lengths[:, None, None]
    outputs = encoder(torch.where(mask, padded, 7.0), lengths)
    _require_equal(outputs[:, :time], expected, "the output depends on padding")
    _require((outputs[:, time:] == 0).all(), "the output must be zero at padding")
    actual = torch.autograd.grad(outputs.square().sum(), parameters, materialize_grads=True)
    for computed, reference in zip(actual, gradients, strict=True):
        _require_equal(computed, reference, "the gradient depends on padding", 1e-10)


def encoder_has_the_numerical_gradient(part: Part) -> None:
    encoder = _build_encoder(part)
    x, lengths = make_inputs(INPUT, (3, 1, 2))
    _require_gradient(lambda x, *_: encoder(x, lengths), x.requires_grad_(), *encoder.parameters())


def encoder_is_determined_by_the_seed_and_its_weights(part: Part) -> None:
    def draw(seed: int) -> Encoder:
        torch.default_generator.manual_seed(seed)
        encoder: Encoder = ENCODERS.build(part, INPUT).eval()
        return encoder

    first, again, other = draw(1), draw(1), draw(2)
    weights = first.state_dict()
    same = all(torch.equal(weights[name], tensor) for name, tensor in again.state_dict().items())
    _require(same, "the same seed gives other weights")
    x, lengths = make_inputs(INPUT)
    x = x.float()
    outputs = first(x, lengths)
    changed = not weights or not torch.equal(other(x, lengths), outputs)
    _require(changed, "another seed changes nothing")
    other.load_state_dict(weights)
    _require(torch.equal(other(x, lengths), outputs), "the output differs after loading")


# Taggers


def _build_tagger(
    part: Part, sentences: Sequence[Sentence] = SENTENCES
) -> tuple[Tagger, Vocab, Tensor, Tensor, Tensor]:
    """Return the tagger, the vocabulary, its input, the lengths and the gold tags."""
    vocab = make_vocab("bioes")
    tagger: Tagger = TAGGERS.build(part, INPUT, vocab).double().eval()
    randomize(tagger, 1)
    plain = Network(vocab, ["word"], "feedforward", "softmax")
    batch = make_labelled_batch(plain, vocab, sentences)
    assert batch.tags is not None
    hidden, lengths = make_inputs(INPUT, batch.lengths.tolist())
    return tagger, vocab, hidden, lengths, torch.from_numpy(batch.tags)


def tagger_has_the_documented_shapes(part: Part) -> None:
    tagger, vocab, hidden, lengths, tags = _build_tagger(part)
    count = len(vocab.tags)
    _require_arguments(tagger.forward, [hidden, lengths, tags], "hidden, lengths and tags=None")
    _require_arguments(tagger.forward, [hidden, lengths], "hidden, lengths and tags=None")
    for inputs in (hidden.float().requires_grad_(), hidden):
        emissions = tagger.to(inputs.dtype)(inputs, lengths)
        _require_tensor(emissions, (*hidden.shape[:2], count), inputs, "the emissions")
        losses = tagger.loss(tagger(inputs, lengths, tags), lengths, tags)
        _require_tensor(losses, lengths.shape, inputs, "the losses of the sentences")
        if inputs.requires_grad:
            _require_requires_grad(losses, "the loss")
    _require((losses > 0).all(), "the loss of a sentence must be above 0")
    if (transitions := tagger.transitions()) is not None:
        for name, shape in (("start", (count,)), ("matrix", (count, count)), ("end", (count,))):
            found = getattr(transitions, name).shape
            _require(found == shape, f"transitions.{name} must be {shape}, found {found}")


def tagger_is_independent_of_the_batch(part: Part) -> None:
    tagger, _, hidden, lengths, tags = _build_tagger(part)
    together = tagger(hidden, lengths)
    losses = []
    for row, length, gold, emissions in zip(hidden, lengths, tags, together, strict=True):
        alone = (row[None, :length], length[None])
        message = "the emissions of a sentence depend on the others of the batch"
        _require_equal(tagger(*alone)[0], emissions[:length], message)
        losses.append(compute_loss(tagger, *alone, gold[None, :length]))
    mean = torch.stack(losses).mean()
    loss = compute_loss(tagger, hidden, lengths, tags)
    _require_equal(loss, mean, "the loss of a batch is not the mean of its sentences'")
    pad = nn.functional.pad
    padded = compute_loss(tagger, pad(hidden, (0, 0, 0, 4)), lengths, pad(tags, (0, 4)))
    _require_equal(padded, mean, "the loss depends on padding")


def tagger_has_the_numerical_gradient(part: Part) -> None:
    tagger, _, hidden, lengths, tags = _build_tagger(part, SENTENCES[:4])
    _require_gradient(
        lambda hidden, *_: compute_loss(tagger, hidden, lengths, tags),
        hidden.requires_grad_(),
        *tagger.parameters(),
    )


# Embeddings


def embedding_has_the_documented_shapes(part: Part) -> None:
    embedding: Embedding = EMBEDDINGS.build(part, make_vocab()).eval()
    randomize(embedding, 1)
    _require_output_size(embedding)
    indexer = getattr(embedding, "indexer", None)
    message = f"__init__ must set self.indexer, which has the method index(), found {indexer}"
    _require_result(callable(getattr(indexer, "index", None)), message)
    sentences = _sentences()
    arrays = embedding.indexer.index(sentences)
    is_arrays = isinstance(arrays, tuple | list) and all(
        isinstance(each, np.ndarray) for each in arrays
    )
    message = "the indexer's index() must return a tuple of NumPy arrays"
    _require_result(is_arrays, f"{message}, found {type(arrays).__name__}")
    tensors = [*map(torch.from_numpy, arrays)]
    names = f"{len(tensors)} tensors, those of its indexer"
    _require_arguments(embedding.forward, tensors, names)
    vectors = embedding(*tensors)
    shape = (len(sentences), max(map(len, sentences)), embedding.output_size)
    _require_tensor(vectors, shape, torch.zeros(()), "the vectors")


def embedding_is_independent_of_the_batch(part: Part) -> None:
    embedding: Embedding = EMBEDDINGS.build(part, make_vocab()).double().eval()
    randomize(embedding, 1)

    def embed(sentences: Sequence[Sequence[str]]) -> Tensor:
        arrays = embedding.indexer.index(sentences)
        vectors: Tensor = embedding(*map(torch.from_numpy, arrays))
        shape = (len(sentences), max(map(len, sentences)), embedding.output_size)
        _require_shape(vectors, shape, "the vectors")
        return vectors

    sentences = _sentences()
    together = embed(sentences)
    for tokens, row in zip(sentences, together, strict=True):
        message = "the vectors of a sentence depend on the others of the batch"
        _require_equal(embed([tokens])[0], row[: len(tokens)], message)


# Intent heads


def _build_intent(part: Part, several: bool) -> tuple[IntentHead, Tensor, Tensor, Tensor]:
    """Return the head, its input, the lengths and the gold intents, of which a sentence has one."""
    sentences = SENTENCES if several else SENTENCES[1:]
    vocab = Vocab.from_sentences(sentences, "iob2", intents=True)
    head: IntentHead = INTENTS.build(part, INPUT, vocab).double().eval()
    randomize(head, 1)
    hidden, lengths = make_inputs(INPUT, [len(sentence.tokens) for sentence in sentences])
    return head, hidden, lengths, torch.tensor(np.stack(vocab.intent_targets(sentences)))


def intent_head_has_the_documented_shapes(part: Part) -> None:
    for several in (True, False):
        head, hidden, lengths, intents = _build_intent(part, several)
        _require_output_size(head)
        mask = padding_mask(lengths, hidden.shape[1])
        for inputs in (hidden.float().requires_grad_(), hidden):
            head.to(inputs.dtype)
            if type(head).forward is IntentHead.forward:
                _require_arguments(head.pool, [inputs, mask], "hidden and mask")
                shape = (len(lengths), head.linear.in_features)
                _require_tensor(head.pool(inputs, mask), shape, inputs, "the output of pool()")
            _require_arguments(head.forward, [inputs, lengths], "hidden and lengths")
            result = head(inputs, lengths)
            _require_pair(result, "forward()", "the tagger's input and the scores of the intents")
            seen, scores = result
            shape = (*hidden.shape[:2], head.output_size)
            _require_tensor(seen, shape, inputs, "the input of the tagger")
            _require_tensor(scores, intents.shape, inputs, "the scores of the intents")
            if inputs.requires_grad:
                _require_requires_grad(scores, "the scores of the intents")
        _require(
            (seen[:, :, :INPUT] == hidden).all(), "the tagger's input must begin with the states"
        )
        for row, length in zip(seen, lengths, strict=True):
            _require((row[length:] == 0).all(), "the tagger's input must be zero at padding")
            same = (row[:length, INPUT:] == row[0, INPUT:]).all()
            _require(same, "the tagger's input must have the same intents at all tokens")
        _require(head.loss(scores, intents) > 0, "the loss must be above 0")
        chosen = select_intents(scores.detach().numpy(), several)
        _require(all(chosen), "a sentence must have an intent")


def intent_head_is_independent_of_batch_and_padding(part: Part) -> None:
    for several in (True, False):
        head, hidden, lengths, intents = _build_intent(part, several)
        seen, together = head(hidden, lengths)
        losses = []
        message = "a sentence depends on the others of the batch"
        for row, length, gold, other, scores in zip(
            hidden, lengths, intents, seen, together, strict=True
        ):
            alone, score = head(row[None, :length], length[None])
            _require_equal(alone[0], other[:length], message)
            _require_equal(score[0], scores, message)
            losses.append(head.loss(score, gold[None]))
        mean = torch.stack(losses).mean()
        loss = head.loss(together, intents)
        _require_equal(loss, mean, "the loss of a batch is not the mean of its sentences'")
        padded = head(nn.functional.pad(hidden, (0, 0, 0, 4)), lengths)
        _require_equal(padded[1], together, "the scores depend on padding")
        _require_equal(
            padded[0][:, : hidden.shape[1]], seen, "the tagger's input depends on padding"
        )


def intent_head_has_the_numerical_gradient(part: Part) -> None:
    for several in (True, False):
        head, hidden, lengths, intents = _build_intent(part, several)

        def loss(hidden: Tensor, *_: Tensor, own: Any = (head, lengths, intents)) -> Tensor:
            head, lengths, intents = own
            seen, scores = head(hidden, lengths)
            return head.loss(scores, intents) + seen.square().sum()

        _require_gradient(loss, hidden.requires_grad_(), *head.parameters())


# Generators


def generator_has_the_documented_shapes(part: Part) -> None:
    generator: Generator = GENERATORS.build(part, make_vocab()).eval()
    network = Network(make_vocab(), ["word"], "feedforward", "softmax")
    symbols, lengths = generator.encode(make_labelled_batch(network, make_vocab(), SENTENCES))
    like, count = torch.zeros(()), len(SENTENCES)
    _require_arguments(generator.terms, [symbols, lengths], "symbols and lengths")
    terms = generator.terms(symbols, lengths)
    found = type(terms).__name__
    _require_result(isinstance(terms, Terms), f"terms() must return Terms, found {found}")
    for name, tensor in terms._asdict().items():
        _require_tensor(tensor, (count,), like, f"{name} of terms()")
    _require_requires_grad(terms.log_likelihood, "log_likelihood of terms()")
    random = torch.Generator().manual_seed(1)
    _require_arguments(generator.start, [count, random], "batch and random")
    memory = generator.start(count, random)
    previous = torch.zeros(count, dtype=torch.long)
    _require_arguments(generator.next, [previous, memory, random], "previous, memory and random")
    for _ in range(2):
        result = generator.next(previous, memory, random)
        _require_pair(result, "next()", "the states of the next symbols and the memory")
        states, memory = result
        shape = (count, generator.projection.in_features)
        _require_tensor(states, shape, like, "the states of next()")


# Networks

Parts = Sequence[Any]
"""Embeddings, encoder, tagger and, if there is one, intent head."""


def _build_network(parts: Parts, seed: int = 1) -> tuple[Network, Vocab]:
    # `torch.manual_seed` also keeps a traceback for each kind of device.
    torch.default_generator.manual_seed(seed)
    vocab = make_vocab()
    return Network(vocab, *parts), vocab


def _sentences() -> list[list[str]]:
    return [sentence.tokens for sentence in SENTENCES] + UNKNOWN_WORDS


def _require_close(actual: np.ndarray, expected: np.ndarray, message: str) -> None:
    _require(np.allclose(actual, expected, atol=1e-5, rtol=1e-7), message)


def network_is_independent_of_the_batch(parts: Parts) -> None:
    model, _ = _build_network(parts)
    model.eval()
    sentences = [sentence.tokens for sentence in SENTENCES[:4]] + UNKNOWN_WORDS
    together = model.emissions(make_batch(sentences, model.indexers))
    _require(together.dtype == np.float32, f"emissions must be float32, found {together.dtype}")
    _require_finite(torch.from_numpy(together), "the emissions")
    for position in (0, 2, 5, 6):
        tokens = sentences[position]
        alone = model.emissions(make_batch([tokens], model.indexers))
        same = np.allclose(alone[0], together[position, : len(tokens)], atol=1e-5, rtol=1e-7)
        _require(same, "the emissions of a sentence depend on the others of the batch")


def network_has_the_mean_of_the_sentences_losses(parts: Parts) -> None:
    model, vocab = _build_network(parts)
    model.double().eval()
    losses = [model.loss(make_labelled_batch(model, vocab, [each])) for each in SENTENCES[:3]]
    together = model.loss(make_labelled_batch(model, vocab, SENTENCES[:3]))
    message = "the loss of a batch is not the mean of its sentences'"
    _require_equal(together, torch.stack(losses).mean(), message, 1e-10)


def network_has_the_numerical_gradient_for_every_parameter(parts: Parts) -> None:
    """Along a random direction that keeps the zero vector of padding."""
    model, vocab = _build_network(parts)
    model.double().eval()
    batch = make_labelled_batch(model, vocab, SENTENCES)
    named = {name: each for name, each in model.named_parameters() if each.requires_grad}
    parameters = list(named.values())
    gradients = torch.autograd.grad(model.loss(batch), parameters, allow_unused=True)
    for name, gradient in zip(named, gradients, strict=True):
        _require(gradient is not None, f"{name} has no gradient")
        _require_finite(gradient, f"the gradient of {name}")
        _require((gradient != 0).any(), f"the gradient of {name} is 0")
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
    difference = abs((ends[0] - ends[1]) / 2e-5 - slope)
    message = "the gradient differs from the numerical gradient"
    _require(difference <= max(1e-5 * abs(slope), 1e-7), message)


def network_is_the_same_when_loaded(parts: Parts) -> None:
    model, _ = _build_network(parts)
    batch = make_batch(_sentences(), model.indexers)
    before = model.eval().emissions(batch)
    saved = save(model.state_dict())
    other = _build_network(parts, seed=2)[0].eval()
    _require(not np.array_equal(other.emissions(batch), before), "another seed changes nothing")
    other.load_state_dict(load(saved))
    # The indexers depend only on the vocabulary, which is saved as JSON.
    again = other.emissions(make_batch(_sentences(), other.indexers))
    _require(np.array_equal(again, before), "the emissions differ after saving and loading")
    tables = [network.tagger.transitions() for network in (model, other)]
    if tables[0] is not None:
        for name in ("start", "matrix", "end"):
            same = np.array_equal(*(getattr(table, name) for table in tables))
            _require(same, f"transitions.{name} differs after saving and loading")


def network_is_determined_by_the_seed(parts: Parts) -> None:
    """That another seed has other weights is part of `network_is_the_same_when_loaded`."""

    def draw() -> tuple[dict[str, Tensor], float]:
        model, vocab = _build_network(parts)
        loss = model.train().loss(make_labelled_batch(model, vocab, SENTENCES[:4]))
        return model.state_dict(), float(loss.detach())

    (weights, loss), (again, loss_again) = draw(), draw()
    same = all(torch.equal(weights[name], again[name]) for name in weights)
    _require(same, "the same seed gives other weights")
    _require(loss == loss_again, "the same seed gives another loss in training")


def network_is_exported(parts: Parts) -> None:
    model, vocab = _build_network(parts)
    try:
        export_model(model.eval(), vocab)
    except ExportError as error:
        raise ContractError(f"cannot be exported, so that torch predicts: {error}") from None


# All kinds


def part_has_keyword_only_options(source: PartSource) -> None:
    """Its positional arguments are those that slotfill passes; YAML can set no others."""
    arguments = REGISTRIES[_kind(source)].arguments
    if getattr(source.load(), "takes_lower_memory", False):
        arguments += ("has_lower_layer",)
    try:
        source.check_arguments(arguments)
    except ConfigError as error:
        raise WrongResultError(str(error)) from None
    for option in source.positional[len(arguments) :]:
        taken = ", ".join(("self", *arguments, "*", option))
        raise ContractError(f"the option '{option}' must be keyword-only, as __init__({taken})")


def part_is_documented(source: PartSource) -> None:
    """It has a summary, and each option its meaning."""
    _require(
        source.summary.endswith(".") and source.summary[:1].isupper(),
        "the file's docstring must begin with a sentence, from a capital letter to a full stop",
    )
    lines = [line.strip() for line in (source.load().__doc__ or "").splitlines()]
    _require(lines and lines[0].endswith("."), "the class's docstring must begin with a sentence")
    for option in source.options:
        documented = any(line.startswith(f"{option}: ") for line in lines)
        _require(documented, f"the class's docstring has no line '{option}: ...'")


PART_CONTRACTS: dict[str, list[Contract]] = {
    "cell": [
        cell_has_the_documented_shapes,
        cell_computes_sequences_as_steps,
        cell_has_independent_directions,
        cell_is_independent_of_the_batch_and_of_later_steps,
        cell_records_its_gates,
        cell_has_the_numerical_gradient,
    ],
    "encoder": [
        encoder_has_the_documented_shapes,
        encoder_is_independent_of_the_batch,
        encoder_is_independent_of_padding,
        encoder_is_determined_by_the_seed_and_its_weights,
        encoder_has_the_numerical_gradient,
    ],
    "tagger": [
        tagger_has_the_documented_shapes,
        tagger_is_independent_of_the_batch,
        tagger_has_the_numerical_gradient,
    ],
    "embedding": [embedding_has_the_documented_shapes, embedding_is_independent_of_the_batch],
    "intent": [
        intent_head_has_the_documented_shapes,
        intent_head_is_independent_of_batch_and_padding,
        intent_head_has_the_numerical_gradient,
    ],
    "generator": [generator_has_the_documented_shapes],
}
"""The contracts of a part on its own, by kind; the first is what the others rest on."""

NETWORK_CONTRACTS: list[Contract] = [
    network_is_independent_of_the_batch,
    network_has_the_mean_of_the_sentences_losses,
    network_has_the_numerical_gradient_for_every_parameter,
    network_is_the_same_when_loaded,
    network_is_determined_by_the_seed,
]
"""The contracts of a part in a network."""

_BASES: dict[str, tuple[type, str]] = {
    "cell": (Cell, "encoder.cell"),
    "encoder": (Encoder, "encoder"),
    "tagger": (Tagger, "tagger"),
    "embedding": (Embedding, "embedding"),
    "intent": (IntentHead, "intent"),
    "generator": (Generator, "generator"),
}
"""The base class of each kind, and its key in a config."""


def check_contracts(file: str, options: Sequence[str] = ()) -> Iterator[tuple[str, str | None]]:
    """Return the contracts of the user-defined part in `file`, checked one after another.

    Each is its name and the problem, in one line, or None if it holds. Nothing is checked after a
    result that is none, as of a wrong shape or not finite, nor after an exception, which others
    would raise again. `options` of the part are written `KEY=VALUE`.

    Raises:
        UsageError: the file may not be executed, or has a part without contracts.
        ConfigError: there is no such file, or an option is wrong.
        RunError: running the file fails.
    """
    source = user_part(file)
    kind = _kind(source)
    if not kind:
        allowed = ", ".join(base.__name__ for base, _ in _BASES.values())
        raise UsageError(
            f"{file}: {source.load().__name__} has no contracts to check; it must be derived from"
            f" one of {allowed}"
        )
    key = _BASES[kind][1]
    named = {"name": file}
    overrides = [f"{key}={json.dumps([named] if kind == 'embedding' else named)}"]
    overrides += [f"{key}.{'0.' * (kind == 'embedding')}{option}" for option in options]
    config = parse_config("{}", "defaults", overrides)
    part = to_plain(getattr(config, key.partition(".")[0]))
    inner = {"cell": "cell", "embedding": 0}.get(kind)
    return _check(source, kind, part if inner is None else part[inner])


_COMPUTING = ("model", "training", "inference", "export")
"""The packages that compute with what parts return."""


def explain_part_error(error: Exception) -> str | None:
    """Return what the user-defined part that led to `error` returns not as documented, in one line.

    None if nothing is found with the default values of its options. If the error did not pass
    through its file, it is one of the code that computes with its results, and the part returns a
    wrong one, or raises such an error on its own.
    """
    files = loaded_part_files()
    frames = [Path(frame.filename) for frame in extract_tb(error.__traceback__)]
    passed = [file for file in files if Path(file) in frames]
    root = Path(__file__).parents[1]
    own = [frame.relative_to(root) for frame in frames if frame.is_relative_to(root)]
    if not passed and not (own and own[-1].parts[0] in _COMPUTING):
        return None
    same = f" failed with {type(error).__name__}: "
    for file in passed or reversed(files):
        with suppress(Exception), trust_external_parts():
            for index, (contract, problem) in enumerate(check_contracts(file)):
                if problem is None or (index == 0 and not passed):
                    continue
                is_wrong_result = index < 2 and " failed with " not in problem
                raises_same = same in problem and not contract.startswith("network")
                if is_wrong_result or (raises_same and not passed):
                    return problem if file in problem else f"{file}: {problem}"
                break
    return None


def _kind(source: PartSource) -> str:
    """Return the kind of a part by its class, or nothing."""
    loaded = source.load()
    return next((kind for kind, (base, _) in _BASES.items() if issubclass(loaded, base)), "")


def _check(source: PartSource, kind: str, part: Part) -> Iterator[tuple[str, str | None]]:
    parts = _make_parts(kind, part)
    checks: list[tuple[Contract, Any]] = [(part_has_keyword_only_options, source)]
    checks += [(contract, part) for contract in PART_CONTRACTS[kind]]
    if kind != "generator":
        checks += [(contract, parts) for contract in (*NETWORK_CONTRACTS, network_is_exported)]
    checks.append((part_is_documented, source))
    for contract, subject in checks:
        name = contract.__name__.replace("_", " ")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Of torch, on what it could do faster.
                contract(subject)
        except ContractError as error:
            place = ""
            if isinstance(error, NotFiniteError):
                place = _find_not_finite(contract, subject)
            yield name, f"{error}{place}"
            if isinstance(error, WrongResultError) or contract is PART_CONTRACTS[kind][0]:
                return
        except SlotfillError:
            raise
        except (Exception, SystemExit) as error:
            problem = describe_part_error(error)
            if problem is None and isinstance(error, SystemExit):
                raise
            # The small network around the part works with all built-in parts.
            yield name, problem or f"{source.path}: its network {describe_failure(error)}"
            return
        else:
            yield name, None


class _NotFiniteFinder(TorchFunctionMode):
    """Within its block, notes where a part's file first computes nan, and where inf."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        before = _list_not_finite(args)
        result = function(*args, **(kwargs or {}))
        # Memory without values yet, or with those of an argument, is not where they come from.
        if function not in _UNINITIALIZED:
            results = result if isinstance(result, tuple | list) else [result]
            for kind in _list_not_finite(results) - before:
                if place := find_part_line(extract_stack()):
                    self.places.setdefault(kind, place)
        return result


_UNINITIALIZED = {torch.empty, torch.empty_like, torch.empty_strided, Tensor.new_empty}


def _list_not_finite(values: Iterable[Any]) -> set[str]:
    """Return which of nan and inf are in the tensors among `values`."""
    tensors = [each for each in values if isinstance(each, Tensor) and each.is_floating_point()]
    kinds = {"nan": torch.isnan, "inf": torch.isinf}
    return {kind for kind, test in kinds.items() if any(bool(test(each).any()) for each in tensors)}


def _find_not_finite(contract: Contract, subject: Any) -> str:
    """Return the end of a message on a result that is not finite: where it was, if that is known.

    An inf may be meant, as a mask is, so that a nan is named first.
    """
    finder = _NotFiniteFinder()
    with suppress(Exception), finder:
        contract(subject)
    for kind, place in sorted(finder.places.items(), reverse=True):
        return f"; the first {kind} comes from {place}"
    return ""


def _make_parts(kind: str, part: Part) -> Parts:
    """Return a small network with `part`."""
    cell = part if kind == "cell" else "lstm"
    encoder = {"name": "recurrent", "hidden_size": HIDDEN, "dropout": 0.0, "cell": cell}
    parts: list[Any] = [["word"], encoder, {"name": "crf", "dropout": 0.0}]
    if kind == "embedding":
        parts[0] = [part]
    elif kind == "intent":
        parts.append(part)
    elif kind in ("encoder", "tagger"):
        parts[("encoder", "tagger").index(kind) + 1] = part
    return parts
