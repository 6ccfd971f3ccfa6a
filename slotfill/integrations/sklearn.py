"""SlotTagger: the estimator that scikit-learn's model selection expects, without depending on it.

It is trained as `slotfill train` does, on a temporary file of the sentences.
"""

from __future__ import annotations

import json
import operator
import re
import shutil
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from slotfill.config.builtin import compose_config
from slotfill.config.overrides import flatten
from slotfill.config.registry import catch_part_errors, trust_external_parts
from slotfill.data.alignment import leave_out_overlaps
from slotfill.data.findings import describe_overlaps
from slotfill.data.schemes import slots_to_tags, tags_to_slots
from slotfill.data.sentence import Example, Issue, Span
from slotfill.errors import DataError, UsageError, format_count
from slotfill.evaluation.metrics import compute_prf
from slotfill.extras import required_for
from slotfill.paths import to_path
from slotfill.runs.device import check_names
from slotfill.runs.folder import RunFolder
from slotfill.runs.predict import Predictor

Text = str | Sequence[str]
"""A text, or its tokens."""

Labels = Sequence[Any]
"""Of a text: its spans, each `(name, start, end)` in characters; of tokens: a tag for each."""

_SENTENCES = "sentences.jsonl"


class SlotTagger:
    """A tagger with the methods of an estimator of scikit-learn.

    `X` is a list of texts, and `y` has for each text a list of spans `(name, start, end)`, where
    `start` and `end` (exclusive) count characters. Or `X` is a list of lists of tokens, and `y` has
    for each a list of tags, in the scheme `data__scheme`. Intents are not learned.

    A tenth of `X` is held out to select the epoch and to calibrate confidences; `data__holdout`
    changes that. A fitted tagger can be pickled, as joblib does.

    Attributes:
        tagger_: The `Predictor` of the fitted tagger, with confidences and more.

    Examples:
        >>> X = ["fly to Oslo", "leave Rome", "fly to Rome", "leave Oslo"]
        >>> y = [[("goal", 7, 11)], [("origin", 6, 10)]] * 2
        >>> tagger = slotfill.SlotTagger("taipei", data__holdout=0, train__epochs=40)
        >>> tagger.fit(X, y).predict(["leave Lima"])
        [[('origin', 6, 10)]]
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        device: str = "cpu",
        trust: bool = False,
        **overrides: Any,
    ) -> None:
        """Keep the arguments, which are not checked before `fit`.

        Args:
            config: A built-in config, a YAML file or its content; its sentences are not used. By
                default the defaults of all keys.
            device: "cpu", "cuda" or "auto".
            trust: Whether to execute the files of user-defined parts that the config names.
            overrides: Values of keys of the config; their dots are written `__`, such as
                `train__epochs=5`.
        """
        self.config = config
        self.device = device
        self.trust = trust
        self.overrides = overrides

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the constructor by name; `deep` has no effect."""
        own = {"config": self.config, "device": self.device, "trust": self.trust}
        return own | self.overrides

    def set_params(self, **params: Any) -> SlotTagger:
        """Change arguments of the constructor, also those that were not given; return self."""
        for name, value in params.items():
            if name in ("config", "device", "trust"):
                setattr(self, name, value)
            else:
                self.overrides = self.overrides | {name: value}
        return self

    def fit(self, X: Sequence[Text], y: Sequence[Labels]) -> SlotTagger:
        """Train on sentences and their labels; return self.

        Spans that overlap a longer one are left out, with a warning. Raises what `slotfill.train`
        raises; `X[3]` in a message is the fourth sentence.
        """
        texts, labels = _to_lists(X, y)
        if not texts:
            raise DataError("X has no sentences")
        has_tokens = not isinstance(texts[0], str)
        rows = [
            _to_row(index, text, own, has_tokens)
            for index, (text, own) in enumerate(zip(texts, labels, strict=True))
        ]
        if overlaps := describe_overlaps(_find_overlaps(rows)):
            warnings.warn(overlaps, stacklevel=2)
        folder = Path(mkdtemp(prefix="slotfill-"))
        file = folder / _SENTENCES
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        try:
            with trust_external_parts(self.trust):
                self._train(file, folder / "run", has_tokens)
        except DataError as error:
            raise DataError(*(_name_index(message, file) for message in error.messages)) from None
        finally:
            file.unlink()
            if not self.__sklearn_is_fitted__() or self._run_path.parent != folder:
                shutil.rmtree(folder)
        return self

    def _train(self, file: Path, out: Path, has_tokens: bool) -> None:
        """Train on `file`, a run in `out`."""
        own = {"data.path": None, "data.train": str(file), "data.valid": None, "data.test": None}
        own |= {"data.format": "jsonl", "intent": None}
        given = {
            key: value
            for name, section in self.overrides.items()
            for key, value in flatten(name.replace("__", "."), section)
        }
        if has_tokens:
            own["data.tokenizer"] = "given"
        if wrong := [key for key in own if key in given]:
            raise UsageError(f"{wrong[0]}: X and y are the data; leave it out")
        check_names(self.device, "auto")
        _, config = compose_config(self.config, given | own)
        config.check_tagger()
        with required_for("SlotTagger.fit"):
            from slotfill.runs.device import resolve_device
            from slotfill.runs.train import train
        with catch_part_errors():
            train(config, RunFolder(out), device=resolve_device(self.device))
        self._has_tokens = has_tokens
        self._load(out)

    def _load(self, run: Path) -> None:
        """Load a run whose folder is deleted when the tagger is gone."""
        with trust_external_parts(self.trust):
            self.tagger_ = Predictor.load(run)
        weakref.finalize(self.tagger_.run, shutil.rmtree, run.parent, ignore_errors=True)

    def predict(self, X: Sequence[Text]) -> list[Any]:
        """Return the labels of each sentence, as they are in the `y` of `fit`.

        Raises DataError if `X` has texts where `fit` had tokens, or the other way round.
        """
        self._check_fitted()
        texts = []
        for index, text in enumerate(_to_list("X", X)):
            _check_kind(index, text, self._has_tokens)
            texts.append(" ".join(text) if self._has_tokens else text)
        sentences = self.tagger_.tag(texts)
        if not self._has_tokens:
            return _LabelList(
                [(slot.name, *sentence.span(slot)) for slot in sentence.slots or ()]
                for sentence in sentences
            )
        return _LabelList(
            slots_to_tags(sentence.slots or [], len(sentence.tokens), self._scheme)
            for sentence in sentences
        )

    def score(self, X: Sequence[Text], y: Sequence[Labels]) -> float:
        """Return F1 of the predicted slots, from 0 to 1: a slot counts if it is exactly right."""
        self._check_fitted()
        counts = [0, 0, 0]
        texts, labels = _to_lists(X, y)
        for index, (text, gold) in enumerate(zip(texts, labels, strict=True)):
            _to_row(index, text, gold, self._has_tokens)  # It checks both.
        for predicted, gold in zip(self.predict(texts), labels, strict=True):
            found, wanted = (self._slots(labels) for labels in (predicted, gold))
            counts = [
                before + len(new)
                for before, new in zip(counts, (found & wanted, found, wanted), strict=True)
            ]
        return compute_prf(*counts).f1 / 100

    def save(self, path: str | Path) -> None:
        """Save the fitted tagger as the run folder `path`, which `slotfill.load` takes.

        Raises UsageError if the path exists.
        """
        self._check_fitted()
        path = to_path(path)
        if path.exists():
            raise UsageError(f"{path}: exists, and nothing is overwritten; choose another path")
        shutil.copytree(self._run_path, path)

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise UsageError("the SlotTagger is not fitted yet; call fit(X, y) before")

    @property
    def _run_path(self) -> Path:
        return self.tagger_.run.files.path

    @property
    def _scheme(self) -> str:
        return self.tagger_.run.scheme

    def _slots(self, labels: Labels) -> set[Any]:
        """Return the slots of a sentence whose labels are as those of `fit`."""
        if self._has_tokens:
            return set(tags_to_slots(list(labels), self._scheme))
        return {tuple(span)[:3] for span in labels}

    def __repr__(self) -> str:
        given = {k: v for k, v in self.get_params().items() if v not in (None, "cpu", False)}
        return f"SlotTagger({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "tagger_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags  # It is scikit-learn that asks.

        target = TargetTags(required=True, two_d_labels=False)
        return Tags(
            estimator_type=None,
            target_tags=target,
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__}
        if self.__sklearn_is_fitted__():
            del state["tagger_"]
            files = filter(Path.is_file, self._run_path.iterdir())
            state["_files"] = {file.name: file.read_bytes() for file in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        self.__dict__.update(state)
        if files is not None:
            run = Path(mkdtemp(prefix="slotfill-"), "run")
            run.mkdir()
            for name, content in files.items():
                (run / name).write_bytes(content)
            self._load(run)


class _LabelList(list[Any]):
    """The labels of sentences; as an array, it has one object for each, as scikit-learn joins."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = np.empty(len(self), dtype=object)
        for index, labels in enumerate(self):
            array[index] = labels
        return array


def _to_lists(X: Any, y: Any) -> tuple[list[Any], list[Any]]:
    """Return sentences and their labels; raises DataError if they are not equally many."""
    texts, labels = _to_list("X", X), _to_list("y", y)
    if len(texts) != len(labels):
        found = format_count(len(texts), "sentence")
        raise DataError(f"X has {found}, but y has labels of {len(labels)}")
    return texts, labels


def _to_list(name: str, values: Any) -> list[Any]:
    """Return a sequence, an array of NumPy or a column of pandas as a list, and those in it."""
    if getattr(values, "ndim", 1) != 1:
        found = f"a {type(values).__name__} of {values.ndim} dimensions"
        raise DataError(f"{name} is {found}; give one column, or a list")
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping | Set):
        what = "a list of texts, or of lists of tokens" if name == "X" else "a list"
        raise DataError(f"{name} is {what}, not {_shorten(values)}")
    return [each.tolist() if hasattr(each, "tolist") else each for each in values]


def _check_kind(index: int, text: Any, has_tokens: bool) -> None:
    """Raise DataError if a sentence is not a text, or not its tokens if it `has_tokens`."""
    is_tokens = isinstance(text, list | tuple) and all(isinstance(token, str) for token in text)
    if not (is_tokens if has_tokens else isinstance(text, str)):
        wanted = "a list of tokens" if has_tokens else "a text"
        raise DataError(f"X[{index}]: must be {wanted} as in fit, found {_shorten(text)}")
    for token in text if has_tokens else ():
        if len(token.split()) != 1 or token != token.strip():
            raise DataError(f"X[{index}]: the token {token!r} is empty or has white space")


def _to_row(index: int, text: Any, labels: Any, has_tokens: bool) -> dict[str, Any]:
    """Return a sentence as an object of JSON lines; raises DataError if it is not labelled."""
    _check_kind(index, text, has_tokens)
    labels = _to_list(f"y[{index}]", labels)
    if has_tokens:
        if len(labels) != len(text) or not all(isinstance(tag, str) for tag in labels):
            raise DataError(f"y[{index}]: must have a tag for each token, found {_shorten(labels)}")
        return {"tokens": list(text), "tags": [str(tag) for tag in labels]}
    slots = []
    for span in labels:
        try:
            name, start, end = span[:3]
            start, end = operator.index(start), operator.index(end)
        except (TypeError, ValueError, LookupError):
            name = None
        if not isinstance(name, str) or isinstance(span, str):
            raise DataError(
                f"y[{index}]: a span is (name, start, end) with integers, found {_shorten(span)}"
            )
        slots.append({"name": str(name), "start": start, "end": end})
    return {"text": text, "slots": slots}


def _find_overlaps(rows: Sequence[Mapping[str, Any]]) -> list[Issue]:
    """Return an issue for each slot that training leaves out, as it overlaps another one."""
    issues: list[Issue] = []
    for index, row in enumerate(rows):
        text = row.get("text", "")
        spans = [Span(slot["name"], slot["start"], slot["end"]) for slot in row.get("slots", ())]
        inside = [span for span in spans if 0 <= span.start < span.end <= len(text)]
        example = Example(text, inside, location=f"X[{index}]")
        leave_out_overlaps(example)
        issues += example.issues
    return issues


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name_index(message: str, file: Path) -> str:
    """Return a message in which a line of the `file` of sentences is an index of `X`."""
    name = re.escape(file.name)  # Messages shorten its folder, if they name it.
    message = re.sub(rf"\S*{name}:(\d+)", lambda match: f"X[{int(match[1]) - 1}]", message)
    return re.sub(rf"\S*{name}", "X", message)
