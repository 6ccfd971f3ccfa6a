"""Comparison of systems that are trained already: runs, or predictions by any tool.

Positions of slots are counted in visible characters, so that outputs of other tokens compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from slotfill.data.corpus import read_sentences
from slotfill.data.schemes import check_scheme
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError, UsageError
from slotfill.evaluation.metrics import compute_f1, slot_counts
from slotfill.inference.tagging import predict
from slotfill.lab.compare.plan import name_corpus
from slotfill.lab.compare.report import (
    STATISTICS,
    ComparisonReport,
    ConfigReport,
    CorpusInfo,
    CorpusReport,
    SplitReport,
    add_statistics,
    mean_and_deviation,
)
from slotfill.lab.diff import check_same_texts, count_characters, in_characters
from slotfill.runs.evaluate import name_sentences, read_labelled
from slotfill.runs.load import load_run
from slotfill.runs.manifest import is_zip


def compare_systems(
    systems: Mapping[str, Sequence[Path]],
    command: str,
    *,
    gold: Path | None = None,
    scheme: str | None = None,
    device: str = "cpu",
    all_pairs: bool = False,
) -> ComparisonReport:
    """Return the report on systems, each with a run or a file of predictions for each seed.

    `gold` are the labelled sentences; by default those that the runs were tested on. `scheme` is
    the tag scheme of `gold` and of predictions; without it, iob2, and for a run that of its data.
    Raises UsageError if there are none, and DataError if systems do not have the same sentences.
    """
    if scheme is not None:
        check_scheme(scheme)
    paths = [path for each in systems.values() for path in each]
    if gold is not None:
        corpus, split = gold.resolve().parent.name, gold.stem
    elif files := [path for path in paths if path.is_file() and not is_zip(path)]:
        raise UsageError(f"{files[0]}: predictions need the labelled sentences: --gold FILE")
    else:
        first = load_run(paths[0], device)
        corpus, split = name_corpus(first.config.data)[0], name_sentences(first, None, None)
    sentences: list[Sentence] = []
    counts = {}
    equal_outputs: dict[str, list[str]] = {}
    for system, outputs in systems.items():
        before: list[list[list[Slot]]] = []
        for number, path in enumerate(outputs, start=1):
            own, slots, rows = _count_slots(path, gold, scheme, device)
            sentences = sentences or own
            check_same_texts(sentences, own)
            if slots in before:
                equal_outputs.setdefault(system, []).append(str(path))
            before.append(slots)
            counts[system, corpus, split, number] = rows
    configs = []
    for system, outputs in systems.items():
        rows_by_path = {
            str(path): counts[system, corpus, split, number]
            for number, path in enumerate(outputs, start=1)
        }
        f1s = {path: float(compute_f1(rows.sum(axis=0))) for path, rows in rows_by_path.items()}
        scores = SplitReport(*mean_and_deviation(f1s.values()), f1s, {})
        own_corpora = {corpus: CorpusReport(len(outputs), 0, {split: scores})}
        configs.append(ConfigReport(system, ",".join(map(str, outputs)), "", own_corpora))
    corpora = {corpus: CorpusInfo(str(gold or split), split, [split])}
    most = max(map(len, systems.values()))
    return ComparisonReport(
        command=command,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        environment={},
        differences=[],
        statistics={"first": configs[0].name, **STATISTICS},
        seeds=list(range(1, most + 1)),
        folds=0,
        corpora=corpora,
        configs=configs,
        pairs=add_statistics(configs, corpora, counts, all_pairs=all_pairs),
        learning_curves=[],
        runs=[],
        equal_outputs=equal_outputs,
    )


def _count_slots(
    path: Path, gold: Path | None, scheme: str | None, device: str
) -> tuple[list[Sentence], list[list[Slot]], np.ndarray]:
    """Return the labelled sentences and the output `path` in characters, and its counts."""
    if gold is None or not path.is_file() or is_zip(path):
        run = load_run(path, device)
        own_scheme = [f"data.scheme={scheme}"] if scheme else []
        sentences = read_labelled(run, path=gold, overrides=own_scheme).sentences
        predicted = predict(run.engine, run.vocab, sentences, run.calibration)
        slots = predicted.above_thresholds(run.calibration).slots
        labelled = [in_characters(sentence) for sentence in sentences]
    else:
        everything, outputs = (
            read_sentences(
                file,
                scheme=scheme or "iob2",
                tokenizer=Tokenizer("characters"),
                misaligned="widen",
                labelled=file is path,
            ).sentences
            for file in (gold, path)
        )
        check_same_texts(everything, outputs)
        kept = [
            (in_characters(sentence), output)
            for sentence, output in zip(everything, outputs, strict=True)
            if sentence.slots is not None
        ]
        if not kept:
            raise DataError(f"{gold}: none of its sentences has labels")
        labelled = [sentence for sentence, _ in kept]
        sentences = [output for _, output in kept]
        slots = [output.slots or [] for output in sentences]
    pairs = zip(sentences, slots, strict=True)
    counted = [count_characters(*pair) for pair in pairs]
    return labelled, counted, slot_counts(labelled, counted)
