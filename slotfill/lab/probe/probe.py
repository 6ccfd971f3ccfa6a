"""Probe of memory: sentences whose first word alone determines the slot of the last word.

    sentence   arrive  w_1  ...  w_{d-1}  Taipei      d: the distance; "leave" makes it an origin
    L    = -log p(tag of the city), the city being the last token T
    G_k  = mean over sentences of |dL / ds_{T-k}|
    s_t  = the state passed from step t to the next, such as h_t and c_t of an LSTM; s_T is h_T

Source: Hochreiter 1991, "Untersuchungen zu dynamischen neuronalen Netzen"; Bengio, Simard &
Frasconi 1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult"; Pascanu,
Mikolov & Bengio 2013, "On the Difficulty of Training Recurrent Neural Networks"
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, cycle, islice
from math import isfinite, isnan, nan
from random import Random
from statistics import mean, median, stdev
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from slotfill.config.option_types import CellPart
from slotfill.config.part_config import to_plain
from slotfill.config.registry import CELLS
from slotfill.config.validate import parse_config
from slotfill.data.batching import Batch, make_batch
from slotfill.data.schemes import all_tags, slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, ErrorDetail
from slotfill.model.cells.base import Cell, State
from slotfill.model.network import Network, to_device

DEFAULT_CELLS = [
    "elman, {name: elman, activation: sigmoid}, lstm, {name: lstm, forget_bias: 3}, gru"
]
VERBS = {"arrive": "destination", "leave": "origin"}
FILLERS = (
    "again already also early either even first just last late maybe next now only please quite"
    " rather really somehow soon still then today tomorrow"
)
WORDS = FILLERS.split()
CITIES = ("Boston", "Cairo", "Delhi", "Lima", "Oslo", "Paris", "Taipei", "Tokyo")
VOCAB = Vocab(dict.fromkeys((*VERBS, *WORDS, *CITIES), 2), all_tags(VERBS.values(), "iob2"), "iob2")

BATCH_SIZE = 16
LEARNING_RATE = 3e-3
GRADIENT_CLIP = 1.0
TEST_SENTENCES = 200
GRADIENT_SENTENCES = 64

UNTRAINED, TRAINED = "untrained", "trained"

ProbeCallback = Callable[[str, float], None]
"""Called with the name of what is being trained, and the share of all training that is done."""


@dataclass(frozen=True)
class ProbeSettings:
    """Settings that are the same for all cells."""

    steps: int = 400
    """Training steps of each network."""
    hidden_size: int = 32
    """Hidden size, and size of the word embeddings."""
    seeds: Sequence[int] = (1, 2, 3)
    """Each seed determines the weights and sentences of its networks."""
    distances: Sequence[int] = (1, 2, 5, 10, 20, 50, 100)
    """Numbers of tokens from the verb to the city."""
    gains: Sequence[float] = (2.0, 4.0)
    """Factors of the recurrent weights of untrained networks, besides 1."""
    mixed: bool = False
    """Train one network on all distances instead of one for each."""


@dataclass
class ProbeResult:
    """Results of one cell, for each seed."""

    accuracy: dict[int, list[float]]
    """In percent, by distance."""
    gradients: dict[str, list[list[float]]]
    """G_k from k = 0 at the longest distance: untrained, with weights x each gain, and trained."""

    def relative_gradients(self, when: str) -> list[list[float]]:
        """Return `G_k / G_0` of each seed; nan if all gradients are zero."""
        return [[g / row[0] if row[0] else nan for g in row] for row in self.gradients[when]]

    def relative_gradient_at(self, when: str, k: int) -> float:
        """Return the median over the seeds of `G_k / G_0`."""
        values = [row[k] for row in self.relative_gradients(when) if not isnan(row[k])]
        return median(values) if values else nan


def read_cells(texts: Sequence[str]) -> dict[str, CellPart]:
    """Return complete cells by label; raises ConfigError for an unknown cell or option.

    `texts` are names or `{name: ..., option: ...}`, or several of these separated by commas.
    """
    cells: dict[str, CellPart] = {}
    for text in re.split(r",(?![^{]*\})", ",".join(texts)):
        try:
            config = parse_config("", "probe", [f"encoder.cell={text.strip()}"])
        except ConfigError as error:
            # The option instead of the key and its source.
            details = [
                ErrorDetail(detail.message, detail.key.replace("encoder.cell", "--cells", 1))
                for detail in error.errors
            ]
            raise ConfigError(details) from None
        cell = to_plain(config.encoders[0]["cell"])
        part = CELLS.part(cell["name"])
        # The options that differ from their defaults.
        options = (key for key, option in part.options.items() if cell[key] != option.default)
        values = [f"{key}={_format_value(cell[key])}" for key in options]
        label = " ".join([part.path.stem, *values])
        # A custom cell can have the name of a built-in one.
        cells[label if cells.get(label, cell) == cell else text.strip()] = cell
    return cells


def _format_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def make_sentences(random: Random, distance: int, count: int) -> list[Sentence]:
    """Return sentences with alternating verbs, `distance` tokens before the city."""
    sentences = []
    for verb, name in islice(cycle(VERBS.items()), count):
        tokens = [verb, *random.choices(WORDS, k=distance - 1), random.choice(CITIES)]
        sentences.append(Sentence.from_tokens(tokens, [Slot(name, distance, distance + 1)]))
    return sentences


def build_network(cell: CellPart, hidden_size: int, seed: int) -> Network:
    """Return an untrained forward-only tagger with `cell`, without dropout."""
    torch.manual_seed(seed)
    embedding = {"name": "word", "size": hidden_size}
    encoder = {"name": "recurrent", "cell": cell, "hidden_size": hidden_size, "dropout": 0.0}
    tagger = {"name": "softmax", "dropout": 0.0}
    return Network(VOCAB, [embedding], encoder | {"bidirectional": False}, tagger)


def make_labelled_batch(model: Network, sentences: Sequence[Sentence]) -> Batch:
    """Return the batch of sentences with their tags."""
    tokens = [sentence.tokens for sentence in sentences]
    names = (slots_to_tags(s.slots or [], len(s.tokens), VOCAB.scheme) for s in sentences)
    tags = [[VOCAB.tag_ids[name] for name in row] for row in names]
    return make_batch(tokens, model.indexers, tags)


def last_token_losses(model: Network, batch: Batch) -> Tensor:
    """Return L of each sentence `(batch,)`; all must have the same length."""
    assert batch.tags is not None
    inputs = to_device(batch, model)
    emissions = model(inputs.features, inputs.lengths).emissions[:, -1]
    tags = torch.from_numpy(batch.tags)[:, -1]
    return torch.nn.functional.cross_entropy(emissions, tags, reduction="none")


def train(model: Network, steps: int, distances: Sequence[int], seed: int) -> Iterator[int]:
    """Train `model` on new sentences of random distances; yield the number of each step.

    A step whose gradient is not finite is skipped.
    """
    random = Random(f"train {seed} {distances}")
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    model.train()
    for step in range(1, steps + 1):
        sentences = make_sentences(random, random.choice(distances), BATCH_SIZE)
        losses = last_token_losses(model, make_labelled_batch(model, sentences))
        optimizer.zero_grad()
        (losses.mean() + model.regularization_loss).backward()
        if torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP).isfinite():
            optimizer.step()
        yield step
    model.eval()


def accuracy(model: Network, distance: int, seed: int) -> float:
    """Return the accuracy of the city's tag in percent on new sentences; chance is 50."""
    sentences = make_sentences(Random(f"test {seed} {distance}"), distance, TEST_SENTENCES)
    batch = make_labelled_batch(model, sentences)
    assert batch.tags is not None
    predicted = np.array([tags[-1] for tags in model.predict(batch)[0]])
    return 100 * float(np.mean(predicted == batch.tags[:, -1]))


