"""Build the network that a config describes."""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch.overrides import TorchFunctionMode

from slotfill.config.models import Config, external_part_files
from slotfill.config.registry import GENERATORS, check_trusted
from slotfill.data.static_table import resolve_embedding
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.ensemble import Ensemble, Model
from slotfill.model.generators.base import Generator
from slotfill.model.language_model import LanguageModelHead
from slotfill.model.network import Network

MAX_TENSORS = 1000
"""Maximum number of tensors in a network, far above the 400 or so of a large transformer."""

_SLACK = 100_000_000
"""In bytes; what a network may need beside eight times the weights it is loaded from."""

_FACTORIES = {torch.empty, torch.zeros, torch.ones}


class MemoryLimit(TorchFunctionMode):
    """Within the block, a tensor that would not fit into memory is an error before it is allocated.

    There will be `copies` of each weight: in training 4, with its gradient and two moments of Adam.
    `weights` is the size of the file that the network will be loaded from, if there is one.
    """

    def __init__(self, copies: int, weights: int | None = None) -> None:
        super().__init__()
        self.copies = copies
        self.weights = weights
        self.bytes = 0
        self.tensors = 0
        self.available = _physical_memory()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count what a factory function such as `torch.empty` is about to allocate."""
        if func in _FACTORIES and args:
            shape = args if isinstance(args[0], int) else args[0]
            self.bytes += 4 * math.prod(shape)
            self.tensors += 1
            self.check()
        return func(*args, **(kwargs or {}))

    def check(self, networks: int = 1) -> None:
        """Raise ConfigError if `networks` networks like the one so far do not fit into memory."""
        needed = self.bytes * self.copies * networks
        if needed > self.available:
            purpose = "weights, gradients and optimizer" if self.copies > 1 else "weights"
            raise ConfigError(
                f"needs about {_gigabytes(needed)} for {purpose}, but this machine has"
                f" {_gigabytes(self.available)}",
                key="ensemble_size" if networks > 1 else "",
            )
        if self.weights is not None and needed > _SLACK + 8 * self.weights:
            raise ConfigError("needs more weights than the run has")
        if self.tensors > MAX_TENSORS:
            raise ConfigError(f"needs more than {MAX_TENSORS:,} weight tensors, the maximum")


def build_model(
    config: Config, vocab: Vocab, *, learning: bool = False, weights: int | None = None
) -> Model | Generator:
    """Return the network or generator that `config` describes, with random weights.

    With `learning` it has the auxiliary heads that only training uses; with `weights`, the size of
    a file, it may not be much larger. Raises ConfigError where options conflict, with the location
    of each key.
    """
    with config.locate_errors(), _describe_memory_error():
        if config.generator is not None:
            with MemoryLimit(copies=4 if learning else 1, weights=weights):
                generator: Generator = GENERATORS.build(config.generator, vocab)
            return generator
        parts = (resolve_embedding(config, vocab), config.encoder, config.tagger, config.intent)
        with MemoryLimit(copies=4 if learning else 1, weights=weights) as limit:
            members = [Network(vocab, *parts)]
        limit.check(networks=config.ensemble_size)
        members += [Network(vocab, *parts) for _ in range(config.ensemble_size - 1)]
        for member in members if learning else ():
            member.focal_gamma = config.train.focal_gamma
        if learning and (weight := config.train.language_model_weight):
            for member in members:
                embeddings = cast(Iterable[Embedding], member.embeddings)
                encoder = cast(Encoder, member.encoders[0])
                member.language_model = LanguageModelHead(embeddings, encoder, vocab, weight)
        return members[0] if len(members) == 1 else Ensemble(members)


@contextmanager
def _describe_memory_error() -> Iterator[None]:
    """Raise a ConfigError if a weight does not fit into memory."""
    try:
        yield
    except RuntimeError as error:
        size = re.search(r"can't allocate memory: you tried to allocate (\d+)", str(error))
        if size is None:
            raise
        raise ConfigError(
            "the network does not fit into memory: one of its weights takes"
            f" {_gigabytes(int(size[1]))}"
        ) from None


def check_buildable(config: Config) -> None:
    """Build the network with an empty vocabulary, to find options that conflict.

    Raises UsageError if the config names a user-defined part that may not be executed.
    """
    for file in external_part_files(config.model_dump()):
        check_trusted(file)
    vocab = Vocab({}, ["O"], config.scheme, intents={"intent": 1})
    build_model(config, vocab, learning=True)


def _physical_memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Unknown on Windows.
        return math.inf


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.0f} GB"
