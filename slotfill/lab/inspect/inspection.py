"""Inspection of a trained network: gates, states, attention and tag probabilities at each token.

Every part that records its activations can be inspected, if they have one of two shapes: states and
gates `(direction, batch, unit)`, one record per time step in the order of reading, and attention
weights `(batch, head, query, key)`, in one record or in several that are consecutive along the
query axis. An intent head has a single query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import floor, log10
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor
from torch.nn import Module

from slotfill.data.batching import make_batch
from slotfill.data.schemes import tags_to_slots
from slotfill.data.sentence import Sentence
from slotfill.errors import RunError, UsageError, did_you_mean, format_count
from slotfill.inference.decoding import marginals
from slotfill.model.activations import record_activations
from slotfill.model.ensemble import Model
from slotfill.runs.load import Run

STATES = ("candidate", "latent", "query", "key", "value", "memory", "hidden")
"""Activations that are no gates; the others are gates if they lie between 0 and 1."""

DISTRIBUTIONS = ("feedback",)
"""Activations whose units are the tags."""

Kind = Literal["units", "tokens", "sentence", "tags"]
"""What the columns of a panel are: units, attended tokens, the sentence as the query, or tags."""

_DESCRIPTIONS = {
    "tokens": ", from each token (row) to all (columns)",
    "sentence": ", from the complete sentence to each token",
    "tags": ": the tags of the previous token",
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One heat map with a row for each token."""

    part: str
    """The part as the config names it."""
    layer: int | None = None
    """Counted from 1."""
    direction: Literal["forward", "backward"] | None = None
    head: int | None = None
    """Attention head, counted from 1."""
    name: str
    kind: Kind
    """What the columns are; panels are in this order."""
    columns: Sequence[str] = ()
    """Labels of the columns, except for units and the sentence."""
    values: np.ndarray
    """Shape `(token, column)`."""
    low: float = 0.0
    """Lower end of the color scale: 0 or `-high`."""
    high: float = 1.0
    is_gate: bool = False
    meaning: str = ""
    """What a gate does at 1, where cells differ."""
    is_difference: bool = False
    """Whether the values are those of one sentence minus those of another."""

    @property
    def heading(self) -> str:
        """The part, and what is shown of it if not its units."""
        return self.part + {"units": "", "tags": ": tags"}.get(self.kind, ": attention")

    @property
    def location(self) -> str:
        """Where in the part the activations are, such as `layer 1 forward`."""
        layer = f"layer {self.layer}" if self.layer else None
        head = f"head {self.head}" if self.head else None
        return " ".join(filter(None, (layer, self.direction, head)))

    @property
    def title(self) -> str:
        """Location and description, such as `layer 1 forward: forget gate`."""
        description = self.name
        if self.name == "marginals":
            description = "probability of each tag"
        elif self.kind != "units":
            description += _DESCRIPTIONS[self.kind]
        elif self.name.split()[-1] == "hidden":
            description += " (output)"
        elif self.is_gate:
            description += " gate" + (f" ({self.meaning})" if self.meaning else "")
        description += ", difference" if self.is_difference else ""
        return ": ".join(filter(None, (self.location, description)))

    def summarize(self, values: np.ndarray) -> float:
        """Return the mean of some of the values; of differences, that of their sizes."""
        return float((np.abs(values) if self.is_difference else values).mean())

    def subtract(self, other: Panel) -> Panel:
        """Return the values minus those of the same panel of another sentence."""
        values = self.values - other.values
        largest = float(np.abs(values).max())
        high = _round_up(largest) if largest > 1e-6 else 1.0
        columns = _join_labels(self.columns, other.columns)
        return replace(
            self, values=values, columns=columns, low=-high, high=high, is_difference=True
        )

    @property
    def keys(self) -> set[str]:
        """The name and its last word, by which the panel can be selected."""
        return {self.name, self.name.split()[-1]}


