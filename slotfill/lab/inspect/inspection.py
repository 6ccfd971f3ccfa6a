"""Inspection: what goes on inside a trained network while it reads one sentence, as numbers with
names.

Every part that notes its inner numbers (see `trace.py`) can be looked into. Two shapes of notes are
known: states and gates `(direction, batch, unit)`, a note a step in the order of reading, and the
weights of attention `(batch, head, from token, to token)`, in one note or in several that follow
one another along `from`; that of an intent head is from the sentence as a whole, which is one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from slotfill.data.batching import make_batch
from slotfill.data.schemes import tags_to_slots
from slotfill.data.sentence import Sentence
from slotfill.errors import RunError, UsageError, did_you_mean
from slotfill.inference.decoding import marginals
from slotfill.model.activations import record_activations
from slotfill.model.tagger import SlotTagger
from slotfill.runs.load import Run

if TYPE_CHECKING:
    from torch import Tensor

STATES = ("candidate", "latent", "memory", "hidden")
"""What is no gate, whatever its values; the other notes of recurrences are gates where they lie
between 0 and 1.
"""

DISTRIBUTIONS = ("feedback",)
"""The notes whose units are the tags."""


@dataclass(frozen=True)
class Panel:
    """One heat map: `values` `(token, column)`, which lie from `low`, 0 or minus `high`, to `high`.

    The columns are units without labels, the tokens that attention looks at, the whole sentence
    that looks at the tokens, or the tags. `part` is the part as the config names it. `layer` and
    `head` count from 1; they and `direction` are None where there is no such thing.
    """

    part: str
    layer: int | None
    direction: Literal["forward", "backward"] | None
    head: int | None
    name: str
    kind: Literal["units", "tokens", "sentence", "tags"]
    columns: Sequence[str]
    values: np.ndarray
    low: float
    high: float

    @property
    def heading(self) -> str:
        """The part, and what of it is shown where that is not its units."""
        return self.part + {"units": "", "tags": ": tags"}.get(self.kind, ": attention")

    @property
    def place(self) -> str:
        """Where in the part it is, such as `layer 1 forward`, or nothing."""
        layer = f"layer {self.layer}" if self.layer else ""
        head = f"head {self.head}" if self.head else ""
        return " ".join(filter(None, (layer, self.direction, head)))

    @property
    def title(self) -> str:
        """Where it is and what it shows, in words, such as `layer 1 forward: forget gate`."""
        return f"{self.place}: {self._description}" if self.place else self._description

    @property
    def _description(self) -> str:
        if self.kind == "tokens":
            return f"{self.name}, from each token (row) to all (columns)"
        if self.kind == "sentence":
            return f"{self.name}, from the whole sentence to each token"
        if self.kind == "tags":
            return (
                "probability of each tag"
                if self.name == "marginals"
                else f"{self.name}: the tags of the token before"
            )
        if self.name == "hidden" or self.name.endswith(" hidden"):
            return f"{self.name} (output)"
        is_gate = self.name.split()[-1] not in STATES and (self.low, self.high) == (0, 1)
        return f"{self.name} gate" if is_gate else self.name


@dataclass(frozen=True)
class Inspection:
    """A sentence with slots and intent found in it, the tag of each token, and the panels in the
    order to show them.
    """

    sentence: Sentence
    tags: list[str]
    panels: list[Panel]

    def filter(self, *, layer: int | None = None, names: Sequence[str] = ()) -> Inspection:
        """Return it with the panels of that layer and of these names; raises UsageError where there
        are none.

        `forget` also means `time forget` and `depth forget`, where a layer has several memories.
        """
        layers = sorted({panel.layer for panel in self.panels if panel.layer})
        if layer is not None and layer not in layers:
            raise UsageError(
                f"--layer {layer}: no such layer (there are:"
                f" {', '.join(map(str, layers)) or 'none'})"
            )
        known = list(dict.fromkeys(panel.name for panel in self.panels))
        for name in names:
            if not any(_matches(name, one) for one in known):
                raise UsageError(f"--gate {name}: this network has none{did_you_mean(name, known)}")
        panels = [
            panel
            for panel in self.panels
            if layer in (None, panel.layer)
            and (not names or any(_matches(name, panel.name) for name in names))
        ]
        if not panels:
            raise UsageError(f"--gate {', '.join(names)}: not in layer {layer}")
        return replace(self, panels=panels)

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold, the numbers with 5 decimals."""
        sentence = self.sentence
        slots = [
            {"name": slot.name, "value": sentence.value(slot), "start": start, "end": end}
            for slot in sentence.slots or ()
            for start, end in [sentence.span(slot)]
        ]
        panels = [
            {
                "part": panel.part,
                "layer": panel.layer,
                "direction": panel.direction,
                "head": panel.head,
                "name": panel.name,
                "low": panel.low,
                "high": panel.high,
                "columns": list(panel.columns),
                "values": [[round(float(value), 5) + 0.0 for value in row] for row in panel.values],
            }
            for panel in self.panels
        ]
        intent = {"intent": sentence.intent} if sentence.intent else {}
        about = {
            "text": sentence.text,
            "tokens": sentence.tokens,
            "tags": self.tags,
            "slots": slots,
        }
        return about | intent | {"panels": panels}