def gradients(model: Network, sentences: Sequence[Sentence], gain: float = 1.0) -> list[float]:
    """Return G_k from k = 0 up to the second token, in double precision.

    `dL / ds` is the total derivative: along every path from that state to L. The model is not
    changed; a copy has its recurrent weights multiplied by `gain`.
    """
    model = copy.deepcopy(model).double().eval()
    (cell,) = cast(Any, model.encoders[0]).layers
    for name, weight in cell.named_parameters():
        if name.startswith("recurrent_weight"):
            weight.detach().mul_(gain)
    states, outputs = _record_states(cell)
    loss = last_token_losses(model, make_labelled_batch(model, sentences)).sum()
    # From the last state to the first, without the initial one; counters have no gradient.
    groups = [[outputs[-1]]]
    for state in states[:0:-1]:
        groups.append([tensor for tensor in state if tensor.requires_grad])
    slopes = torch.autograd.grad(loss, list(chain(*groups)), materialize_grads=True)
    squares = iter([slope.square().sum((0, 2)) for slope in slopes])
    sums = [torch.stack(list(islice(squares, len(group)))).sum(0) for group in groups]
    return [float(total.sqrt().mean()) for total in sums]


def _record_states(cell: Cell) -> tuple[list[State], list[Tensor]]:
    """Return two lists that each step of `cell` appends to: the state before it, and its output."""
    states: list[State] = []
    outputs: list[Tensor] = []
    step = cell.step

    def recorded_step(projected: Tensor, state: State) -> tuple[Tensor, State]:
        # Copies, so that other uses of these tensors within the step before do not count.
        states.append(tuple(tensor.clone() for tensor in state))
        output, after = step(projected, states[-1])
        outputs.append(output)
        return output, after

    cell.step = recorded_step  # type: ignore[method-assign]
    cell.forward_sequence = lambda x: None  # type: ignore[method-assign]
    return states, outputs