@dataclass(frozen=True)
class Inspection:
    """The activations of a network for one sentence."""

    sentence: Sentence
    """The sentence with the predicted slots and intent."""
    tags: list[str]
    """The predicted tag of each token."""
    panels: list[Panel]
    against: Inspection | None = None
    """The inspection whose values are subtracted, if there is one."""

    @property
    def labels(self) -> list[str]:
        """The tokens; where the other sentence has another token, both."""
        tokens = self.sentence.tokens
        others = self.against.sentence.tokens if self.against else tokens
        return _join_labels(tokens, others)

    def subtract(self, other: Inspection) -> Inspection:
        """Return the differences from the inspection of another sentence, token by token.

        Raises UsageError if the sentences have different numbers of tokens.
        """
        tokens, others = self.sentence.tokens, other.sentence.tokens
        if len(tokens) != len(others):
            raise UsageError(
                f"{format_count(len(tokens), 'token')} and {format_count(len(others), 'token')}"
                f" ({' | '.join(tokens)}; {' | '.join(others)}): sentences are compared token by"
                " token, so give two of the same length"
            )
        pairs = zip(self.panels, other.panels, strict=True)
        return replace(self, panels=[a.subtract(b) for a, b in pairs], against=other)

    def filter(self, *, layer: int | None = None, names: Sequence[str] = ()) -> Inspection:
        """Return only the panels of a layer, and of these names or last words of names.

        `forget` selects `time forget` and `depth forget` too. Raises UsageError if there are none.
        """
        layers = sorted({panel.layer for panel in self.panels if panel.layer})
        if layer is not None and layer not in layers:
            allowed = ", ".join(map(str, layers)) or "none"
            raise UsageError(f"--layer {layer}: no such layer (there are: {allowed})")
        for name in names:
            if not any(name in panel.keys for panel in self.panels):
                hint = did_you_mean(name, {panel.name for panel in self.panels})
                raise UsageError(f"--gate {name}: this network has none{hint}")
        panels = [
            panel
            for panel in self.panels
            if layer in (None, panel.layer) and (not names or panel.keys.intersection(names))
        ]
        if not panels:
            raise UsageError(f"--gate {', '.join(names)}: not in layer {layer}")
        return replace(self, panels=panels)

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as JSON data, numbers with 5 decimals."""
        panels = [asdict(panel) for panel in self.panels]
        for fields in panels:
            for key in ("kind", "is_gate", "meaning", "is_difference"):
                del fields[key]
            fields["values"] = (np.round(fields["values"].astype(float), 5) + 0.0).tolist()
        against = {"against": self.against._describe()} if self.against else {}
        return {**self._describe(), **against, "panels": panels}

    def _describe(self) -> dict[str, Any]:
        """Return the sentence and what is predicted, as JSON data."""
        intent = self.sentence.intent
        return {
            "text": self.sentence.text,
            "tokens": self.sentence.tokens,
            "tags": self.tags,
            "slots": list(map(self.sentence.slot_to_json, self.sentence.slots or ())),
            **({"intent": intent} if intent else {}),
        }


def _join_labels(labels: Sequence[str], others: Sequence[str]) -> list[str]:
    return [a if a == b else f"{a} / {b}" for a, b in zip(labels, others, strict=True)]


def inspect(run: Run, text: str) -> Inspection:
    """Return the activations of the network of `run` for `text`.

    Panels are ordered by part, layer and direction, each with its gates in the order of the cell,
    memory and output; then attention; then tags. Of an ensemble the first network is shown; the
    tags are those of the ensemble.

    Raises UsageError if the text has no tokens, and RunError if activations are not finite, or
    those of an external part have another shape.
    """
    sentence = run.vocab.tokenizer.tokenize(text)
    if not sentence.tokens:
        raise UsageError(
            "there is no word in the sentence; give one such as 'leave Taipei on November 2nd'"
        )
    model = run.engine
    assert isinstance(model, Model), "only torch records activations"
    batch = make_batch([sentence.tokens], model.indexers)
    (path,), intents = model.predict(batch)
    tags = [run.vocab.tags[tag] for tag in path]
    sentence.intent = run.vocab.join_intents(intents[0]) if intents else None
    sentence.slots = tags_to_slots(tags, run.vocab.scheme)
    members = model.members
    with record_activations(members[0]) as activations:
        emissions = _finite(model.emissions(batch), "the emissions")
    suffix = f", network 1 of {len(members)}" if len(members) > 1 else ""
    panels = [
        replace(panel, part=panel.part + suffix)
        for module, records in activations.items()
        for name, tensors in records.items()
        for panel in _panels(
            run, sentence.tokens, module, name, tensors, _meaning(members[0], module, name)
        )
    ]
    parts = list(dict.fromkeys(panel.part for panel in panels))
    panels.sort(
        key=lambda panel: (
            get_args(Kind).index(panel.kind),
            parts.index(panel.part),
            panel.layer or 0,
            panel.direction == "backward",
        )
    )
    tagger = _part("tagger", run.config.tagger)
    values = marginals(emissions, batch.lengths, model.transitions())[0]
    last = Panel(part=tagger, name="marginals", kind="tags", columns=run.vocab.tags, values=values)
    return Inspection(sentence, tags, [*panels, last])


def _meaning(network: Module, module: str, name: str) -> str:
    """Return what the cell `module` says of its gate `name`."""
    meanings = getattr(network.get_submodule(module), "gate_meanings", {})
    return str(meanings.get(name, ""))


def _panels(
    run: Run, tokens: list[str], module: str, name: str, tensors: list[Tensor], meaning: str
) -> Iterator[Panel]:
    """Yield the panels of the activation `name` of a module, such as `encoders.0.layers.1`."""
    section, *path = module.split(".")
    if section in ("tagger", "intent"):
        part = _part(section, getattr(run.config, section))
    else:
        index = int(path.pop(0))
        part = _part(f"encoder {index + 1}", run.config.encoders[index])
    # The layer is in the module path, as in `layers.0`, or in the name: `layer 1 time forget`.
    layer = next((int(step) + 1 for step in path if step.isdigit()), None)
    if match := re.fullmatch(r"layer (\d+) (.+)", name):
        layer, name = int(match[1]), match[2]
    arrays = [_finite(tensor.double().cpu().numpy(), f"{part}: '{name}'") for tensor in tensors]
    shape, length = arrays[0].shape, len(tokens)
    panel = partial(Panel, part=part, layer=layer, name=name)
    if len(shape) == 4 and shape[0] == 1 and shape[3] == length:
        weights = np.concatenate(arrays, axis=2)[0]
        panel = partial(panel, high=_round_up(float(weights.max())))
        if weights.shape[1] == length:
            for head, values in enumerate(weights, start=1):
                number = head if len(weights) > 1 else None
                yield panel(kind="tokens", head=number, columns=tokens, values=values)
            return
        if weights.shape[:2] == (1, 1):
            yield panel(kind="sentence", values=weights.reshape(-1, 1))
            return
    if len(shape) == 3 and shape[0] in (1, 2) and shape[1] == 1 and len(arrays) == length:
        steps = np.stack(arrays, axis=1)[:, :, 0]
        if name in DISTRIBUTIONS:
            yield panel(kind="tags", columns=run.vocab.tags, values=steps[0])
            return
        low, high = _scale(steps)
        is_gate = name.split()[-1] not in STATES and (low, high) == (0, 1)
        panel = partial(panel, kind="units", low=low, high=high, is_gate=is_gate, meaning=meaning)
        yield panel(direction="forward", values=steps[0])
        if len(steps) > 1:  # Recorded from the end; shown in the order of the tokens.
            yield panel(direction="backward", values=steps[1, ::-1])
        return
    raise RunError(
        f"{part}: cannot show '{name}', {format_count(len(tensors), 'record')} {shape} for"
        f" {format_count(length, 'token')}; allowed are a record (direction, batch, unit) for each"
        " token, or (batch, head, query, key)"
    )


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array`; raise RunError if it contains inf or nan."""
    if not np.isfinite(array).all():
        raise RunError(f"{name}: contains inf or nan at some token, so there is nothing to show")
    return array


def _part(key: str, options: Mapping[str, Any]) -> str:
    """Return the config key of a part, its name, and the names of the parts in it."""
    parts = [options, *(value for value in options.values() if isinstance(value, Mapping))]
    return f"{key} ({', '.join(Path(part['name']).stem for part in parts if 'name' in part)})"


def _scale(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the color scale: 0 or `-high`, and 1 or a round number `high`."""
    is_positive, largest = values.min() >= 0, float(np.abs(values).max())
    high = 1.0 if is_positive and largest <= 1 else _round_up(largest)
    return (0.0 if is_positive else -high), high


def _round_up(value: float) -> float:
    """Return the next round number at or above a positive `value`."""
    power = 10.0 ** floor(log10(value))
    steps = (round(step * power, 12) for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10))
    return next(step for step in steps if step >= value * (1 - 1e-6))