def inspect(run: Run, text: str) -> Inspection:
    """Return what the network of `run` does with `text`; raises UsageError where there are no
    tokens in it.

    The panels come by part, layer and direction, each with its gates in the cell's order, memory
    and output; then what attention looks at; then the tags. Of several networks the first is shown;
    the tags are chosen by all. Raises RunError where a part from outside notes what cannot be
    placed.
    """
    sentence = run.tokenizer.tokenize(text)
    if not sentence.tokens:
        raise UsageError(
            "there is no word in the sentence; give one such as 'leave Taipei on November 2nd'"
        )
    model = run.engine
    assert isinstance(model, SlotTagger), "only torch shows what goes on inside"
    batch = make_batch([sentence.tokens], model.indexers)
    (path,), intents = model.predict(batch)
    tags = [run.vocab.tags[tag] for tag in path]
    sentence.intent = run.vocab.join_intents(intents[0]) if intents else None
    sentence.slots = tags_to_slots(tags, run.vocab.scheme)
    members = model.members
    with record_activations(members[0]) as notes:
        emissions = _finite(model.emissions(batch), "the scores of the tags")
    whose = f", network 1 of {len(members)}" if len(members) > 1 else ""
    panels = [
        replace(panel, part=panel.part + whose)
        for place, noted in notes.items()
        for name, calls in noted.items()
        for panel in _panels(run, sentence.tokens, place, name, calls)
    ]
    found = marginals(emissions, batch.lengths, model.transitions())[0]
    tagger = _part("tagger", run.config.tagger)
    panels.append(Panel(tagger, None, None, None, "marginals", "tags", run.vocab.tags, found, 0, 1))
    parts, kinds = (
        list(dict.fromkeys(panel.part for panel in panels)),
        ("units", "tokens", "sentence", "tags"),
    )
    panels.sort(
        key=lambda each: (
            kinds.index(each.kind),
            parts.index(each.part),
            each.layer or 0,
            each.direction == "backward",
        )
    )
    return Inspection(sentence, tags, panels)


def _panels(
    run: Run, tokens: list[str], place: str, name: str, calls: list[Tensor]
) -> Iterator[Panel]:
    """Yield the panels of what the part at `place` within the model has noted under `name` in
    `calls`.
    """
    section, *inner = place.split(".")
    if section in ("tagger", "intent"):
        part = _part(section, getattr(run.config, section))
    else:
        encoders = (
            run.config.encoder if isinstance(run.config.encoder, list) else [run.config.encoder]
        )
        number = int(inner.pop(0))
        part = _part(f"encoder {number + 1}", encoders[number])
    # The layer is in the part's place, as in `layers.0`, or in the note's name, as in `layer 1 time
    # forget`.
    layers = [int(word) + 1 for word in inner if word.isdigit()]
    if named := re.fullmatch(r"layer (\d+) (.+)", name):
        layers, name = [int(named[1])], named[2]
    layer = layers[0] if layers else None
    arrays = [_finite(call.double().cpu().numpy(), f"{part}: '{name}'") for call in calls]
    shape = arrays[0].shape
    if (
        len(shape) == 4
        and shape[0] == 1
        and shape[3] == len(tokens) == sum(array.shape[2] for array in arrays)
    ):
        heads = np.concatenate(arrays, axis=2)[0]
        high = _rounded_up(float(heads.max()))
        for head, values in enumerate(heads, start=1):
            yield Panel(
                part,
                layer,
                None,
                head if len(heads) > 1 else None,
                name,
                "tokens",
                tokens,
                values,
                0,
                high,
            )
    elif shape == (1, 1, 1, len(tokens)) and len(arrays) == 1:
        high = _rounded_up(float(arrays[0].max()))
        yield Panel(
            part, layer, None, None, name, "sentence", (), arrays[0].reshape(-1, 1), 0, high
        )
    elif len(shape) == 3 and shape[0] in (1, 2) and shape[1] == 1 and len(arrays) == len(tokens):
        steps = np.stack(arrays, axis=1)[:, :, 0]
        low, high = _range(steps)
        if name in DISTRIBUTIONS:
            yield Panel(part, layer, None, None, name, "tags", run.vocab.tags, steps[0], 0, 1)
            return
        yield Panel(part, layer, "forward", None, name, "units", (), steps[0], low, high)
        # The other way is read from the end; here both are in the order of the tokens.
        for back in steps[1:]:
            yield Panel(part, layer, "backward", None, name, "units", (), back[::-1], low, high)
    else:
        raise RunError(
            f"{part}: cannot show '{name}', {len(calls)} notes {shape} for {len(tokens)} tokens; it"
            " may be a note (direction, batch, unit) for each, or (batch, head, from token, to"
            " token)"
        )


def _finite(array: np.ndarray, what: str) -> np.ndarray:
    """Return `array`; raises RunError where it holds what is no number."""
    if not np.isfinite(array).all():
        raise RunError(f"{what}: too large for numbers at some token, so there is nothing to show")
    return array


def _part(where: str, options: Mapping[str, Any]) -> str:
    """Return what a part is called: where it stands, its name, and the names of the parts in it."""
    inner = [
        value["name"]
        for value in options.values()
        if isinstance(value, Mapping) and "name" in value
    ]
    return f"{where} ({', '.join(Path(name).stem for name in (options['name'], *inner))})"


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the scale for `values`: 0 and 1, or an upper end not below any, and 0 or
    minus that.
    """
    low, largest = float(values.min()), float(np.abs(values).max())
    if low >= 0 and largest <= 1:
        return 0.0, 1.0
    high = _rounded_up(largest)
    return (0.0 if low >= 0 else -high), high


def _rounded_up(value: float) -> float:
    """Return the round number at or above `value`, which is above 0."""
    power = 10.0 ** floor(log10(value))
    steps = (round(step * power, 12) for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10))
    return next(step for step in steps if step >= value * (1 - 1e-6))


def _matches(given: str, name: str) -> bool:
    """Tell whether `given` means the panel `name`: by its whole name, or by its last word."""
    return given in (name, name.split()[-1])
