"""Probe: how long a memory lasts, on sentences whose first word alone says which slot their last
word is.

    sentence   arrive  w_1  ...  w_{d-1}  Taipei       d: the distance; "leave" instead makes the
    city an origin L    = -log p(tag of the city), the city the last token T G_k  = mean over
    sentences of |dL / ds_{T-k}| s_t  : all that the cell hands on from token t to the next, as an
    LSTM's h_t and c_t together; s_T is h_T

Source: Hochreiter 1991, "Untersuchungen zu dynamischen neuronalen Netzen"; Bengio, Simard &
Frasconi 1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult"; Pascanu,
Mikolov & Bengio 2013, "On the Difficulty of Training Recurrent Neural Networks"
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite, isnan, nan
from random import Random
from statistics import mean, median, stdev
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from slotfill.config.option_types import CellPart
from slotfill.config.registry import CELLS
from slotfill.config.validate import parse_config
from slotfill.data.batching import Batch, make_batch
from slotfill.data.schemes import all_tags, slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.cells.base import Cell, State
from slotfill.model.tagger import SlotTagger, to_device

DEFAULT_CELLS = (
    "elman",
    "{name: elman, activation: sigmoid}",
    "lstm",
    "{name: lstm, forget_bias: 3}",
    "gru",
)
VERBS = {"arrive": "destination", "leave": "origin"}
# fmt: off
WORDS = (
    "again", "already", "also", "early", "either", "even", "first", "just", "last", "late", "maybe", "next", "now",
    "only", "please", "quite", "rather", "really", "somehow", "soon", "still", "then", "today", "tomorrow",
)
# fmt: on
CITIES = ("Boston", "Cairo", "Delhi", "Lima", "Oslo", "Paris", "Taipei", "Tokyo")
VOCAB = Vocab(dict.fromkeys((*VERBS, *WORDS, *CITIES), 2), all_tags(VERBS.values(), "iob2"), "iob2")

BATCH_SIZE = 16
LEARNING_RATE = 3e-3
GRADIENT_CLIP = 1.0
TEST_SENTENCES = 200
GRADIENT_SENTENCES = 64

UNTRAINED, TRAINED = "untrained", "trained"

Report = Callable[[str, float], None]
"""Called with what is being trained, and the share of all training that is done."""


@dataclass(frozen=True)
class ProbeSettings:
    """What all cells are given alike.

    steps: of training, of each network.
    hidden_size: numbers in the memory, and in a word's vector.
    seeds: each decides the weights and the sentences of networks of its own.
    distances: how many tokens before the city the verb stands.
    gains: what the recurrent weights of untrained networks are multiplied by, besides 1.
    mixed: one network learns all distances, drawn anew for each step, instead of a network for
    each.
    """

    steps: int = 400
    hidden_size: int = 32
    seeds: Sequence[int] = (1, 2, 3)
    distances: Sequence[int] = (1, 2, 5, 10, 20, 50, 100)
    gains: Sequence[float] = (2.0, 4.0)
    mixed: bool = False


@dataclass
class ProbeResult:
    """What was found of one cell, for each seed.

    `accuracy`: by distance, in percent. `gradients`: before training, with each gain, and after
    training on the longest distance: `G_k` there, from k = 0.
    """

    accuracy: dict[int, list[float]] = field(default_factory=dict)
    gradients: dict[str, list[list[float]]] = field(default_factory=dict)

    def relative_gradients(self, when: str) -> list[list[float]]:
        """Return `G_k / G_0` of each seed, not a number where the loss, and so every gradient, is
        zero.
        """
        return [[size / row[0] if row[0] else nan for size in row] for row in self.gradients[when]]

    def relative_gradient_at(self, when: str, k: int) -> float:
        """Return `G_k / G_0` of the middle seed: what is left k tokens back of the gradient at the
        output.
        """
        numbers = [share for row in self.relative_gradients(when) if not isnan(share := row[k])]
        return median(numbers) if numbers else nan


def gain_label(gain: float) -> str:
    """Return what the gradients with recurrent weights times `gain` are called."""
    return f"weights x {gain:g}"


def read_cells(texts: Sequence[str]) -> dict[str, CellPart]:
    """Return the cells that `texts` name, complete with their options, each under a label.

    A text is a name or `{name: ..., option: ...}`, or several of these with commas between. Raises
    ConfigError where there is no such cell or no such option.
    """
    found: dict[str, CellPart] = {}
    for text in (one.strip() for several in texts for one in re.split(r",(?![^{]*\})", several)):
        try:
            cell = parse_config("", "probe", [f"encoder.cell={text}"]).encoder["cell"]
        except ConfigError as fault:
            raise ConfigError(
                [line.replace("command line: encoder.cell", "--cells") for line in fault.faults]
            ) from None
        label = _label(cell)
        # A file of one's own may be called as a built-in cell is.
        found[label if found.get(label, cell) == cell else text] = cell
    return found


def _label(cell: Mapping[str, Any]) -> str:
    """Return the name of a complete cell, and the options that differ from their defaults."""
    part = CELLS.part(cell["name"])
    changed = [
        f"{key}={f'{value:g}' if isinstance(value := cell[key], float) else value}"
        for key, option in part.options.items()
        if cell[key] != option.default
    ]
    return " ".join([part.name, *changed])


def sentences(draw: Random, distance: int, count: int) -> list[Sentence]:
    """Return `count` sentences whose verb stands `distance` tokens before the city; the verbs take
    turns.
    """
    found = []
    for index in range(count):
        verb = list(VERBS)[index % len(VERBS)]
        tokens = [verb, *draw.choices(WORDS, k=distance - 1), draw.choice(CITIES)]
        found.append(Sentence.from_tokens(tokens, [Slot(VERBS[verb], distance, distance + 1)]))
    return found


def network(cell: CellPart, hidden_size: int, seed: int) -> SlotTagger:
    """Return an untrained tagger that reads forwards with `cell` and drops nothing."""
    torch.manual_seed(seed)
    encoder = {
        "name": "recurrent",
        "cell": cell,
        "hidden_size": hidden_size,
        "bidirectional": False,
        "dropout": 0.0,
    }
    return SlotTagger(
        VOCAB, [{"name": "word", "size": hidden_size}], encoder, {"name": "softmax", "dropout": 0.0}
    )


def batch_of(model: SlotTagger, chosen: Sequence[Sentence]) -> Batch:
    """Return the labelled batch of sentences."""
    tags = [
        [VOCAB.tag_ids[tag] for tag in slots_to_tags(one.slots or [], len(one.tokens), "iob2")]
        for one in chosen
    ]
    return make_batch([one.tokens for one in chosen], model.indexers, tags)


def last_token_losses(model: SlotTagger, batch: Batch) -> Tensor:
    """Return L of each sentence `(batch,)`; they must be of one length."""
    assert batch.tags is not None
    inputs = to_device(batch, model)
    emissions = model(inputs.features, inputs.lengths).emissions[:, -1]
    return torch.nn.functional.cross_entropy(
        emissions, torch.from_numpy(batch.tags)[:, -1], reduction="none"
    )


def train(model: SlotTagger, steps: int, distances: Sequence[int], seed: int) -> Iterator[int]:
    """Train `model`, each step on new sentences of one of the distances; yield the number of each
    step done.

    A step whose gradient is not finite changes nothing.
    """
    draw = Random(f"train {seed} {distances}")
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    model.train()
    for step in range(1, steps + 1):
        batch = batch_of(model, sentences(draw, draw.choice(distances), BATCH_SIZE))
        optimizer.zero_grad()
        (last_token_losses(model, batch).mean() + model.regularization_loss).backward()
        if torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP).isfinite():
            optimizer.step()
        yield step
    model.eval()


def accuracy(model: SlotTagger, distance: int, seed: int) -> float:
    """Return on how many of 100 new sentences the city gets the right tag; half are right by
    chance.
    """
    batch = batch_of(model, sentences(Random(f"test {seed} {distance}"), distance, TEST_SENTENCES))
    assert batch.tags is not None
    found = np.array([tags[-1] for tags in model.predict(batch)[0]])
    return 100 * float(np.mean(found == batch.tags[:, -1]))


def gradients(model: SlotTagger, chosen: Sequence[Sentence], gain: float = 1.0) -> list[float]:
    """Return G_k from k = 0 to all tokens but one, in double precision, with recurrent weights
    times `gain`.

    Each state is taken as a variable of its own, from which all that follows is computed: dL / ds
    is the total derivative, by all ways that lead on to L. The model itself stays as it is.
    """
    model = copy.deepcopy(model).double().eval()
    (cell,) = cast(Any, model.encoders[0]).layers
    for name, weight in cell.named_parameters():
        if name.startswith("recurrent_weight"):
            weight.detach().mul_(gain)
    states_in, outputs = _record_states(cell)
    loss = last_token_losses(model, batch_of(model, chosen)).sum()
    # Not the state before the first token, which is nobody's memory; nor counters, which have no
    # gradient.
    states = [[tensor for tensor in state if tensor.requires_grad] for state in states_in[:0:-1]]
    flat = [outputs[-1], *(tensor for state in states for tensor in state)]
    slopes = iter(torch.autograd.grad(loss, flat, materialize_grads=True))
    found = []
    for count in (1, *map(len, states)):
        squares = [next(slopes).square().sum((0, 2)) for _ in range(count)]
        found.append(float(torch.stack(squares).sum(0).sqrt().mean()))
    return found


def _record_states(cell: Cell) -> tuple[list[State], list[Tensor]]:
    """Return two lists that fill up with each step of `cell`: the state it is given, and its
    output.
    """
    states_in: list[State] = []
    outputs: list[Tensor] = []
    step = cell.step

    def watched(projected: Tensor, state: State) -> tuple[Tensor, State]:
        # Copies, so that what else is computed from these tensors within their own step does not
        # count.
        states_in.append(tuple(tensor.clone() for tensor in state))
        output, after = step(projected, states_in[-1])
        outputs.append(output)
        return output, after

    cell.step = watched  # type: ignore[method-assign]
    cell.forward_sequence = lambda x: None  # type: ignore[method-assign]
    return states_in, outputs


def probe(
    cells: Mapping[str, CellPart], settings: ProbeSettings, report: Report
) -> dict[str, ProbeResult]:
    """Train and test every cell with every seed; return what was found of each, under its label."""
    for cell in cells.values():
        network(
            cell, settings.hidden_size, seed=0
        )  # What cannot be built says so before the first is trained.
    distances = sorted(settings.distances)
    groups = [tuple(distances)] if settings.mixed else [(distance,) for distance in distances]
    whole = len(cells) * len(settings.seeds) * settings.steps * sum(mean(group) for group in groups)
    done = 0.0
    found = {label: ProbeResult() for label in cells}
    for label, cell in cells.items():
        for seed in settings.seeds:
            model = network(cell, settings.hidden_size, seed)
            long = sentences(Random(f"gradient {seed}"), distances[-1], GRADIENT_SENTENCES)
            slopes = {UNTRAINED: gradients(model, long)}
            slopes |= {gain_label(gain): gradients(model, long, gain) for gain in settings.gains}
            for group in groups:
                model = network(cell, settings.hidden_size, seed)
                for _ in train(model, settings.steps, group, seed):
                    done += mean(group)
                    report(f"{label}, seed {seed}", done / whole)
                for distance in group:
                    found[label].accuracy.setdefault(distance, []).append(
                        accuracy(model, distance, seed)
                    )
            # The last network is the one that has learned the longest distance.
            slopes[TRAINED] = gradients(model, long)
            for when, sizes in slopes.items():
                found[label].gradients.setdefault(when, []).append(sizes)
    return found


def tables(found: Mapping[str, ProbeResult]) -> list[tuple[str, list[list[str]]]]:
    """Return what was found as two tables, by title and columns: accuracy, and what is left of
    gradients.
    """
    one = next(iter(found.values()))
    distances, longest = list(one.accuracy), max(one.accuracy)
    others = [when for when in one.gradients if when != UNTRAINED]
    right = [["verb", *(f"{distance} back" for distance in distances)]]
    left = [
        [
            "k",
            *map(str, distances),
            *(f"{longest}, {when.removeprefix('weights ')}" for when in others),
        ]
    ]
    for label, memory in found.items():
        heading = label.replace(" ", "\n", 1)
        right.append([heading, *map(_spread, memory.accuracy.values())])
        shares = [memory.relative_gradient_at(UNTRAINED, k) for k in distances] + [
            memory.relative_gradient_at(when, longest) for when in others
        ]
        left.append([heading, *(f"{share:.0e}" for share in shares)])
    return [("Right, %; 50 by chance", right), ("Gradient left k tokens back, untrained", left)]


def _spread(numbers: Sequence[float]) -> str:
    """Return the mean, and behind it the standard deviation where there are several."""
    return f"{mean(numbers):.0f}" + (f" ± {stdev(numbers):.0f}" if len(numbers) > 1 else "")


def to_json(
    cells: Mapping[str, CellPart], settings: ProbeSettings, found: Mapping[str, ProbeResult]
) -> dict[str, Any]:
    """Return the settings and all that was found; what is no finite number is None."""
    named = {
        label: {
            "cell": cells[label],
            "accuracy": {str(distance): row for distance, row in memory.accuracy.items()},
            "gradients": {
                when: [[size if isfinite(size) else None for size in row] for row in rows]
                for when, rows in memory.gradients.items()
            },
        }
        for label, memory in found.items()
    }
    return {"settings": asdict(settings), "cells": named}
