"""Build the network that a config describes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from slotfill.config.models import Config, external_part_files
from slotfill.config.registry import check_trusted
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.ensemble import Ensemble, Model
from slotfill.model.language_model import LanguageModelHead
from slotfill.model.memory import MemoryLimit
from slotfill.model.tagger import SlotTagger


def build_model(config: Config, vocab: Vocab, *, learning: bool = False) -> Model:
    """Return the network that `config` describes, with random weights.

    With `learning` it has the auxiliary heads that only training uses. Raises ConfigError where
    options conflict, with the location of each key.
    """
    with config.locate_errors(), _describe_memory_error():
        parts = (config.embedding, config.encoder, config.tagger, config.intent)
        with MemoryLimit(copies=4 if learning else 1) as limit:
            members = [SlotTagger(vocab, *parts)]
        limit.check(networks=config.ensemble_size)
        members += [SlotTagger(vocab, *parts) for _ in range(config.ensemble_size - 1)]
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
        gigabytes = f"{int(size[1]) / 1e9:,.0f} GB"
        message = f"the network does not fit into memory: one of its weights takes {gigabytes}"
        raise ConfigError(message) from None


def check_buildable(config: Config) -> None:
    """Build the network with an empty vocabulary, to find options that conflict.

    Raises:
        ConfigError: Options conflict.
        UsageError: The config names a user-defined part that may not be executed.
    """
    for file in external_part_files(config.model_dump()):
        check_trusted(file)
    vocab = Vocab({}, ["O"], config.scheme, intents={"intent": 1})
    build_model(config, vocab, learning=True)
