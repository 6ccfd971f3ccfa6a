"""Training a run: from a validated config to a run folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist

from slotfill.config.models import Config
from slotfill.config.registry import LOGGERS
from slotfill.data.findings import find_left_out
from slotfill.data.indexers import Coverage, compute_coverage
from slotfill.data.sentence import Sentence
from slotfill.data.split_findings import check_limit, check_splits, check_values
from slotfill.data.splits import SPLITS, fit_tokenizer, read_split, read_text, split_names
from slotfill.data.stored import StoredSentences
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.values import KnownValues
from slotfill.data.vocab import Vocab, check_slot_names
from slotfill.errors import RunError, format_count, limit_messages
from slotfill.evaluation.calibration import fit_calibration
from slotfill.evaluation.evaluate import evaluate, validation_metrics
from slotfill.evaluation.likelihood import Likelihood, likelihood_metrics, measure_likelihood
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.inference.calibration import UNCALIBRATED
from slotfill.model.build import build_model
from slotfill.model.cost import count_multiply_adds
from slotfill.model.ensemble import Model
from slotfill.model.generators.base import Generator
from slotfill.model.inherit import inherit_weights
from slotfill.model.recurrence import compile_steps
from slotfill.runs.continuation import Continuation, load_base
from slotfill.runs.distil import describe_teachers, prepare
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import Run
from slotfill.training.data_parallel import (
    broadcast,
    check_agreement,
    ignore_interrupts,
    join_launched,
)
from slotfill.training.imbalance import repeat_new
from slotfill.training.launch import is_launched
from slotfill.training.loggers.base import Logger
from slotfill.training.malloc import tune_malloc
from slotfill.training.memory import measure_peak_memory, reset_peak_memory
from slotfill.training.profiler import SectionTimer
from slotfill.training.progress import EpochMetrics, Report
from slotfill.training.trainer import Trainer

Corpus = Mapping[str, Sequence[Sentence]]
"""The sentences of each split."""


@dataclass(slots=True)
class TrainResult:
    """What `train` returns."""

    path: Path
    scores: dict[str, EvaluationResult]
    """Scores of the kept epoch by split; empty for a generator."""
    likelihoods: dict[str, Likelihood] | None
    """The likelihoods of a generator by split; None for a tagger."""
    best: EpochMetrics
    """The kept epoch."""
    valid_ranks_epochs: bool
    """Whether the kept epoch is the best on valid, and not the last."""
    seconds: float
    """Time of all epochs."""
    parameters: int
    interrupted: bool
    """Whether Ctrl-C ended the training."""
    example: str
    """A sentence to try the model on."""
    predicted: Sequence[Sentence] = ()
    """The sentences of `train.text` with the labels that the last round was trained on."""
    times: dict[str, float] | None = None
    """Seconds per section, if profiled."""
    not_calibrated: str = ""
    """Why slots or intents have the temperature 1; empty if both are calibrated."""
    not_exported: str = ""
    """Why the model could not be exported to ONNX; empty if it was."""
    continuation: Continuation | None = None
    """What training has continued; None if it continued none."""


def build_trainer(
    config: Config,
    corpus: Corpus,
    device: str = "cpu",
    saved: dict[str, dict[str, Any]] | None = None,
    base: Run | None = None,
    earlier: int = 0,
    held_out: Collection[tuple[str, ...]] = (),
    on_finding: Callable[[str], object] = str,
    tokenizer: Tokenizer | None = None,
) -> Trainer:
    """Return the trainer of `config` before its first step.

    `corpus` has `train` and maybe `valid`; `saved` is what the parts of a resumed run have saved of
    external files; `base` is the run that training continues, of whose sentences the last
    `earlier` of `train` are. Sentences of `train.text`, or of the teachers, whose tokens are in
    `held_out` are left out; `on_finding` is called with a message that has their number.
    `tokenizer` is what `fit_tokenizer` returns, if it was called.
    """
    # The workers are processes; threads within matrix products would compete with them.
    torch.set_num_threads(1)
    tune_malloc()
    torch.manual_seed(config.train.seed)
    base = base or load_base(config)
    train = corpus["train"]
    tokenizer = base.vocab.tokenizer if base else tokenizer or fit_tokenizer(config.data)
    texts = read_text(config, "train", tokenizer) if config.train.text else []
    text = [sentence for sentence in texts if tuple(sentence.tokens) not in held_out]
    left_out = len(texts) - len(text)
    # Without a language model, the first round would not learn vectors for its words.
    read = text if config.train.language_model_weight else []
    distillation = None
    if config.distil.teachers:
        distillation = prepare(config, train, tokenizer, held_out)
        left_out += distillation.left_out
    if left_out:
        sentences = format_count(left_out, "sentence")
        key = "distil" if distillation else "train.text"
        on_finding(f"{key}: {sentences} left out, which valid or test has")
    intents = bool(config.intent)
    if config.generator is not None:
        intents = all(sentence.intent for sentence in train)
    if base is not None:
        vocab = base.vocab.grow(train, read)
    else:
        vocab = Vocab.from_sentences(
            distillation.originals if distillation else train,
            config.scheme,
            saved,
            intents=intents,
            tokenizer=tokenizer,
            tags=distillation.tags if distillation else (),
            text=read,
            descriptions=config.data.slots,
        )
    vocab.values = KnownValues.read(config, vocab.tokenizer)
    check_slot_names("data.slots", config.data.slots, vocab.slot_names)
    check_slot_names("thresholds", config.thresholds, vocab.slot_names)
    model = build_model(config, vocab, learning=True)
    if base is not None:
        inherit_weights(cast(Model, model), cast(Model, base.engine), vocab, base.vocab)
    model = model.to(device)
    trainer = Trainer(
        model,
        config.train,
        vocab,
        distillation.sentences if distillation else repeat_new(train, earlier),
        corpus.get("valid", ()),
        validation_metrics if config.generator is None else likelihood_metrics,
        distillation.targets(config, vocab) if distillation else (),
        text,
    )
    if device.startswith("cuda"):
        # So that a seed determines the weights, as it does on a CPU; a part of a user may warn.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        compile_steps(model)
    return trainer


def _resume_hint(folder: RunFolder, trainer: Trainer) -> str:
    """Return the end of a message on a failed training: how to resume it, if that is possible."""
    if not folder.has_checkpoint:
        return ""
    epoch = f"of epoch {len(trainer.history)}" if trainer.history else "within epoch 1"
    return (
        f"; the checkpoint {epoch} is kept, and changes of"
        f" {folder.partial / 'config.yaml'} apply: slotfill train --resume {folder.out}"
    )


def find_held_out(corpus: Corpus) -> set[tuple[str, ...]]:
    """Return the tokens of each sentence of valid and test."""
    splits = (sentences for split, sentences in corpus.items() if split != "train")
    return {tuple(sentence.tokens) for sentences in splits for sentence in sentences}


def assist(device: str) -> None:
    """Train with the process of rank 0, which calls `train`, where `torchrun` has started both."""
    ignore_interrupts()
    join_launched(device)
    config, saved = broadcast(None)
    base = load_base(config)
    tokenizer = base.vocab.tokenizer if base else fit_tokenizer(config.data)
    streaming, intents = config.data.streaming, bool(config.intent)
    result = read_split(
        config.data, "train", intents=intents, tokenizer=tokenizer, streaming=streaming
    )
    held_out: Collection[tuple[str, ...]] = ()
    if config.train.text or config.distil.teachers:
        others = [split for split in SPLITS[1:] if split in split_names(config.data)]
        held_out = find_held_out(
            {name: read_split(config.data, name, tokenizer=tokenizer).sentences for name in others}
        )
    corpus = {"train": result.sentences}
    trainer = build_trainer(
        config, corpus, device, saved, base, result.earlier[0], held_out, tokenizer=tokenizer
    )
    _check_training_data(trainer)
    deque(trainer.train(), maxlen=0)


def _check_training_data(trainer: Trainer) -> None:
    """Raise RunError if a process that `torchrun` has started has read other data than rank 0."""
    checksum = sha256(repr(trainer.vocab.to_json()).encode())
    for sentence in trainer.batches.sentences:
        checksum.update(repr((sentence.tokens, sentence.slots, sentence.unknown)).encode())
    check_agreement("training sentences", checksum.digest())


def _median(trainer: Trainer, corpus: Corpus) -> Sequence[Sentence]:
    """Return the training sentences, or of stored ones that of median length alone."""
    sentences, lengths = corpus["train"], trainer.batches.lengths
    if not isinstance(sentences, StoredSentences):
        return sentences
    return [sentences[sorted(range(len(lengths)), key=lengths.__getitem__)[len(lengths) // 2]]]


def train(
    config: Config,
    folder: RunFolder,
    report: Report = lambda progress: None,
    *,
    on_epoch: Callable[[EpochMetrics], object] = lambda epoch: None,
    on_finding: Callable[[str], None] = lambda finding: None,
    on_coverage: Callable[[Coverage], None] = lambda coverage: None,
    device: str = "cpu",
    profile: bool = False,
) -> TrainResult:
    """Train the model of `config`, evaluate its best epoch, and save it as a run in `folder`.

    Ctrl-C ends training early: the best epoch so far is evaluated and saved, and the run can be
    resumed. Raises RunError if training fails or is interrupted in its first epoch; a checkpoint
    is kept.

    Args:
        report: Called with the progress of each step and epoch.
        on_epoch: Called with each epoch, after its checkpoint is saved.
        on_finding: Called with each likely problem of the splits before training.
        on_coverage: Called with the vocabulary coverage of pretrained vectors, if there are any.
        profile: Measure where the time goes, for which a GPU is synchronized in each section.
    """
    if is_launched():
        join_launched(device)
        training = config.train.model_copy(update={"processes": dist.get_world_size()})
        config = folder.config = config.model_copy(update={"train": training})
        broadcast((config, folder.resources()))
    base = load_base(config, folder.out)
    splits = [split for split in SPLITS if split in {"train", *split_names(config.data)}]
    tokenizer = base.vocab.tokenizer if base else fit_tokenizer(config.data)
    results = {
        split: read_split(
            config.data,
            split,
            intents=bool(config.intent),
            tokenizer=tokenizer,
            streaming=config.data.streaming,
        )
        for split in splits
    }
    corpus = {split: result.sentences for split, result in results.items()}
    findings = [*find_left_out(results)]
    if config.generator is None:
        findings += check_splits(corpus, intents=bool(config.intent))
    names = {slot.name for sentence in corpus["train"] for slot in sentence.slots or ()}
    findings += check_values(config, names)
    findings += check_limit(config, len(corpus["train"]) - results["train"].earlier[0])
    if base is not None:  # Its last epoch is kept anyway.
        findings = [finding for finding in findings if finding.kind != "few-labels"]
    for message in limit_messages([finding.message for finding in findings], "warning"):
        on_finding(message)
    loggers: list[Logger] = [
        LOGGERS.build(part, key=f"train.log.{index}") for index, part in enumerate(config.train.log)
    ]
    timer = SectionTimer(torch.cuda.synchronize if profile and device.startswith("cuda") else None)
    teachers = describe_teachers(config.distil)
    reset_peak_memory(device)
    with timer.section("preparation"):
        earlier = results["train"].earlier[0]
        held_out = find_held_out(corpus)
        trainer = build_trainer(
            config,
            corpus,
            device,
            folder.resources(),
            base,
            earlier,
            held_out,
            on_finding,
            tokenizer,
        )
        if teachers:
            trainer.checksums["teachers"] = " ".join(teacher["sha256"] for teacher in teachers)
        for name in sorted(trainer.vocab.unlabelled_slots):
            on_finding(f"no training sentence has the slot '{name}'; predicted from its name")
        read = [split for split in splits if split != "test"]
        if is_launched():
            _check_training_data(trainer)
        tokens = {split: (sentence.tokens for sentence in corpus[split]) for split in read}
        if coverage := compute_coverage(trainer.model.indexers, tokens):
            on_coverage(coverage)
        if (used := trainer.workers.count) < config.train.processes:
            on_finding(
                f"train.processes: {config.train.processes} processes are more than can share a"
                f" batch here; {used} used"
            )
        if folder.source:
            if differences := folder.list_differences():
                on_finding(
                    f"resumed with other versions, so the result may be another: {differences[0]}"
                )
            folder.load_checkpoint(trainer)
        else:
            folder.create(config, trainer.vocab)
    interrupted = False
    try:
        for logger in loggers:
            logger.start(folder.partial, config.model_dump())
            for epoch in trainer.history:
                logger.log(epoch)
        with timer.attach(trainer) if profile else nullcontext():
            save = timer.section("checkpoint")(lambda: folder.save_checkpoint(trainer))
            report = timer.section("report")(report) if profile else report
            for epoch in trainer.train(report, save):
                save()
                for logger in loggers:
                    logger.log(epoch)
                on_epoch(epoch)
    except KeyboardInterrupt:
        interrupted = True
        if is_launched():  # It passes on a signal that this process has received already.
            ignore_interrupts()
    except (RunError, RuntimeError, MemoryError) as error:
        folder.discard()
        message = str(error)
        if not isinstance(error, RunError):
            if isinstance(error, RuntimeError) and "memory" not in message:
                raise
            message = f"out of memory: lower train.batch_size ({trainer.budget.batch_size})"
            message += ", or train a smaller network"
        raise RunError(message + _resume_hint(folder, trainer)) from None
    except BaseException:
        folder.release()  # Garbage may refer to it.
        raise
    if trainer.best is None:
        folder.discard()
        hint = _resume_hint(folder, trainer) or ", so there is nothing to save"
        raise RunError(f"interrupted in the first epoch{hint}")
    model, vocab = trainer.best_model(), trainer.vocab
    calibration, not_calibrated = UNCALIBRATED, ""
    scores: dict[str, EvaluationResult] = {}
    likelihoods: dict[str, Likelihood] | None = None
    with timer.section("final scores"):
        continuation = None
        if isinstance(model, Generator):
            likelihoods = {split: measure_likelihood(model, corpus[split]) for split in splits[1:]}
        else:
            calibration, not_calibrated = fit_calibration(model, vocab, corpus.get("valid", ()))
            calibration = calibration.with_thresholds(
                config.threshold, config.thresholds, config.intent_threshold
            )
            scores = {s: evaluate(model, vocab, corpus[s], calibration) for s in splits[1:]}
            if base is not None:
                run = Run(base.files, vocab, model, base.scheme, calibration)
                continuation = Continuation.measure(base, run, results)
    logged = {f"{split}.f1": score.overall.f1 for split, score in scores.items()}
    logged |= {f"{s}.intents": score.intent.accuracy for s, score in scores.items() if score.intent}
    for split, likelihood in (likelihoods or {}).items():
        logged[f"{split}.perplexity"] = likelihood.perplexity
    try:
        for logger in loggers:
            logger.finish(logged)
    except RunError as error:
        folder.discard()
        raise RunError(f"{error}{_resume_hint(folder, trainer)}") from None
    seconds = sum(epoch.seconds for epoch in trainer.history)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    costs: dict[str, int | None] = {"peak_memory_mb": measure_peak_memory(device)}
    if not isinstance(model, Generator):
        costs["multiply_adds_per_token"] = count_multiply_adds(model, _median(trainer, corpus))
    summary = {
        "best_epoch": trainer.best.epoch,
        "epochs": len(trainer.history),
        "interrupted": interrupted,
        "train_seconds": seconds,
        "parameters": parameters,
        **{cost: value for cost, value in costs.items() if value is not None},
        **({"coverage": coverage} if coverage else {}),
        **({"teachers": teachers} if teachers else {}),
        "splits": {split: score.to_json() for split, score in (likelihoods or scores).items()},
        **({"continued": continuation.to_json()} if continuation else {}),
    }
    return TrainResult(
        path=folder.out,
        scores=scores,
        likelihoods=likelihoods,
        best=trainer.best,
        valid_ranks_epochs=trainer.valid_ranks_epochs,
        seconds=seconds,
        parameters=parameters,
        interrupted=interrupted,
        # A short sentence with several slots.
        example=max(
            corpus[splits[-1]], key=lambda s: min(len(s.slots or ()), 3) - len(s.tokens) / 100
        ).text,
        predicted=trainer.predicted,
        times=timer.seconds if profile else None,
        not_calibrated=not_calibrated,
        continuation=continuation,
        not_exported=folder.finalize(model, vocab, summary, calibration, completed=not interrupted),
    )
