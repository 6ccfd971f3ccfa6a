"""The sections of a config: data, training, distillation, rules, values and search spaces."""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from slotfill.config.option_types import (
    Count,
    DepthOrZero,
    FileOrFolder,
    FilePath,
    Fraction,
    NonNegative,
    Positive,
    Probability,
    SchemeName,
    Size,
    TokenizerName,
    config_error,
)
from slotfill.config.part_config import (
    Part,
    PartConfig,
    StrictModel,
    as_list,
    combine_errors,
    part_validator,
)

MAX_WEIGHT = 1e6
"""The largest weight of a slot: a larger number is a typing error."""


def _has_no_duplicates(parts: list[PartConfig]) -> list[PartConfig]:
    for index, part in enumerate(parts):
        if part in parts[:index]:
            name = part if isinstance(part, str) else part["name"]
            raise config_error(f"has '{name}' twice; leave one out")
    return parts


def _check_slot(name: str) -> str:
    if not name or name == "O" or name != name.strip() or not name.isprintable():
        raise config_error(f"not the name of a slot: '{name}'")
    return name


def _check_slots(slots: dict[str, str]) -> dict[str, str]:
    return {_check_slot(name): description for name, description in slots.items()}


class DataConfig(StrictModel):
    """The labelled sentences and how they are written."""

    path: FileOrFolder | None = None
    """A folder with a file (or folder) for each split, or one file to train on."""
    train: FileOrFolder | None = None
    """The training sentences, if not in `path`."""
    valid: FileOrFolder | None = None
    """The validation sentences; null: in `path`, or else `holdout` of the training sentences."""
    test: FileOrFolder | None = None
    """The test sentences, if not in `path`."""
    format: Annotated[Part | Literal["auto"], part_validator("format", keep="auto")] = "auto"
    """The file format; `auto` guesses it from the name or the content."""
    scheme: SchemeName = "iob2"
    """The tag scheme of files that contain tags."""
    tokenizer: TokenizerName = "words"
    """How text is split into tokens, in files and in `predict`; `given` keeps the tokens of files,
    and `./my_tokenizer.py` is a tokenizer of your own.

    Files of tokens are otherwise tokenized again, as `predict` does with their text."""
    misaligned: Literal["split", "widen", "skip", "error"] = "split"
    """Treatment of slots that begin or end inside a token: split, widen, skip or error.

    `split` splits such tokens by the prefixes and suffixes seen in training, `widen` widens the
    slot to the token, `skip` drops it."""
    strict: bool = False
    """Whether wrong offsets, overlapping slots and sentences without labels or words are errors.

    Otherwise offsets are corrected by the value of the slot, the longest of overlapping slots is
    kept, and such sentences are left out."""
    slots: Annotated[dict[str, str], AfterValidator(_check_slots)] = Field(default={})
    """Descriptions of slots in words, or empty texts; training sentences need not have them.

    A slot without labelled examples needs a tagger that knows names, as `crf` with `slot_names`."""
    normalization: Literal["NFC", "NFKC", "none"] = "NFC"
    """The Unicode normalization of tokens for lookups; offsets always refer to the text itself."""
    holdout: Fraction | None = None
    """The share of the training sentences that is used for validation if there is no `valid`.

    0 trains on all of them and keeps the last epoch; null: 0.1, or 0 if there is a `test` and a
    tenth of the training sentences has fewer than 200 slots and intents, too few to select an
    epoch of a tagger."""
    limit: Size | None = None
    """Train on at most this many of the training sentences, for a short trial.

    They are drawn at random, always the same ones, with each slot and intent in proportion, after
    `holdout`; those of valid and test are complete. `slotfill compare --percentages` compares
    sizes."""
    streaming: bool = False
    """Whether training reads its sentences from disk in each epoch, for millions of them.

    They are stored in a temporary file (in the folder `TMPDIR`) and not in memory; the result is
    the same. Training from another run, with `train.text`, `train.repeat_threshold` or teachers
    needs them in memory."""
    earlier: DataConfig | None = None
    """The data of the run that training continues, which `train --from` writes here.

    `earlier_share` of its training sentences are added to those of this section, and all of its
    valid and test sentences."""
    earlier_share: Probability | None = None
    """The share of the earlier training sentences that is added; null: 300 of them, or ten for
    each new one if that is more."""

    @model_validator(mode="after")
    def _has_training_sentences(self, info: ValidationInfo) -> DataConfig:
        if info.context and info.context.need_data and not (self.path or self.train):
            message = "no training sentences; set data.path=FOLDER_OR_FILE or data.train=FILE"
            key = ("path",) if "path" in self.model_fields_set else ()
            raise combine_errors([(key, message)])
        return self


