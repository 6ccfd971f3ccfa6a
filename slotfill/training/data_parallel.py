"""Data parallelism: processes that each compute the gradient of a shard of every batch.

Each process has all weights and makes every step; they exchange the gradients with
torch.distributed. They are forks of this process, or what `torchrun` has started on one machine or
several.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from slotfill.config.registry import catch_part_errors
from slotfill.errors import RunError
from slotfill.model.ensemble import Model
from slotfill.model.generators.base import Generator
from slotfill.training.batches import Shard
from slotfill.training.launch import torchrun_rank
from slotfill.training.sparse import SparseTable
from slotfill.version import __version__

Precision = Literal["float32", "bfloat16"]

TIMEOUT = timedelta(hours=1)
"""For what one process does alone, such as validation; a process that ends is noticed at once."""


def shard_loss(
    model: Model | Generator, shard: Shard, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Return a shard's share of the batch's mean loss, and of the KL term that it includes."""
    assert shard.batch is not None
    weight = len(shard.batch.lengths) / shard.sentences
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        loss = model.loss(shard.batch) * weight
    kl = torch.as_tensor(model.regularization_loss, device=device).detach() * weight
    return loss, kl


class Workers:
    """The `count` processes that share each batch; rank 0 validates, reports and writes files.

    Processes rather than threads: torch's threads would split matrix products that are too small
    for it, and Python's threads would wait for each other between short operations.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], tables: Sequence[SparseTable], count: int
    ) -> None:
        self.parameters = parameters
        self.tables = tables
        self.is_launched = dist.is_initialized()
        """Whether `torchrun` has started the processes, whose number is then not `count`."""
        self.rank = dist.get_rank() if self.is_launched else 0
        self.count = dist.get_world_size() if self.is_launched else count
        self.children: list[int] = []
        """The ids of the processes that this one has started."""
        self.store: TCPStore | None = None
        """Where they leave their errors."""
        # Elsewhere torch cannot be forked, nor the threads that its backward pass has for a GPU.
        can_fork = sys.platform == "linux" and not torch.cuda.is_available()
        if not can_fork and not self.is_launched:
            self.count = 1
        self.sharing: dist.Work | None = None
        """The exchange that `share_rows` has begun."""
        self.sums = torch.zeros(0)
        """The gradients of all parameters and three values, to be summed over ranks."""

    @contextmanager
    def running(self, work: Callable[[], object]) -> Iterator[None]:
        """Start the other processes, which call `work`; they end with the block at the latest."""
        if self.count > 1:
            first = self.parameters[0]
            size = sum(parameter.numel() for parameter in self.parameters)
            self.sums = torch.zeros(size + 3, device=first.device)
            parts = self.sums[:-3].split([parameter.numel() for parameter in self.parameters])
            for parameter, part in zip(self.parameters, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        # Nothing to start, or where this process has been started.
        if (self.count == 1 and not self.is_launched) or self.store is not None:
            yield
            return
        try:
            if not self.is_launched:
                with socket.create_server(("127.0.0.1", 0)) as server:
                    for rank in range(1, self.count):
                        self._fork(rank, server, work)
                    self._join(server)
            yield
            if self.rank > 0:
                _wait_for_rank_0()
        finally:
            for child in self.children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            self.children.clear()
            self.store = None
            if dist.is_initialized():
                dist.destroy_process_group()

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        if self.count > 1:
            self.sums.zero_()
        else:
            for parameter in self.parameters:
                parameter.grad = None

    def share_rows(self) -> None:
        """Begin to tell the other processes which rows of `tables` the forward pass has used."""
        if self.count > 1 and self.tables:
            self.is_used = torch.cat([table.is_used for table in self.tables])
            with _reported(self.store):
                self.sharing = dist.all_reduce(self.is_used, dist.ReduceOp.MAX, async_op=True)

    def all_reduce(
        self, loss: Tensor, kl: Tensor, due: bool
    ) -> tuple[Tensor, Tensor, bool | Tensor]:
        """Sum the gradients over all processes; return the sums of losses and KL terms.

        Also returns whether `due` is true of any process. Raises RunError if another one has
        failed.
        """
        if self.count == 1:
            for table in self.tables:
                table.collect(table.is_used)
            return loss.detach(), kl, due
        self.sums[-3], self.sums[-2], self.sums[-1] = loss.detach(), kl, float(due)
        with _reported(self.store):
            sums = [dist.all_reduce(self.sums, async_op=True)]
            if self.tables:
                assert self.sharing is not None
                self.sharing.wait()
                self.sharing = None  # It keeps the connections.
                used = self.is_used.split([len(table.weight) for table in self.tables])
                for table, rows in zip(self.tables, used, strict=True):
                    sums.append(dist.all_reduce(table.collect(rows), async_op=True))
            for work in sums:
                work.wait()
        return self.sums[-3], self.sums[-2], self.sums[-1]

    def gather(self, value: Any) -> list[Any]:
        """Return the `value` that each rank passes."""
        values = [value] * self.count
        if self.count > 1:
            with _reported(self.store):
                dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the `value` that rank 0 passes."""
        return broadcast(value, self.store) if self.count > 1 else value

    def _fork(self, rank: int, server: socket.socket, work: Callable[[], object]) -> None:
        with warnings.catch_warnings():
            # Python warns of forking beside threads. A child only computes; it takes no lock that a
            # thread could hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                child = os.fork()
            except OSError as error:
                raise RunError(
                    f"cannot start training worker {rank + 1} of {self.count}: {error.strerror};"
                    " lower train.processes"
                ) from None
        if child == 0:
            self._work(rank, server, work)
        self.children.append(child)

    def _work(self, rank: int, server: socket.socket, work: Callable[[], object]) -> NoReturn:
        ignore_interrupts()
        # Freeing the connections of an earlier training would wait for threads that are not forked.
        gc.freeze()
        try:
            self.rank, self.children = rank, []
            self._join(server)
            with catch_part_errors():
                work()
            _wait_for_rank_0()
        except Exception as error:
            assert self.store is not None
            name = "" if isinstance(error, RunError) else f"{type(error).__name__}: "
            self.store.compare_set("error", "", f"{name}{error}")
        finally:
            # Without flushing or closing the files that the parent has open.
            os._exit(0)

    def _join(self, server: socket.socket) -> None:
        """Connect the processes of this machine, over its loopback interface only."""
        port = server.getsockname()[1]
        listening = None if self.rank else server.detach()
        self.store = TCPStore(
            "127.0.0.1",
            port,
            is_master=self.rank == 0,
            timeout=TIMEOUT,
            wait_for_workers=False,
            master_listen_fd=listening,
        )
        interface, hook = os.environ.get("GLOO_SOCKET_IFNAME"), sys.excepthook
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group(
            "gloo", store=self.store, rank=self.rank, world_size=self.count, timeout=TIMEOUT
        )
        # As they were: the hook of torch puts the rank before each line.
        del os.environ["GLOO_SOCKET_IFNAME"]
        if interface is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = interface
        sys.excepthook = hook


