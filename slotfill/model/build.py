"""The network that a config describes, built from its parts."""

from __future__ import annotations

from collections.abc import Sequence

from slotfill.config.models import Config, external_part_files
from slotfill.config.recipes import located
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.ensemble import Ensemble
from slotfill.model.language_model import LanguageModelHead
from slotfill.model.tagger import SlotTagger


def build_model(config: Config, vocab: Vocab, *, learning: bool = False) -> SlotTagger:
    """Return the model that `config` describes, with weights drawn anew, and what it needs for
    `learning` alone.
    """
    parts = (config.embedding, config.encoder, config.tagger, config.intent)
    members = [SlotTagger(vocab, *parts) for _ in range(config.ensemble_size)]
    if learning and config.train.language_model_weight:
        for member in members:
            member.language_model = LanguageModelHead(
                member, vocab, config.train.language_model_weight
            )
    return members[0] if len(members) == 1 else Ensemble(members)


def check_buildable(config: Config) -> None:
    """Build the network of a checked config on no words at all; raises ConfigError where options do
    not go together.

    Parts from outside are not run to be checked.
    """
    if any(external_part_files(config.model_dump())):
        return
    build_model(config, Vocab({}, ["O"], config.scheme, intents={"intent": 1}), learning=True)


def check_built(config: Config, given: str | None, overrides: Sequence[str]) -> None:
    """Do as `check_buildable` for a `config` that was read from what is `given`, and say where the
    faults are.
    """
    try:
        check_buildable(config)
    except ConfigError as fault:
        raise located(given, overrides, fault.faults) from None