class TrainConfig(StrictModel):
    """Optimization of the network."""

    from_run: FileOrFolder | None = None
    """The run folder whose weights training starts from, as with `--from RUN`; null: none."""
    seed: Count = 1
    """Random seed of the initial weights, the order of sentences and dropout."""
    processes: Size = 1
    """Processes that share each batch; the random numbers depend on how many there are.

    The processes that `torchrun` starts count instead."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products in training; bfloat16 is faster if the hardware supports it."""
    epochs: Size | None = None
    """Maximum number of epochs; null: 30, or as many as 1,000 steps take; with `from_run` 300.

    With `text`, it is that of each round; null: later rounds have those of 1,000 steps."""
    patience: Count | None = None
    """Early stopping: epochs without a better valid F1; 0: never; null: 10, or a third of `epochs`.

    With fewer than 200 slots in `valid` training does not stop early and keeps the last epoch; so
    it does with `from_run` if this is null."""
    batch_size: Size | None = None
    """Sentences in a batch; null: 32, or fewer (at least 8) for 100 steps per epoch."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019.

    On a CPU both update large tables of word and n-gram vectors without momentum, and in each step
    only the rows of the batch."""
    learning_rate: Positive = 3e-3
    """Peak learning rate, reached at the end of the warm-up."""
    momentum: Fraction = 0.9
    """Momentum of sgd."""
    weight_decay: NonNegative = 0.0
    """Weight decay, as the optimizer defines it."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """Decay of the learning rate after the warm-up; linear and cosine reach zero at `epochs`."""
    warmup_epochs: NonNegative = 1.0
    """Epochs of linear warm-up of the learning rate, starting at zero."""
    gradient_clip: NonNegative = 5.0
    """Maximum gradient norm; 0 disables clipping."""
    slot_weights: dict[str, Annotated[float, Field(ge=0, le=MAX_WEIGHT)]] = Field(default={})
    """Weights of slots in the loss, 1 by default; a sentence has that of its heaviest slot."""
    class_balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight slots by inverse frequency to this power, times their `slot_weights`; 0: all alike."""
    focal_gamma: NonNegative = 0.0
    """Exponent of the focal loss (Lin et al. 2017): well-learned sentences count less; 0: alike.

    The weight is (1 - p)^gamma, where p is the geometric mean of the gold tags' probabilities."""
    repeat_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Repeat sentences that have a slot which fewer than this share of sentences have; 0: none.

    With a slot in the share f they occur sqrt(threshold / f) times (Gupta et al. 2019)."""
    language_model_weight: NonNegative = 0.0
    """Weight of the auxiliary language-model loss (Rei 2017) of the first encoder; 0: none."""
    text: FilePath | None = None
    """A file of unlabelled sentences, in any format, for self-training and the language model."""
    self_training: DepthOrZero = 1
    """How many times `text` is predicted and trained on, weighted by confidence; 0: never."""
    ema_decay: Fraction = 0.998
    """EMA decay; the averaged weights are the ones evaluated and saved; 0 disables averaging."""
    checkpoint_minutes: NonNegative = 10.0
    """Minutes between checkpoints within an epoch, from which `--resume` continues; 0: none.

    A checkpoint follows each epoch. Where saving one is slow, the intervals are longer, so that
    it takes at most 2 % of the time."""
    log: Annotated[
        list[Part],
        part_validator("logger", stackable=True),
        AfterValidator(as_list),
        AfterValidator(_has_no_duplicates),
    ] = Field(default=["csv"], validate_default=True)
    """One logger, or a list of loggers, which record each epoch."""

    @model_validator(mode="after")
    def _uses_text(self) -> TrainConfig:
        if self.text and not (self.self_training or self.language_model_weight):
            problem = "nothing reads it; raise train.self_training or train.language_model_weight"
            raise combine_errors([(("text",), problem)])
        return self

    @model_validator(mode="after")
    def _has_text(self, info: ValidationInfo) -> TrainConfig:
        """Check that more rounds have a text; a run is read, and continued, with any number."""
        is_new = info.context is not None and info.context.need_data and self.from_run is None
        if is_new and self.self_training > 1 and not self.text:
            problem = "needs train.text, the unlabelled sentences that it labels"
            raise combine_errors([(("self_training",), problem)])
        return self


class DistilConfig(StrictModel):
    """Distillation: learning from what other runs predict (Hinton et al. 2015)."""

    teachers: list[FileOrFolder] = Field([])
    """Runs, or JSON lines of predictions with their confidences; their mean is learned."""
    text: FilePath | None = None
    """Unlabelled sentences, which the teachers label: a text file or a file of sentences."""
    augment: Count = 0
    """How many sentences to make of the training sentences by exchanging the values of slots.

    The teachers label them (mention replacement, Dai & Adel 2020)."""
    weight: Probability = 0.5
    """The share of the teachers, against the labels, in what labelled sentences teach."""
    temperature: Positive | None = None
    """Divides the scores of the teachers; null: the temperature of each teacher's calibration."""

    @model_validator(mode="after")
    def _has_teachers(self) -> DistilConfig:
        for key in ("text", "augment"):
            if getattr(self, key) and not self.teachers:
                raise combine_errors([((key,), "needs distil.teachers, which label the sentences")])
        return self


