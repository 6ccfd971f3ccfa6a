"""Data parallelism: worker processes that each compute the gradient of a shard of every batch."""

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
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.errors import RunError
from slotfill.model.ensemble import Model
from slotfill.training.batches import Shard

Precision = Literal["float32", "bfloat16"]

ShardFn = Callable[[int, int], Iterator[Shard]]
"""Maps an epoch and a worker's rank to its shards, one per batch."""


def shard_loss(model: Model, shard: Shard, precision: Precision) -> tuple[Tensor, Tensor]:
    """Return a shard's share of the batch's mean loss, and of the KL term that it includes."""
    assert shard.batch is not None
    weight = len(shard.batch.lengths) / shard.sentences
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        loss = model.loss(shard.batch) * weight
    kl = torch.as_tensor(model.regularization_loss, device=device).detach() * weight
    return loss, kl


class Workers:
    """`count` gradient workers: rank 0 is this process, the others are forked children (Linux).

    Where the system cannot fork, this process computes the shards of all ranks in turn, with the
    same result. Each rank but 0 seeds its random numbers from the seed, the epoch and its rank.

    Processes rather than threads: torch's threads would split matrix products that are too small
    for it, and Python's threads would wait for each other between short operations.
    """

    def __init__(self, model: Model, count: int, precision: Precision, shards: ShardFn) -> None:
        self.model = model
        self.count = count
        self.precision = precision
        self.shards = shards
        self.parameters = trainable_parameters(model)
        self.uses_processes = (
            count > 1 and sys.platform == "linux" and not multiprocessing.current_process().daemon
        )
        self.children: list[Connection] = []
        self.inline_shards: list[tuple[Iterator[Shard], Tensor]] = []
        """Without processes: the shards of each rank but 0, and the state of its generator."""
        self.gradients: list[list[Tensor]] = []
        """With processes: the gradient of each rank, in shared memory."""
        self.losses = torch.zeros(count, 2)
        """Loss and KL term of each rank's shard."""
        if self.uses_processes:
            for _ in range(count):
                self.gradients.append([_shared_zeros(parameter) for parameter in self.parameters])
            self.losses = _shared_zeros(self.losses)
            for parameter, gradient in zip(self.parameters, self.gradients[0], strict=True):
                parameter.data = _shared_zeros(parameter).copy_(parameter.detach())
                parameter.grad = gradient

    def start_epoch(self, seed: int, epoch: int) -> None:
        """Let the other workers begin an epoch; the first call starts their processes."""
        if self.uses_processes and not self.children:
            self._fork()
        ranks = range(1, self.count)
        seeds = [
            int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0]) for rank in ranks
        ]
        for child, worker_seed in zip(self.children, seeds, strict=False):
            _send(child, struct.pack("QQ", epoch, worker_seed))
        if not self.uses_processes:
            states = [torch.Generator().manual_seed(seed).get_state() for seed in seeds]
            shards = [self.shards(epoch, rank) for rank in ranks]
            self.inline_shards = list(zip(shards, states, strict=True))

    def start_step(self) -> None:
        """Let the other workers compute the gradient of their next shard."""
        for child in self.children:
            _send(child, b"step")

    def all_reduce(self, loss: Tensor, kl: Tensor) -> tuple[Tensor, Tensor]:
        """Add the other workers' gradients to this one's, and return the sums of losses and KL.

        Raises RunError if a worker has failed.
        """
        if self.count == 1:
            return loss.detach(), kl
        self.losses[0, 0], self.losses[0, 1] = loss.detach(), kl
        for rank, (shards, state) in enumerate(self.inline_shards, start=1):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                self._backward(rank, next(shards))
                state.copy_(torch.get_rng_state())
        for child in self.children:
            try:
                error = child.recv_bytes().decode()
            except (EOFError, OSError):
                error = "its process has ended"
            if error:
                raise RunError(f"training worker failed: {error}")
        for gradients in self.gradients[1:]:
            torch._foreach_add_(self.gradients[0], gradients)
        loss, kl = self.losses.sum(dim=0)
        return loss, kl

    def close(self) -> None:
        """End the other processes."""
        _shutdown(self.children)
        self.children.clear()

    def _backward(self, rank: int, shard: Shard) -> None:
        """Add the gradient of a shard to that of the parameters, and store its losses."""
        self.losses[rank] = 0
        if shard.batch is not None:
            loss, kl = shard_loss(self.model, shard, self.precision)
            loss.backward()
            self.losses[rank, 0], self.losses[rank, 1] = loss.detach(), kl

    def _fork(self) -> None:
        context = multiprocessing.get_context("fork")
        for rank in range(1, self.count):
            connection, child_end = context.Pipe()
            child = context.Process(
                target=self._work, args=(rank, child_end, [*self.children, connection]), daemon=True
            )
            with warnings.catch_warnings():
                # Python warns of forking beside threads. A child only computes; it takes no lock
                # that a thread could hold.
                warnings.simplefilter("ignore", DeprecationWarning)
                try:
                    child.start()
                except OSError as error:
                    self.close()
                    raise RunError(
                        f"cannot start training worker {rank + 1} of {self.count}:"
                        f" {error.strerror}; lower train.processes"
                    ) from None
            child_end.close()
            self.children.append(connection)
        weakref.finalize(self, _shutdown, list(self.children))

    def _work(self, rank: int, parent: Connection, inherited: list[Connection]) -> None:
        """Run a child process until the parent ends it, or is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for connection in inherited:
            connection.close()
        for parameter, gradient in zip(self.parameters, self.gradients[rank], strict=True):
            parameter.grad = gradient
        try:
            while message := parent.recv_bytes():
                epoch, worker_seed = struct.unpack("QQ", message)
                torch.manual_seed(worker_seed)
                for shard in self.shards(epoch, rank):
                    if not parent.recv_bytes():
                        return
                    torch._foreach_zero_(self.gradients[rank])
                    self._backward(rank, shard)
                    parent.send_bytes(b"")
        except (EOFError, OSError):
            pass
        except BaseException as error:
            parent.send_bytes(f"{type(error).__name__}: {error}".encode())
        finally:
            # Without flushing or closing the files that the parent has open.
            os._exit(0)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _shared_zeros(like: Tensor) -> Tensor:
    """Return zeros of the shape and type of `like`, in memory shared with child processes."""
    memory = mmap.mmap(-1, max(1, like.numel()) * like.element_size())
    return torch.frombuffer(memory, dtype=like.dtype)[: like.numel()].view_as(like)


def _send(child: Connection, message: bytes) -> None:
    # A child that has ended is reported where its answer is received.
    with suppress(OSError):
        child.send_bytes(message)


def _shutdown(children: list[Connection]) -> None:
    for child in children:
        if not child.closed:
            _send(child, b"")
            child.close()
