"""Timing: where the seconds of a training go, each counted once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

from slotfill.model.ensemble import Model
from slotfill.model.tagger import SlotTagger

T = TypeVar("T")


class Times:
    """The seconds spent on each of what `of` is told, the rest under `other`; `wait` is called
    before each look.
    """

    def __init__(self, wait: Callable[[], object] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = wait
        self._what = "other"
        self._since = time.perf_counter()

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the `with` block as `what`, but for what blocks within it are counted as."""
        before = self.turn_to(what)
        try:
            yield
        finally:
            self.turn_to(before)

    def each(self, what: str, items: Iterator[T]) -> Iterator[T]:
        """Yield `items`, and count the making of each as `what`."""
        while True:
            with self.of(what):
                item = next(items, None)
            if item is None:
                return
            yield item

    def turn_to(self, what: str) -> str:
        """Count as `what` from now on; return what was counted as until now."""
        if self._wait is not None:
            self._wait()
        now = time.perf_counter()
        self.seconds[self._what] = self.seconds.get(self._what, 0.0) + now - self._since
        self._since = now
        before, self._what = self._what, what
        return before

    def watch(self, model: Model) -> None:
        """Count the forward pass of each part of `model`, in training and out of it, as that part."""
        for member in model.members:
            for embedding in member.embeddings:
                self._watch(embedding, f"embedding: {_name(embedding)}")
            for encoder in member.encoders:
                self._watch(encoder, f"encoder: {_name(encoder)}")
            if member.intent is not None:
                self._watch(member.intent, f"intent: {_name(member.intent)}")
            self._watch(member.tagger, f"tagger: {_name(member.tagger)}")
            self._watch_loss(member)

    def _watch_loss(self, member: SlotTagger) -> None:
        loss, what = member.tagger.loss, f"tagger: {_name(member.tagger)}"

        def timed(*given: Any) -> Any:
            with self.of(what):
                return loss(*given)

        member.tagger.loss = timed  # type: ignore[method-assign, unused-ignore]

    def _watch(self, part: nn.Module, what: str) -> None:
        before: list[str] = []
        part.register_forward_pre_hook(lambda *_: before.append(self.turn_to(what)))
        part.register_forward_hook(lambda *_: self.turn_to(before.pop()) and None, always_call=True)


def _name(part: nn.Module) -> str:
    return type(part).__module__.rpartition(".")[2]