class Range(StrictModel):
    """The numbers that `slotfill tune` tries for a key: integers if it takes only integers."""

    low: float
    """The smallest value."""
    high: float
    """The largest value, inclusive."""
    step: Positive | None = None
    """Only `low`, `low + step` and so on; null: any number in between."""
    log: bool = False
    """Sample on a log scale."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Range:
        low, high, step = self.low, self.high, self.step or 0.0
        size = high - low
        checks = [
            ("high", size <= 0, f"must be more than low, which is {low:g}, found {high:g}"),
            (
                "step",
                0 < size < step,
                f"must be at most {size:g}, from low to high, found {step:g}",
            ),
            ("low", self.log and low <= 0, f"must be more than 0 where log is true, found {low:g}"),
            ("step", self.log and step, "does not go with log: true; leave one out"),
        ]
        if errors := [((key,), message) for key, is_wrong, message in checks if is_wrong]:
            raise combine_errors(errors)
        return self

    def to_integers(self) -> Range:
        """Return the range of the integers in this range."""
        numbers = self.model_dump(exclude_none=True, exclude={"log"})
        return self.model_copy(update={key: int(number) for key, number in numbers.items()})


def _check_pattern(pattern: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            groups = re.compile(pattern).groupindex
    except FutureWarning as error:
        problem = f"{str(error).lower()}; escape the character there with \\"
        raise config_error(f"ambiguous in later versions of Python: {problem}") from None
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise config_error(f"not a regular expression: {error.msg}{where}") from None
    except (RecursionError, OverflowError):
        raise config_error("not a regular expression: too complex") from None
    if groups and "value" not in groups and "(?P=" not in pattern:
        raise config_error(f"the group of the value is called value, found '{next(iter(groups))}'")
    return pattern


class RuleConfig(StrictModel):
    """What fills a slot, or vetoes it, whatever the network predicts: a pattern or a list."""

    slot: Annotated[str, AfterValidator(_check_slot)]
    """The name of the slot, which no training sentence needs to have."""
    action: Literal["fill", "veto"] = "fill"
    """`fill` makes each match a slot; `veto` removes slots whose complete value matches."""
    pattern: Annotated[str, AfterValidator(_check_pattern)] | None = None
    """A regular expression, as of Python's `re`; a group `(?P<value>...)` is the value in it."""
    list: FilePath | None = None
    """A text file with one value a line, compared without case."""

    @model_validator(mode="after")
    def _has_one_matcher(self) -> RuleConfig:
        if self.pattern == "":
            raise config_error("the pattern is empty; it would match everywhere")
        if bool(self.pattern) == bool(self.list):
            found = "has both" if self.list else "has neither"
            raise config_error(f"needs either a pattern or a list, and {found}")
        return self


def _check_synonyms(value: Any, info: ValidationInfo) -> str | dict[str, list[str]]:
    # Not a union, whose messages would be those of both types.
    kind: Any = FilePath if isinstance(value, str) else dict[str, list[str]]
    adapter = TypeAdapter(kind, config=ConfigDict(strict=True))
    return cast(str | dict[str, list[str]], adapter.validate_python(value, context=info.context))


Synonyms = Annotated[
    str | dict[str, list[str]],
    PlainValidator(_check_synonyms, json_schema_input_type=str | dict[str, list[str]]),
]
"""A CSV file, or the values with their synonyms."""


class ResolveConfig(StrictModel):
    """Slots whose values are resolved to dates, times or numbers."""

    slots: dict[str, Literal["date", "time", "datetime", "number"]] = Field({})
    """The kind of the values of each slot, by its name."""
    language: str = "en"
    """The language of the values, as its ISO 639 code."""
    date_order: Literal["DMY", "MDY"] | None = None
    """Whether 03/04 begins with the day or the month; null is the order of the language."""