def join_launched(device: str) -> None:
    """Connect the processes that `torchrun` has started, which need the same versions."""
    backend = "gloo"
    if device == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _reported():
        dist.init_process_group(backend, timeout=TIMEOUT)
    check_agreement("slotfill and torch", (__version__, torch.__version__))


def check_agreement(name: str, value: Any) -> None:
    """Raise RunError in the process of rank 0 if another process has another `value`."""
    values: list[Any] = [None] * dist.get_world_size()
    with _reported():
        dist.all_gather_object(values, (socket.gethostname(), value))
    for rank, (host, other) in enumerate(values):
        if dist.get_rank() == 0 and other != value:
            raise RunError(
                f"{name}: rank {rank} on {host} has others than rank 0; all machines need the same"
            )


def broadcast(value: Any, store: TCPStore | None = None) -> Any:
    """Return the `value` that rank 0 passes."""
    values = [value]
    with _reported(store):
        dist.broadcast_object_list(values)
    return values[0]


def _wait_for_rank_0() -> None:
    """Return when rank 0 has closed its connections: to it, one that closes first has failed."""
    with suppress(RuntimeError):
        dist.broadcast_object_list([None])


@contextmanager
def _reported(store: TCPStore | None = None) -> Iterator[None]:
    """Raise RunError, or exit if this is not rank 0, when another process has failed."""
    try:
        yield
    except RuntimeError:
        if torchrun_rank() > 0 or (dist.is_initialized() and dist.get_rank() > 0):
            sys.exit(1)
        error = "its process has ended"
        if store is not None and store.check(["error"]):
            error = store.get("error").decode()
        raise RunError(f"training worker failed: {error}") from None


def ignore_interrupts() -> None:
    """Leave Ctrl-C and SIGTERM, which a group of processes receives together, to rank 0."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
