"""The editor of one sentence: keys change its slots, and it shows itself as lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import Literal

from rich.text import Text

from slotfill.cli.highlight import COLOURS
from slotfill.data.sentence import Sentence, Slot
from slotfill.errors import escape

Action = Literal["accept", "skip", "undo", "quit"]

_ACTIONS: dict[str, Action] = {
    **{"enter": "accept", "s": "skip", "u": "undo", "ctrl-z": "undo"},
    **{"q": "quit", "ctrl-c": "quit", "ctrl-d": "quit"},
}
SLOT_KEYS = "123456789abcdefghjklmoprtvwyz"
"""The keys of the first slots; the other letters are those of `HELP` and of `_ACTIONS`."""

HELP = (
    "enter accept   ←→ move   space mark   1-9 a-z slot   n slot by name   x no slot",
    "s skip   u undo   q quit",
)
_NAME = re.compile(r"[^\s\[\]()]+")
_MAX_SHOWN = 8
DOUBTFUL = 0.95
"""A confidence below it is shown."""


def is_name(text: str) -> bool:
    """Return whether `text` can be the name of a slot, in tags, too."""
    return bool(_NAME.fullmatch(text)) and text != "O" and text.isprintable()


class Editor:
    """The slots and the intent of a sentence, while they are corrected.

    The cursor is at a token. A slot that is chosen gets the tokens that are marked, or else those
    of the slot at the cursor, or else the token at the cursor.
    """

    def __init__(
        self, sentence: Sentence, slot_names: list[str], intents: list[str] | None
    ) -> None:
        """Edit `sentence`; new names are added to `slot_names` and, if there are any, `intents`."""
        self.sentence = sentence
        self.slot_names = slot_names
        self.intents = intents
        self.slots = list(sentence.slots or ())
        self.intent = sentence.intent
        self.cursor = self.slots[0].start if self.slots else 0
        self.message = ""
        self._mark: int | None = None
        self._prompt: str | None = None
        """What is typed as the name of a slot or an intent; None if none is."""
        self._for_intent = False
        self._new_name = ""
        """The name that is new if it is entered again."""
        confidence = sentence.confidence
        self._confidences = dict(
            zip(self.slots, confidence.slots if confidence else (), strict=False)
        )

    @property
    def result(self) -> Sentence:
        """The sentence with the slots and the intent as they are now."""
        slots = sorted(self.slots, key=lambda slot: slot.start)
        return replace(self.sentence, slots=slots, intent=self.intent, confidence=None)

    def press(self, key: str) -> Action | None:
        """Change what `key` changes, or return what is to become of the sentence."""
        self.message = ""
        if self._prompt is not None:
            self._type(key)
            return None
        if key == "enter" and self.intents is not None and not self.intent:
            self._open_prompt(for_intent=True)
            self.message = "the sentence needs an intent"
            return None
        if key in _ACTIONS:
            return _ACTIONS[key]
        moves = {"left": -1, "right": 1, "shift-left": -1, "shift-right": 1}
        if key in moves:
            if key.startswith("shift") and self._mark is None:
                self._mark = self.cursor
            last = len(self.sentence.tokens) - 1
            self.cursor = min(max(self.cursor + moves[key], 0), last)
        elif key in ("home", "end"):
            self.cursor = 0 if key == "home" else len(self.sentence.tokens) - 1
        elif key == "space":
            self._mark = self.cursor if self._mark is None else None
        elif key == "escape":
            self._mark = None
        elif key in ("x", "backspace", "delete"):
            self._clear(*self._selection())
        elif key == "n":
            self._open_prompt(for_intent=False)
        elif key == "i" and self.intents is not None:
            self._open_prompt(for_intent=True)
        elif key in SLOT_KEYS and SLOT_KEYS.index(key) < len(self.slot_names):
            self._assign(self.slot_names[SLOT_KEYS.index(key)])
        elif key in SLOT_KEYS:
            self.message = f"no slot has the key {key}; n makes a new one"
        else:
            self.message = "this key does nothing"
        return None

    def _selection(self) -> tuple[int, int]:
        """Return the first and the last token (exclusive) of what is marked, or at the cursor."""
        if self._mark is not None:
            return min(self._mark, self.cursor), max(self._mark, self.cursor) + 1
        for slot in self.slots:
            if slot.start <= self.cursor < slot.end:
                return slot.start, slot.end
        return self.cursor, self.cursor + 1

    def _clear(self, start: int, end: int) -> None:
        self.slots = [slot for slot in self.slots if slot.end <= start or slot.start >= end]
        self._mark = None

    def _assign(self, name: str) -> None:
        start, end = self._selection()
        self._clear(start, end)
        self.slots.append(Slot(name, start, end))

    def _open_prompt(self, *, for_intent: bool) -> None:
        self._prompt, self._for_intent, self._new_name = "", for_intent, ""

    @property
    def _names(self) -> list[str]:
        return (self.intents or []) if self._for_intent else self.slot_names

    def _matches(self) -> list[str]:
        """Return the names that begin with what is typed, and those that contain it."""
        typed = (self._prompt or "").casefold()
        found = [name for name in self._names if typed in name.casefold()]
        return sorted(found, key=lambda name: not name.casefold().startswith(typed))

    def _type(self, key: str) -> None:
        """Change what is typed in the prompt."""
        typed = self._prompt or ""
        if key in ("escape", "ctrl-c", "ctrl-d"):
            self._prompt = None
        elif key == "backspace":
            self._prompt = typed[:-1] if typed else None
        elif key == "tab":
            self._prompt = next(iter(self._matches()), typed)
        elif key == "enter":
            self._enter(typed)
        elif len(key) == 1 and key.isprintable():
            self._prompt = typed + key
        elif key == "space":
            self.message = "a name has no spaces"

    def _enter(self, typed: str) -> None:
        """Take the name that is typed; a new one must be entered twice."""
        if not typed:
            self._prompt = None
        elif not is_name(typed):
            self.message = f"{typed} cannot be a name, which has no brackets and is not O"
        elif typed not in self._names and typed != self._new_name:
            self._new_name = typed
            near = get_close_matches(typed, self._names, n=1, cutoff=0.6) or self._matches()[:1]
            hint = f" (did you mean {near[0]}?)" if near else ""
            self.message = f"{typed} is a new name{hint}; enter again to make it"
        else:
            if typed not in self._names:
                self._names.append(typed)
            self._prompt = None
            if self._for_intent:
                self.intent = typed
            else:
                self._assign(typed)

    def render(self, status: str) -> Iterator[Text]:
        """Yield the lines that show the sentence, the slots to choose from, and the keys."""
        yield Text(escape(status), style="dim")
        if self.intents is not None:
            yield Text.assemble(("intent ", "dim"), escape(self.intent or "-"))
        yield self._render_sentence()
        names = self._names if self._prompt is not None else self.slot_names
        if self._prompt is not None:
            kind = "intent" if self._for_intent else "slot"
            matches = self._matches()
            more = " …" if len(matches) > _MAX_SHOWN else ""
            shown = "  ".join(matches[:_MAX_SHOWN]) + more
            yield Text.assemble(
                f"{kind}: {escape(self._prompt)}", (" ", "reverse"), f"  {escape(shown)}"
            )
            yield Text("enter choose   tab complete   esc cancel", style="dim")
        else:
            yield self._render_names(names)
            yield Text(HELP[0], "dim")
            yield Text("i intent   " * (self.intents is not None) + HELP[1], "dim")
        if self.message:
            yield Text(escape(self.message), style="bold")

    def _render_names(self, names: Iterable[str]) -> Text:
        line = Text()
        for key, name in zip(SLOT_KEYS, names, strict=False):
            line.append(key, style="bold")
            line.append(f":{escape(name)}", style=self._colour(name))
            line.append("  ")
        if len(self.slot_names) > len(SLOT_KEYS):
            line.append(f"and {len(self.slot_names) - len(SLOT_KEYS)} more by name", style="dim")
        return line if line else Text("no slots yet: n names one", style="dim")

    def _render_sentence(self) -> Text:
        line, done = Text(), 0
        start, end = self._selection() if self._mark is not None else (0, 0)
        slots = {slot.start: slot for slot in self.slots}
        slot: Slot | None = None
        for index, (first, last) in enumerate(self.sentence.offsets):
            text = self.sentence.text
            is_marked = start < index < end
            line.append(escape(text[done:first]), style="reverse" if is_marked else "")
            if index in slots:
                slot = slots[index]
                line.append("[")
            style = f"underline {self._colour(slot.name)}" if slot else ""
            if index == self.cursor:
                style += " reverse bold"
            elif start <= index < end:
                style += " reverse"
            line.append(escape(text[first:last]), style=style)
            if slot and slot.end == index + 1:
                confidence = self._confidences.get(slot, 1.0)
                doubt = f" {confidence:.2f}" if confidence < DOUBTFUL else ""
                line.append("](")
                line.append(escape(slot.name), style=self._colour(slot.name))
                line.append(f"{doubt})")
                slot = None
            done = last
        line.append(escape(self.sentence.text[done:]))
        return line

    def _colour(self, name: str) -> str:
        if name not in self.slot_names:
            return "white"
        return COLOURS[self.slot_names.index(name) % len(COLOURS)]
