"""Tagged sentences on a terminal: slots in colour, and what two systems predict differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from rich.text import Text

from slotfill.cli.display import PlainConsole, make_table
from slotfill.cli.output import echo
from slotfill.errors import escape, format_count

if TYPE_CHECKING:
    from slotfill.data.sentence import Sentence
    from slotfill.lab.diff import Change, Diff

COLOURS = (
    *("cyan", "magenta", "green", "yellow", "blue", "red"),
    *("bright_cyan", "bright_magenta", "bright_green"),
)


BOLD_FROM, PLAIN_FROM = 0.95, 0.7
"""Confidences from which a slot is bold, and plain; dim below."""


def _format_doubtful(probability: float | None) -> str:
    """Return a confidence below `BOLD_FROM` for display; nothing otherwise."""
    return f" {probability:.2f}" if probability is not None and probability < BOLD_FROM else ""


def highlight(sentence: Sentence, names: Sequence[str]) -> Text:
    """Return the text of a sentence, its intent in front, each slot in colour before its name.

    Of an intent below its threshold the candidates are in front, as `light 0.48? music 0.41?: `.
    Slots are shaded by confidence: bold from 0.95, plain from 0.7 and dim below; below 0.95 the
    confidence stands behind the name. What a value stands for is behind the name, too.
    """
    confidence = sentence.confidence
    intent = confidence.intent if confidence else None
    label = f"{sentence.intent}{_format_doubtful(intent)}: " if sentence.intent else ""
    if sentence.intent_left_out:
        candidates = confidence.candidates if confidence else ()
        label = " ".join(f"{name} {probability:.2f}?" for name, probability in candidates) or "?"
        label += ": "
    line = Text().append(escape(label), style="dim")
    probabilities = iter(confidence.slots) if confidence else repeat(1.0)
    resolved = iter(sentence.resolved or repeat(None))
    for text, name in sentence.split_by_slot():
        if not name:
            line.append(escape(text))
            continue
        probability, meaning = next(probabilities), next(resolved)
        label = f"{name} = {meaning}" if meaning else name
        shade = "bold" if probability >= BOLD_FROM else "" if probability >= PLAIN_FROM else "dim"
        colour = COLOURS[names.index(name) % len(COLOURS)] if name in names else "white"
        line.append(escape(text), style=f"{shade} {colour} underline")
        line.append(f" {escape(label)}{_format_doubtful(probability)}", style=f"dim {colour}")
    return line


def print_highlighted(sentences: Iterable[Sentence], names: Sequence[str]) -> None:
    """Print tagged sentences with their slots in colour, or each of their readings."""
    console = PlainConsole()
    for sentence in sentences:
        readings = sentence.confidence.readings if sentence.confidence else ()
        for reading in readings:
            line = Text(f"{reading.probability:.4f}  ", style="dim")
            line.append(highlight(sentence.with_reading(reading), names))
            console.print(line, soft_wrap=True)
        if not readings:
            console.print(highlight(sentence, names), soft_wrap=True)


def print_diff(diff: Diff, name: str, systems: Sequence[str], limit: int) -> None:
    """Print the differences between two `systems` on the sentences called `name`.

    `limit` is how many sentences are listed of those that became worse, better or different.
    """
    console = PlainConsole()
    headings = ("slot", "gold", "F1 of A", "F1 of B", "fixed", "broken")
    rows = [
        (
            slot,
            f"{each.a.support:,}",
            f"{each.a.f1:.2f}",
            f"{each.b.f1:.2f}",
            f"{each.fixed:,}",
            f"{each.broken:,}",
        )
        for slot, each in diff.slots.items()
    ]
    if rows:
        console.print(make_table(f"{name}: slots that A and B predict differently", headings, rows))
    for verdict, title in _VERDICT_TITLES.items():
        changes = [each for each in diff.changes if each.verdict == verdict]
        if limit and changes:
            shown = f", the first {limit:,}" if len(changes) > limit else ""
            console.print(f"{title}: {format_count(len(changes), 'sentence')}{shown}", style="bold")
        for each in changes[:limit]:
            console.print(_describe_change(each), soft_wrap=True)
    counts = Counter(each.verdict for each in diff.changes)
    low, high = diff.interval
    significant = "significant" if diff.is_significant else "not significant"
    echo(f"A: {systems[0]}")
    echo(f"B: {systems[1]}")
    echo(
        f"{format_count(diff.sentences, 'sentence')}: {counts['better']:,} better,"
        f" {counts['worse']:,} worse, {counts['different']:,} different with as many errors"
    )
    if diff.intents:
        echo("intent accuracy {:.2f}% (A), {:.2f}% (B)".format(*diff.intents))
    echo(
        f"F1 {diff.f1_a:.2f} (A), {diff.f1_b:.2f} (B): {diff.difference:+.2f}, 95% interval"
        f" {low:+.2f} to {high:+.2f}, p = {diff.p:.4f}, {significant}"
        " (of these outputs; for other seeds and sentences: slotfill compare)"
    )


_VERDICT_TITLES = {
    "worse": "Worse",
    "better": "Better",
    "different": "Different with as many errors",
}


def _describe_change(change: Change) -> Text:
    """Return a sentence, and what gold, A and B do not all have."""
    gold = change.gold
    text = Text(escape(f"{gold.location}: {gold.text}"))
    sides = (set(gold.slots or ()), set(change.a), set(change.b))
    common = set.intersection(*sides)
    intents = (gold.intent, change.intent_a, change.intent_b)
    for name, slots, intent in zip(("gold", "A", "B"), sides, intents, strict=True):
        text.append(f"\n  {name:4}", style="dim")
        labels = [
            (f"{slot.name}={gold.value(slot)!r}", slot in sides[0])
            for slot in sorted(slots - common, key=lambda slot: slot.start)
        ]
        if change.intent_a != change.intent_b and intent:
            labels.append((f"intent={intent}", intent == gold.intent))
        for label, correct in labels or [("-", True)]:
            colour = "" if name == "gold" or label == "-" else "green" if correct else "red"
            text.append(f"  {escape(label)}", style=colour)
    return text
