"""From a checked config to a run folder: sentences read, a network built, trained, scored and
saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slotfill.config.models import Config
from slotfill.data.indexers import Coverage, compute_coverage
from slotfill.data.sentence import Sentence
from slotfill.data.splits import evaluation_split, fit_tokenizer, read_split
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.model.build import build_model
from slotfill.model.recurrence import compile_steps
from slotfill.runs.folder import RunFolder
from slotfill.training.malloc import tune_malloc
from slotfill.training.profiler import Times
from slotfill.training.trainer import Epoch, Progress, Training


def _example(sentences: Sequence[Sentence]) -> str:
    """Return the text of a short sentence with several slots."""
    return max(
        sentences,
        key=lambda sentence: min(len(sentence.slots or ()), 3) - len(sentence.tokens) / 100,
    ).text


@dataclass(slots=True)
class Outcome:
    """What a run came to: its scores by split, its best epoch, whether it was stopped before its
    end, a sentence to try it on, where the time went if that was asked for, and why it is not
    exported, if it is not."""

    path: Path
    scores: dict[str, EvaluationResult]
    best: Epoch
    seconds: float
    parameters: int
    interrupted: bool
    example: str
    times: dict[str, float] | None = None
    not_exported: str = ""


def prepare(
    config: Config,
    corpus: Mapping[str, Sequence[Sentence]],
    device: str,
    times: Times,
    kept: dict[str, dict[str, Any]] | None = None,
) -> Training:
    """Return the training of `config`, on the sentences of train and valid in `corpus`, before its
    first step.

    `kept` is what the parts of a run that goes on have kept of files.
    """
    # The workers are processes: threads that divide a product would be in their way.
    torch.set_num_threads(1)
    tune_malloc()
    torch.manual_seed(config.train.seed)
    vocab = Vocab.from_sentences(
        corpus["train"],
        config.scheme,
        kept,
        intents=bool(config.intent),
        tokenizer=fit_tokenizer(config.data),
    )
    model = build_model(config, vocab, learning=True).to(device)
    training = Training(config.train, model, corpus["train"], corpus["valid"], vocab, times=times)
    if device.startswith("cuda"):
        compile_steps(model)
    return training


def train(
    config: Config,
    folder: RunFolder,
    report: Callable[[Progress], None],
    *,
    covered: Callable[[Coverage], None] = lambda coverage: None,
    device: str = "cpu",
    profile: bool = False,
) -> Outcome:
    """Train the model of `config`, score its best epoch, and save it as a run in `folder`.

    Before it begins it tells `covered` which words pretrained vectors know, where there are some.

    An interrupt from the keyboard ends training, not the run: the best epoch so far is scored and
    saved, and the run can be resumed. With `profile` it tells where the time went, for which a
    device is waited for at every turn. Raises RunError where there is no such epoch yet, or
    training diverges.
    """
    splits = list(dict.fromkeys(("train", "valid", evaluation_split(config.data))))
    corpus = {
        split: read_split(config.data, split, intents=bool(config.intent)).sentences
        for split in splits
    }
    times = Times(torch.cuda.synchronize if profile and device.startswith("cuda") else None)
    times.turn_to("preparation")
    training = prepare(config, corpus, device, times, folder.resources())
    tokens = {
        split: [sentence.tokens for sentence in corpus[split]] for split in ("train", "valid")
    }
    if coverage := compute_coverage(training.model.indexers, tokens):
        covered(coverage)
    if profile:
        times.watch(training.model)
    if folder.source:
        folder.load_checkpoint(training)
    else:
        folder.create(config, training.vocab)
    interrupted = False
    times.turn_to("other")
    try:
        while not training.finished:
            training.epoch(report)
            with times.of("checkpoint"):
                folder.save_checkpoint(training)
    except KeyboardInterrupt:
        interrupted = True
    except RunError:
        folder.discard()
        raise
    finally:
        training.workers.close()
    if training.best is None:
        folder.discard()
        raise RunError("stopped before the first epoch was done, so there is nothing to save")
    # A run has what prediction needs and no more.
    for member in training.averaged.members:
        member.language_model = None
    training.best_weights = {
        name: training.best_weights[name] for name in training.averaged.state_dict()
    }
    training.averaged.load_state_dict(training.best_weights)
    training.averaged.eval()
    with times.of("final scores"):
        scores = {
            split: evaluate(training.averaged, training.vocab, corpus[split])
            for split in splits
            if split != "train"
        }
    outcome = Outcome(
        folder.out,
        scores,
        training.best,
        sum(epoch.seconds for epoch in training.history),
        sum(parameter.numel() for parameter in training.averaged.parameters()),
        interrupted,
        _example(corpus[splits[-1]]),
        times.seconds if profile else None,
    )
    notes = {
        "best_epoch": training.best.epoch,
        "epochs": len(training.history),
        "interrupted": interrupted,
        "train_seconds": outcome.seconds,
        "parameters": outcome.parameters,
        **({"coverage": coverage} if coverage else {}),
        "splits": {split: score.to_json() for split, score in scores.items()},
    }
    outcome.not_exported = folder.finalize(training, notes, completed=not interrupted)
    return outcome