def probe(
    cells: Mapping[str, CellPart], settings: ProbeSettings, callback: ProbeCallback
) -> dict[str, ProbeResult]:
    """Train and test every cell with every seed; return the results by label."""
    for cell in cells.values():  # Options that conflict are errors before any training.
        build_network(cell, settings.hidden_size, seed=0)
    distances = sorted(settings.distances)
    groups = [tuple(distances)] if settings.mixed else [(distance,) for distance in distances]
    # The cost of a step is proportional to the length of its sentences.
    total = len(cells) * len(settings.seeds) * settings.steps * sum(mean(group) for group in groups)
    done = 0.0
    gains = {UNTRAINED: 1.0} | {f"weights x {gain:g}": gain for gain in settings.gains}
    results = {}
    for label, cell in cells.items():
        accuracies: dict[int, list[float]] = {distance: [] for distance in distances}
        slopes: dict[str, list[list[float]]] = {when: [] for when in (*gains, TRAINED)}
        for seed in settings.seeds:
            model = build_network(cell, settings.hidden_size, seed)
            longest = make_sentences(Random(f"gradient {seed}"), distances[-1], GRADIENT_SENTENCES)
            for when, gain in gains.items():
                slopes[when].append(gradients(model, longest, gain))
            for group in groups:
                model = build_network(cell, settings.hidden_size, seed)
                for _ in train(model, settings.steps, group, seed):
                    done += mean(group)
                    callback(f"{label}, seed {seed}", done / total)
                for distance in group:
                    accuracies[distance].append(accuracy(model, distance, seed))
            # The last network was trained on the longest distance.
            slopes[TRAINED].append(gradients(model, longest))
        results[label] = ProbeResult(accuracies, slopes)
    return results


def tables(results: Mapping[str, ProbeResult]) -> list[tuple[str, list[list[str]]]]:
    """Return tables of accuracies and of relative gradients, each as a title and columns."""
    first = next(iter(results.values()))
    distances = list(first.accuracy)
    rows = {str(distance): (UNTRAINED, distance) for distance in distances}
    for when in first.gradients:
        if when != UNTRAINED:
            rows[f"{distances[-1]}, {when.removeprefix('weights ')}"] = when, distances[-1]
    accuracy_table = [["verb", *(f"{distance} back" for distance in distances)]]
    gradient_table = [["k", *rows]]
    for label, result in results.items():
        accuracy_table.append([label, *map(_mean_std, result.accuracy.values())])
        values = [result.relative_gradient_at(*row) for row in rows.values()]
        gradient_table.append([label, *(f"{value:.0e}" for value in values)])
    return [
        ("Accuracy in %, 50 by chance", accuracy_table),
        ("Relative gradient k tokens back, untrained", gradient_table),
    ]


def _mean_std(values: Sequence[float]) -> str:
    return f"{mean(values):.0f}" + (f" ± {stdev(values):.0f}" if len(values) > 1 else "")


def to_json(
    cells: Mapping[str, CellPart], settings: ProbeSettings, results: Mapping[str, ProbeResult]
) -> dict[str, Any]:
    """Return settings and results as JSON data; gradients that are not finite become None."""
    named = {label: {"cell": cells[label], **asdict(results[label])} for label in results}
    for fields in named.values():
        for rows in fields["gradients"].values():
            rows[:] = [[g if isfinite(g) else None for g in row] for row in rows]
    return {"settings": asdict(settings), "cells": named}
