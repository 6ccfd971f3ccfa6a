"""Config: what a run is made of: data, network, training; every key with its type, its default and
its meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from slotfill.config.option_types import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    SchemeName,
    Size,
    TokenizerName,
)
from slotfill.config.registry import EMBEDDINGS, ENCODERS, INTENTS, REQUIRED, TAGGERS, PartSource
from slotfill.config.yaml_reader import dump

PART_KEYS = {"embedding": EMBEDDINGS, "encoder": ENCODERS, "tagger": TAGGERS, "intent": INTENTS}
"""The keys whose values are parts."""

STACKABLE_PART_KEYS = ("embedding", "encoder")
"""Those whose value may be a list of parts."""

RENAMED_KEYS = {
    "members": "ensemble_size",
    "train.average": "train.ema_decay",
    "train.language_model": "train.language_model_weight",
    "train.threads": "train.processes",
    "train.warmup": "train.warmup_epochs",
}
"""Earlier names of keys, which an error answers with the new name."""

Part = dict[str, Any]


class StrictModel(BaseModel):
    """Keys and values without any that are unknown, and of exactly the types they are declared
    with.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class DataConfig(StrictModel):
    """Where the sentences are and how they are written."""

    path: str | None = None
    """A folder with a file (or folder) for each split, or one file to train on."""
    train: str | None = None
    """The sentences to learn from, if not in `path`."""
    valid: str | None = None
    """The sentences to pick the best epoch on; without any, `holdout` of the training sentences."""
    test: str | None = None
    """The sentences to score the result on; without any, it is not."""
    format: Any = "auto"
    """How the files are written; `auto` guesses from the path."""
    scheme: SchemeName = "iob2"
    """The tag scheme of the files, where they hold tags."""
    tokenizer: TokenizerName = "words"
    """How text is split into tokens, in files and in `predict`; `given` keeps the tokens of files.
    Files of tokens are otherwise tokenized again, as `predict` does with their text."""
    misaligned: Literal["split", "widen", "skip", "error"] = "split"
    """What becomes of slots that begin or end inside a token: `split` splits such tokens by the
    prefixes and suffixes seen in training, `widen` widens the slot to the token, `skip` drops it.
    """
    normalization: Literal["NFC", "NFKC", "none"] = "NFC"
    """The Unicode normalization of tokens for lookups; offsets always refer to the text itself."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share of the training sentences kept for `valid` where there is no such split."""


class TrainConfig(StrictModel):
    """How the weights are found."""

    seed: Count = 1
    """Decides every draw: weights, order, dropout."""
    processes: Size = 1
    """Processes that share the sentences of each batch, one a processor; what is drawn differs with
    their number.
    """
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products in training; bfloat16 is quicker on processors and devices that know it, and
    coarser.
    """
    epochs: Size | None = None
    """At most so many times over the training sentences; null: 30, or more until 1,000 steps are
    done.
    """
    patience: Count | None = None
    """Stop after so many epochs without a better valid F1; 0 never stops; null: 10, or a third of
    all if more.
    """
    batch_size: Size | None = None
    """Sentences a step; null: 32, or fewer, down to 8, for 100 steps an epoch."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019."""
    learning_rate: Positive = 3e-3
    """The highest rate, which the schedule starts from after the warm-up."""
    momentum: Fraction = 0.9
    """Of sgd; the others have their own."""
    weight_decay: NonNegative = 0.0
    """How much weights shrink a step."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the rate falls, to zero at `epochs`."""
    warmup_epochs: NonNegative = 1.0
    """Epochs over which the rate rises from zero."""
    gradient_clip: NonNegative = 5.0
    """The longest that the gradient may be; 0 for any. An LSTM cures vanishing gradients, not
    exploding ones: its memory is a sum, but its gates still multiply, so it needs this as much
    as an Elman network does."""
    language_model_weight: NonNegative = 0.0
    """Weight of foretelling each word from the first encoder's states, which teaches it more of
    words; 0 for not.
    """
    ema_decay: Fraction = 0.998
    """Decay of the moving average of the weights, which is what is scored and kept; 0 keeps the
    weights.
    """


