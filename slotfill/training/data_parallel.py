"""Workers: processes that find the gradient of each batch together, each from its share of the
sentences.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import struct
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from slotfill.data.batching import Batch
from slotfill.errors import RunError
from slotfill.model.ensemble import Model
from slotfill.training.flat_parameters import parts, trained
from slotfill.training.profiler import Times

Precision = Literal["float32", "bfloat16"]


@dataclass(slots=True)
class Share:
    """What one worker has of a batch, None if nothing, and how many `sentences` and `tokens` the
    whole batch has.
    """

    batch: Batch | None
    sentences: int
    tokens: int


Shares = Callable[[int, int], Iterator[Share]]
"""From an epoch and a worker's place to its share of each batch, in their order."""


def shared_zeros(size: int, like: Tensor) -> Tensor:
    """Return a vector of zeros that this process and its children all see."""
    memory = mmap.mmap(-1, size * like.element_size())
    return torch.frombuffer(memory, dtype=like.dtype)


class Workers:
    """`count` of them, the first in this process, the others in its children where the system lets
    it fork.

    Elsewhere this process finds the gradients of all shares one after another, which gives the
    same. Each but the first draws its noise from the seed, the epoch and its place. Threads of
    torch would divide each product instead, which are too small for it; threads of Python wait for
    each other between small steps.
    """

    def __init__(
        self,
        model: Model,
        weights: Tensor,
        count: int,
        precision: Precision,
        shares: Shares,
        times: Times,
    ) -> None:
        self.model = model
        self.times = times
        self.precision = precision
        self.shares = shares
        self.parameters = trained(model)
        # Behind each gradient stand the loss, and what the encoders have added to it.
        size = len(weights) + 2
        self.found = [
            shared_zeros(size, weights) if count > 1 else weights.new_zeros(size)
            for _ in range(count)
        ]
        self.parts = [parts(found, self.parameters) for found in self.found]
        self.forks = sys.platform == "linux" and not multiprocessing.current_process().daemon
        self.forks &= count > 1
        self.children: list[Connection] = []
        self.others: list[tuple[Iterator[Share], Tensor]] = []
        for parameter, part in zip(self.parameters, self.parts[0], strict=True):
            parameter.grad = part

    def begin(self, seed: int, epoch: int) -> None:
        """Let the others begin an epoch; their processes start with the first."""
        if self.forks and not self.children:
            self._fork()
        places = range(1, len(self.found))
        seeds = [_noise(seed, epoch, place) for place in places]
        for child, noise in zip(self.children, seeds, strict=False):
            _tell(child, struct.pack("QQ", epoch, noise))
        if not self.forks:
            states = [torch.Generator().manual_seed(noise).get_state() for noise in seeds]
            self.others = list(
                zip((self.shares(epoch, place) for place in places), states, strict=True)
            )

    def gradient(self, share: Share) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient of a batch as one vector, the loss, and what the encoders add to it.

        `share` is that of the first worker; the others take each its next.
        """
        for child in self.children:
            _tell(child, b"go")
        self._find(0, share)
        for place, (shares, state) in enumerate(self.others, start=1):
            own = torch.get_rng_state()
            torch.set_rng_state(state)
            self._find(place, next(shares))
            state.copy_(torch.get_rng_state())
            torch.set_rng_state(own)
        with self.times.of("waiting for the other workers"):
            for child in self.children:
                if fault := _answer(child):
                    raise RunError(f"a process that helped in training has failed: {fault}")
        for found in self.found[1:]:
            self.found[0] += found
        return self.found[0][:-2], self.found[0][-2], self.found[0][-1]

    def close(self) -> None:
        """Let the other processes end."""
        _end(self.children)
        self.children.clear()

    def _find(self, place: int, share: Share) -> None:
        if share.batch is None:
            self.found[place].zero_()
            return
        weight = len(share.batch.lengths) / share.sentences
        with torch.autocast(
            self.found[0].device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        ):
            loss = self.model.loss(share.batch) * weight
        with self.times.of("backward"):
            gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
            torch._foreach_copy_(self.parts[place], gradients)
        self.found[place][-2] = loss.detach()
        self.found[place][-1] = torch.as_tensor(self.model.regularization_loss).detach() * weight

    def _fork(self) -> None:
        context = multiprocessing.get_context("fork")
        for place in range(1, len(self.found)):
            ours, theirs = context.Pipe()
            child = context.Process(
                target=self._work, args=(place, theirs, [*self.children, ours]), daemon=True
            )
            with warnings.catch_warnings():
                # That of Python against forks beside threads: a child computes, and touches nothing
                # that is locked.
                warnings.simplefilter("ignore", DeprecationWarning)
                child.start()
            theirs.close()
            self.children.append(ours)
        weakref.finalize(self, _end, list(self.children))

    def _work(self, place: int, parent: Connection, others: list[Connection]) -> None:
        """What a child does until its parent lets it end, or is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for each in others:
            each.close()
        try:
            while told := parent.recv_bytes():
                epoch, noise = struct.unpack("QQ", told)
                torch.manual_seed(noise)
                for share in self.shares(epoch, place):
                    if not parent.recv_bytes():
                        return
                    self._find(place, share)
                    parent.send_bytes(b"")
        except (EOFError, OSError):
            pass
        except BaseException as fault:
            parent.send_bytes(f"{type(fault).__name__}: {fault}".encode())
        finally:
            # Nothing of what the parent has open is to be flushed or closed twice.
            os._exit(0)


def _noise(seed: int, epoch: int, place: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, place)).generate_state(1)[0])


def _tell(child: Connection, message: bytes) -> None:
    # One that has ended is told of where its answer is waited for.
    with suppress(OSError):
        child.send_bytes(message)


def _answer(child: Connection) -> str:
    try:
        return child.recv_bytes().decode()
    except (EOFError, OSError):
        return "it ended"


def _end(children: list[Connection]) -> None:
    for child in children:
        if not child.closed:
            _tell(child, b"")
            child.close()
