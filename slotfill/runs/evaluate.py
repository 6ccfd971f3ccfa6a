"""Evaluation of a run: score it on a split of its data, or on other sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slotfill.config.validate import parse_config
from slotfill.data.corpus import format_from_suffix, read_sentences
from slotfill.data.splits import evaluation_split, read_split
from slotfill.errors import ConfigError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.runs.load import Run


def _name(format: str | Mapping[str, Any]) -> str:
    return format if isinstance(format, str) else str(format["name"])


def evaluate_run(
    run: Run, *, split: str | None = None, path: Path | None = None, overrides: Sequence[str] = ()
) -> EvaluationResult:
    """Return the score of `run` on a split of its own data, the final one if none is named, or on
    `path`.

    The labelled sentences in `path` are read as those of the run's data, but for a format that its
    name tells and for `overrides` such as `data.scheme=bioes`. Raises ConfigError where one is
    wrong.
    """
    data = run.config.data
    if overrides:
        data = parse_config(run.config.to_yaml(), "config", overrides).data
        for key in ("tokenizer", "normalization"):
            if getattr(data, key) != getattr(run.config.data, key):
                raise ConfigError(
                    f"data.{key}: is that of the run, {getattr(run.config.data, key)}; train"
                    " again to change it"
                )
    if path is None:
        reading = read_split(data, split or evaluation_split(data), tokenizer=run.tokenizer)
    else:
        named = format_from_suffix(path)
        told = any(override.startswith("data.format") for override in overrides)
        format = data.format if told or named is None or _name(data.format) == named else named
        reading = read_sentences(
            path,
            format=format,
            scheme=data.scheme,
            tokenizer=run.tokenizer,
            misaligned=data.misaligned,
        )
    return evaluate(run.engine, run.vocab, reading.sentences)