class Range(StrictModel):
    """The numbers that `slotfill tune` may try for a key, whole ones where the key takes no others."""

    low: float
    """The lowest."""
    high: float
    """The highest, which may be tried as well."""
    step: Positive | None = None
    """Only `low`, `low + step` and so on; without it whatever lies between."""
    log: bool = False
    """Draw by magnitude: as often between 0.001 and 0.01 as between 0.01 and 0.1."""

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield each key whose value does not go with the others, and why."""
        if self.high <= self.low:
            yield "high", f"must be more than low, which is {self.low:g}, found {self.high:g}"
        elif self.step and self.step > self.high - self.low:
            yield (
                "step",
                f"must be at most {self.high - self.low:g}, from low to high, found {self.step:g}",
            )
        if self.log and self.low <= 0:
            yield "low", f"must be more than 0 where log is true, found {self.low:g}"
        if self.log and self.step:
            yield "step", "does not go with log: true; leave one out"

    def whole(self) -> Range:
        """Return the range of the whole numbers in it."""
        numbers = self.model_dump(exclude_none=True, exclude={"log"})
        return self.model_copy(update={key: int(number) for key, number in numbers.items()})


class Config(StrictModel):
    """A whole run: data, network, training. Every default is in it."""

    version: Literal[1] = 1
    """Version of the config keys."""
    data: DataConfig = DataConfig()
    scheme: SchemeName = "iob2"
    """The tag scheme that the model learns, whatever the files have."""
    embedding: Any = ["word", "char_cnn", "ngrams"]
    """One embedding or a list, whose vectors are joined."""
    encoder: Any = "recurrent"
    """What reads the sentence: one encoder, or a list, each of which reads what the one before
    gives.
    """
    tagger: Any = "crf"
    """What chooses the tags."""
    intent: Any = None
    """What reads the intents of the whole sentence; without it they are not learned."""
    ensemble_size: Size = 1
    """Networks that are trained side by side, each with its own weights; their scores are averaged.
    """
    train: TrainConfig = TrainConfig()
    tune: dict[str, Range | Annotated[list[Any], Field(min_length=2)]] = Field({}, exclude=True)
    """What `slotfill tune` tries: for a key, written with dots, a range of numbers or a list of
    two values or more. No other command looks at it, and a saved config is without it."""

    def to_yaml(self) -> str:
        """Return the complete config as YAML."""
        return dump(self.model_dump())


@cache
def part_model(part: PartSource) -> type[BaseModel]:
    """Return the pydantic model of a part's options, read from its file."""
    fields: dict[str, Any] = {"name": (str, ...)}
    for option in part.options.values():
        kind = Any if option.part else option.type
        fields[option.name] = (kind, ... if option.default is REQUIRED else option.default)
    return create_model(part.class_node.name, __base__=StrictModel, **fields)


def why_not_tunable(key: str, given: Any) -> str:
    """Return why `given` cannot be what `slotfill tune` tries for `key`; nothing where its form is
    right.
    """
    if key.partition(".")[0] in ("data", "version", "tune") or key == "train.seed":
        return "is the same in all trials, so that they can be compared; it cannot be tuned"
    numbers = isinstance(given, dict) and not any(
        isinstance(value, dict | list) for value in given.values()
    )
    if numbers or (isinstance(given, list) and len(given) > 1):
        return ""
    return (
        "must be a range, as {low: 2, high: 8}, or a list of at least two values; a key has dots,"
        " as train.epochs"
    )


def external_part_files(value: Any) -> Iterator[str]:
    """Yield the files from outside that the parts in a config's data are taken from."""
    if isinstance(value, dict):
        if str(value.get("name")).endswith(".py"):
            yield value["name"]
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from external_part_files(each)
