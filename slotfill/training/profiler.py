"""SectionTimer: where the time of a training goes, for `slotfill train --profile`.

torch.profiler records every operation and keeps it in memory, which an entire training does not
permit; this reads the clock where a section begins and ends.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from slotfill.training.trainer import Trainer


class SectionTimer:
    """Seconds per section; those of a section within another count for the inner one only."""

    def __init__(self, synchronize: Callable[[], object] | None = None) -> None:
        """`synchronize` waits for the device before the clock is read."""
        self.seconds: dict[str, float] = {}
        self._synchronize = synchronize
        self._section = "other"
        self._start = time.perf_counter()

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Count the `with` block, or each call of the decorated function, as section `name`."""
        outer = self.switch(name)
        try:
            yield
        finally:
            self.switch(outer)

    def switch(self, name: str) -> str:
        """Count as section `name` from now on; return the section until now."""
        if self._synchronize is not None:
            self._synchronize()
        now = time.perf_counter()
        self.seconds[self._section] = self.seconds.get(self._section, 0.0) + now - self._start
        self._start = now
        previous, self._section = self._section, name
        return previous

    @contextmanager
    def attach(self, trainer: Trainer) -> Iterator[None]:
        """Within the block, time the parts of the model and the steps of training."""
        methods: list[tuple[Any, str, str]] = [
            (trainer.batches, "make_shard", "batches"),
            (Tensor, "backward", "backward"),
            (trainer.workers, "all_reduce", "other workers"),
            (nn.utils, "clip_grad_norm_", "optimizer"),
            (trainer.optimizer, "step", "optimizer"),
            (trainer.ema, "update_parameters", "EMA"),
            (trainer, "evaluate", "validation"),
            (trainer, "compute_valid_loss", "validation"),
        ]
        for member in trainer.model.members:
            for kind, parts in (("embedding", member.embeddings), ("encoder", member.encoders)):
                methods += [(part, "forward", f"{kind}: {_name(part)}") for part in parts]
            if member.intent is not None:
                methods.append((member.intent, "forward", f"intent: {_name(member.intent)}"))
            tagger = f"tagger: {_name(member.tagger)}"
            methods += [(member.tagger, method, tagger) for method in ("forward", "loss")]
        with ExitStack() as stack:
            for owner, method, section in methods:
                if owner is not None:
                    original = getattr(owner, method)
                    if method in vars(owner):
                        stack.callback(setattr, owner, method, original)
                    else:
                        stack.callback(delattr, owner, method)
                    setattr(owner, method, self.section(section)(original))
            yield


def _name(part: nn.Module) -> str:
    return type(part).__module__.rpartition(".")[2]
