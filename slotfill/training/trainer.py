"""Trainer: the training loop over epochs and batches."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from slotfill.config.sections import TrainConfig
from slotfill.data.sentence import Sentence, hash_sentences
from slotfill.data.splits import ranks_epochs
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, RunError
from slotfill.evaluation.calibration import fit_calibration
from slotfill.inference.tagging import predict
from slotfill.model.ensemble import Model
from slotfill.model.generators.base import Generator
from slotfill.model.taggers.base import Tagger
from slotfill.training.batches import Shard, TrainingBatches, labelled_batches
from slotfill.training.checkpoint import (
    Begun,
    CheckpointNotes,
    Tensors,
    check_fits,
    check_labels,
    check_random_states,
    get_random_state,
    set_random_state,
)
from slotfill.training.data_parallel import Workers, shard_loss, trainable_parameters
from slotfill.training.defaults import resolve_budget
from slotfill.training.distillation import SoftTarget
from slotfill.training.ema import ema_decay
from slotfill.training.first_step import check_first_step
from slotfill.training.optimizer import build_optimizer, lr_factor
from slotfill.training.progress import EpochMetrics, Progress, Report
from slotfill.training.sparse import find_sparse_tables

_MIN_INTERVAL = 50
"""Checkpoints within an epoch have at least so many times the time between them that one takes."""

Weights = tuple[Tensor, ...] | list[Tensor]

LOSS_SYNC_INTERVAL = 16
"""On CUDA, read the loss (a device sync) once in so many steps."""


Evaluate = Callable[[Any, Vocab, Sequence[Sentence]], Mapping[str, float | None]]
"""Returns the metrics of a model on the validation sentences: fields of EpochMetrics."""


class Trainer:
    """Trains a model and keeps the weights of its best epoch.

        trainer = Trainer(model, config.train, vocab, train, valid, evaluate)
        for epoch in trainer.train(report):
            ...
        model = trainer.best_model()

    The seed determines the result. `state_dict` and `load_state_dict` carry all that changes over
    an interruption, bit for bit.
    """

    def __init__(
        self,
        model: Model | Generator,
        config: TrainConfig,
        vocab: Vocab,
        sentences: Sequence[Sentence],
        valid: Sequence[Sentence],
        evaluate: Evaluate,
        targets: Sequence[SoftTarget] = (),
        text: Sequence[Sentence] = (),
    ) -> None:
        """`targets` are what distillation has for each of `sentences`."""
        self.model = model
        self.config = config
        self.vocab = vocab
        self.sentences = sentences
        self.valid = valid
        self.targets = targets
        self.text = text
        """The unlabelled sentences of `train.text`."""
        self.predicted: Sequence[Sentence] = ()
        """The same with the labels of the last round's model; empty in the first round."""
        self.round = 0
        self.evaluate = evaluate
        self.history: list[EpochMetrics] = []
        self.best: EpochMetrics | None = None
        self.best_weights: Tensors = {}
        self.steps_done = 0
        self.begun = Begun()
        self.random_states: list[Tensors] = []
        """Those of each rank, in the checkpoint of an epoch that has begun."""
        self.budget = resolve_budget(config, len(sentences))
        # Of a run that is continued the first epoch may be the best on valid, which has old slots.
        keeps_last = config.from_run is not None and config.patience is None
        enough = isinstance(model, Generator) or ranks_epochs(valid, intents=bool(vocab.intents))
        self.valid_ranks_epochs = bool(valid) and enough and not keeps_last
        self.on_cpu = next(model.parameters()).device.type == "cpu"
        # A worker without any sentence would add nothing.
        most = min(self.budget.batch_size, max(1, len(sentences)))
        num_workers = min(config.processes, most) if self.on_cpu else 1
        self.tables = find_sparse_tables(model, config)
        tables = {table.weight for table in self.tables}
        weights = [weight for weight in trainable_parameters(model) if weight not in tables]
        self.weights = nn.ParameterList(weights)
        """The trainable weights except `tables`."""
        self.workers = Workers(weights, self.tables, num_workers)
        if text and isinstance(model, Generator):
            raise ConfigError("a generator learns labelled sentences only", key="train.text")
        if text and targets:
            problem = "cannot be used in distillation; set distil.text, which teachers label"
            raise ConfigError(problem, key="train.text")
        if self.workers.is_launched and text and config.self_training:
            problem = "is not possible with torchrun; set it to 0, or train with train.processes"
            raise ConfigError(problem, key="train.self_training")
        self.optimizer = build_optimizer(model, weights, config)
        self.start_round(0)
        self.ema = (
            AveragedModel(self.weights, multi_avg_fn=self._update_ema) if config.ema_decay else None
        )

    def train(
        self,
        report: Report = lambda progress: None,
        save: Callable[[], object] = lambda: None,
    ) -> Iterator[EpochMetrics]:
        """Train until the epochs are done or validation stops improving; yield each epoch's result.

        With `text`, rounds of self-training follow. `save` is called now and then within an epoch,
        when `state_dict` has all that it depends on. Raises RunError if the loss or a weight is not
        finite, or a worker fails.
        """
        self.save = save
        self._plan_checkpoint()
        yield from self._train_round(report)
        while self.text and self.round < self.config.self_training:
            self.start_round(self.round + 1, self._predict_text())
            yield from self._train_round(report)

    def _train_round(self, report: Report = lambda progress: None) -> Iterator[EpochMetrics]:
        with self.workers.running(lambda: deque(self._train_round(), maxlen=0)):
            if self.workers.is_launched:
                state = self.workers.broadcast(
                    self.state_dict() if self.workers.rank == 0 else None
                )
                self.load_state_dict(*state)
            while epoch := self.workers.broadcast(0 if self.finished else len(self.history) + 1):
                row = self._train_epoch(epoch, report)
                if row is not None:
                    yield row

    def _train_epoch(self, epoch: int, report: Report) -> EpochMetrics | None:
        """Train for an epoch and validate; return None where another process validates."""
        begun, self.begun = self.begun, Begun()
        start = time.perf_counter() - begun.seconds
        self.model.train()
        rank = self.workers.rank
        if begun.steps and 0 < rank < len(self.random_states):
            set_random_state(self.random_states[rank])
        elif rank > 0:
            seed = np.random.SeedSequence((self.config.seed, epoch, rank)).generate_state(1)[0]
            torch.manual_seed(int(seed))
        device = self.weights[0].device
        sums = (begun.loss, begun.kl, begun.gradient_norm)
        total_loss, total_kl, total_norm = torch.tensor(sums, dtype=torch.float64, device=device)
        tokens, sentences, running_loss = begun.tokens, begun.sentences, math.nan
        shards = self.batches.shards(epoch, rank, begun.steps)
        for done, shard in enumerate(shards, start=begun.steps + 1):
            self.workers.zero_grad()
            loss = kl = torch.zeros((), device=device)
            if shard.batch is not None:
                loss, kl = shard_loss(self.model, shard, self.config.precision)
            self.workers.share_rows()
            if shard.batch is not None:
                loss.backward()
            due = rank == 0 and time.monotonic() > self.next_checkpoint
            loss, kl, is_due = self.workers.all_reduce(loss, kl, due)
            total_loss += loss * shard.sentences
            total_kl += kl * shard.sentences
            sentences += shard.sentences
            tokens += shard.tokens
            reads = self.on_cpu or done % LOSS_SYNC_INTERVAL == 1
            if self.steps_done == 0 and rank == 0:
                check_first_step(self.model, loss, shard, self.config.precision)
            if reads:
                self._check_finite(f"the loss became {loss:g} in step {self.steps_done + 1}", loss)
                running_loss = float(total_loss) / sentences
            updated = [*self.weights, *(table.values for table in self.tables)]
            if self.config.gradient_clip:
                total_norm += nn.utils.clip_grad_norm_(updated, self.config.gradient_clip)
            else:
                gradients = [weight.grad for weight in updated if weight.grad is not None]
                total_norm += nn.utils.get_total_norm(gradients)
            lr = float(self.lr_schedule.get_last_lr()[0])
            self.optimizer.step()
            self.lr_schedule.step()
            self.steps_done += 1
            for table in self.tables:
                table.step(lr, self.steps_done)
            if self.ema is not None and rank == 0:
                self.ema.update_parameters(self.weights)
            seconds = time.perf_counter() - start
            report(self._progress(epoch, done, running_loss, tokens / seconds, seconds / done))
            if reads and is_due and done < self.steps:
                self.random_states = self.workers.gather(get_random_state())
                if rank == 0:
                    totals = float(total_loss), float(total_kl), float(total_norm)
                    self.begun = Begun(done, *totals, tokens, sentences, seconds)
                    self._save()
                    self.begun = Begun()
        self.random_states = []
        if rank > 0:
            return None
        with self.ema_weights():
            self.model.eval()
            with torch.no_grad():  # The last step may have led where no loss is finite.
                loss, _ = shard_loss(self.model, shard, self.config.precision)
            problem = f"the loss or a weight became nan or inf by step {self.steps_done}"
            weights = [*self.weights, *(table.weight for table in self.tables)]
            self._check_finite(problem, total_loss, loss, *weights)
            metrics = self.evaluate(self.model, self.vocab, self.valid)
            valid_loss = self.compute_valid_loss()
            seconds = time.perf_counter() - start
            row = EpochMetrics(
                epoch=epoch,
                loss=float(total_loss) / sentences,
                learning_rate=lr,
                tokens_per_second=tokens / seconds,
                seconds=seconds,
                round=self.round,
                kl=float(total_kl) / sentences,
                gradient_norm=norm if math.isfinite(norm := float(total_norm) / done) else None,
                valid_loss=valid_loss,
                **metrics,
            )
            self._select(row)
        report(self._progress(epoch, done, row.loss, row.tokens_per_second, seconds / done))
        return row

    def compute_valid_loss(self) -> float | None:
        """Return the mean loss of the validation sentences with known labels; None without any."""
        if isinstance(self.model, Generator):
            return None
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in labelled_batches(self.valid, self.vocab, self.model.indexers):
                size = len(batch.lengths)
                loss, _ = shard_loss(self.model, Shard(batch, size, 0), self.config.precision)
                total, count = total + float(loss) * size, count + size
        return total / count if count and math.isfinite(total) else None

    def _save(self) -> None:
        start = time.monotonic()
        self.save()
        self._plan_checkpoint(time.monotonic() - start)

    def _plan_checkpoint(self, seconds: float = 0.0) -> None:
        """Set when the next checkpoint within an epoch is due, if the last took `seconds`."""
        interval = max(60 * self.config.checkpoint_minutes, _MIN_INTERVAL * seconds)
        self.next_checkpoint = time.monotonic() + (interval or math.inf)

    def start_round(self, number: int, predicted: Sequence[Sentence] = ()) -> None:
        """Start round `number`: in 0, the language model reads `text`; later, it is `predicted`."""
        self.round, self.predicted = number, predicted
        sentences = [*self.sentences, *predicted] if predicted else self.sentences
        self.budget = resolve_budget(self.config, len(sentences), number)
        self.batches = TrainingBatches(
            sentences,
            self.vocab,
            self.model.indexers,
            self.config,
            self.budget.batch_size,
            self.workers.count,
            self.targets,
            self.text if number == 0 and self.config.language_model_weight else (),
        )
        self.steps = len(self.batches)
        self.lr_schedule = self._schedule()

    @property
    def finished(self) -> bool:
        """Whether all epochs of the round are done, or validation has stopped improving in it."""
        epochs, patience = len(self.history), self.budget.patience
        if self.valid_ranks_epochs and self.best:
            best = max(self.best.epoch, self._epochs_before)
            if 0 < patience <= epochs - best:
                return True
        return epochs >= self._epochs_before + self.budget.epochs

    def _predict_text(self) -> list[Sentence]:
        """Return `text` with the labels of the best model, which the next round starts from."""
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        model = cast(Model, self.model)
        calibration, _ = fit_calibration(model, self.vocab, self.valid)
        slots, intents, confidences = predict(model, self.vocab, self.text, calibration)
        return [
            replace(sentence, slots=own_slots, intent=intent, confidence=confidence)
            for sentence, own_slots, intent, confidence in zip(
                self.text, slots, intents, confidences or (), strict=True
            )
        ]

    @property
    def _epochs_before(self) -> int:
        """The number of epochs of earlier rounds."""
        return sum(row.round < self.round for row in self.history)

    def best_model(self) -> Model | Generator:
        """Return the model with the weights of the best epoch, without what only training needs."""
        self.model.load_state_dict(self.best_weights)
        for member in self.model.members:
            member.language_model = None
            cast(Tagger, member.tagger).finish_training()
        return self.model.eval()

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Within the block the model has the EMA of its weights, if there is one."""
        if self.ema is None:
            yield
            return
        weights = [*self.weights, *(table.weight for table in self.tables)]
        current = [weight.detach().clone() for weight in weights]
        averages = [table.average(self.steps_done) for table in self.tables]
        with torch.no_grad():
            torch._foreach_copy_(weights, [*self.ema.parameters(), *averages])
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(weights, current)

    def _select(self, row: EpochMetrics) -> None:
        """Append an epoch to the history, and keep its weights if it is the best so far.

        Where valid is too small to rank epochs, the last one is kept. Of several epochs with the
        best score the first is kept: the later ones have been trained for longer for nothing.
        """
        self.history.append(row)
        best = self.best if self.valid_ranks_epochs else None
        if best is None or row.selection_metric > best.selection_metric:
            self.best = row
            self.best_weights = {
                name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()
            }

    def _update_ema(self, ema: Weights, weights: Weights, _: Tensor | int) -> None:
        torch._foreach_lerp_(ema, weights, 1 - ema_decay(self.steps_done, self.config.ema_decay))

    def _schedule(self) -> LambdaLR:
        factor = lr_factor(self.config, self.budget.epochs, self.steps)
        steps = self.steps * (len(self.history) - self._epochs_before) + self.begun.steps
        return LambdaLR(self.optimizer, factor, last_epoch=steps - 1)

    def _check_finite(self, problem: str, *tensors: Tensor) -> None:
        if self.workers.rank == 0 and not all(bool(tensor.isfinite().all()) for tensor in tensors):
            clip = self.config.gradient_clip
            raise RunError(
                f"{problem}: lower train.learning_rate ({self.config.learning_rate}), or"
                + (f" train.gradient_clip ({clip})" if clip else " set train.gradient_clip=5")
            )

    def _progress(
        self, epoch: int, done: int, loss: float, speed: float, seconds_per_step: float
    ) -> Progress:
        epochs = self._epochs_before + self.budget.epochs
        left = seconds_per_step * (self.steps * (epochs - epoch + 1) - done)
        best = self.best if self.valid_ranks_epochs else None
        return Progress(epoch, epochs, done, self.steps, loss, speed, left, self.history, best)

    @cached_property
    def checksums(self) -> dict[str, str]:
        """Checksums of what a resumed training must have too: sentences, by what they are for."""
        lists = {"training": self.sentences, "validation": self.valid, "unlabelled": self.text}
        return {f"{name} sentences": hash_sentences(rows) for name, rows in lists.items()}

    def state_dict(self) -> tuple[Tensors, dict[str, str]]:
        """Return all that the next epochs depend on: tensors by name, and the history as JSON."""
        model = self.model.state_dict()
        groups: dict[str, Tensors] = {
            "model": model,
            # All but frozen pretrained vectors.
            "best": {k: t for k, t in self.best_weights.items() if not torch.equal(t, model[k])},
            "random": get_random_state(),
        }
        for rank, state in enumerate(self.random_states[1:], start=1):
            groups[f"random.{rank}"] = state
        if self.ema is not None:
            groups["ema"] = self.ema.state_dict()
        for index, state in self.optimizer.state_dict()["state"].items():
            groups[f"optimizer.{index}"] = state
        for index, table in enumerate(self.tables):
            groups[f"table.{index}"] = table.state_dict()
        # Copies, since safetensors does not save two names of one tensor.
        tensors = {
            f"{group}/{name}": tensor.clone()
            for group, named in groups.items()
            for name, tensor in named.items()
        }
        return tensors, {
            "history": json.dumps([asdict(row) for row in self.history]),
            "best": str(self.best.epoch if self.best else 0),
            "steps_done": str(self.steps_done),
            "steps": str(self.steps),
            "round": str(self.round),
            "begun": json.dumps(asdict(self.begun)),
            "predicted": json.dumps(
                [(each.slots, each.intent, each.confidence) for each in self.predicted]
            ),
        }

    def load_state_dict(self, tensors: Tensors, metadata: Mapping[str, str]) -> None:
        """Restore what `state_dict` returned; raises ValueError if it does not fit."""
        notes = CheckpointNotes.parse(metadata)
        groups: dict[str, Tensors] = {}
        for name, tensor in tensors.items():
            group, _, key = name.partition("/")
            groups.setdefault(group, {})[key] = tensor
        self._check_tensors(groups)
        self.model.load_state_dict(groups["model"])
        self.best_weights = groups["model"] | groups.get("best", {})
        if self.ema is not None:
            self.ema.load_state_dict(groups["ema"])
        state = {
            index: groups[name]
            for index in range(len(self.weights))
            if (name := f"optimizer.{index}") in groups
        }
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        for index, table in enumerate(self.tables):
            table.load_state_dict(groups[f"table.{index}"])
        set_random_state(groups["random"])
        names = ("random", *(f"random.{rank}" for rank in range(1, len(groups))))
        self.random_states = [groups[name] for name in names if name in groups]
        self.history = notes.history
        self.best = self.history[notes.best - 1] if notes.best else None
        self.steps_done = notes.steps_done
        labels = notes.predicted
        predicted = [
            replace(sentence, slots=slots, intent=intent, confidence=confidence)
            for sentence, (slots, intent, confidence) in zip(self.text, labels, strict=bool(labels))
        ]
        check_labels(predicted, self.vocab)
        self.start_round(notes.round, predicted)
        if notes.steps == self.steps:  # Otherwise the config was changed.
            if notes.begun.steps >= self.steps:
                raise ValueError("begun.steps: not within an epoch")
            self.begun = notes.begun
            self.lr_schedule = self._schedule()

    def _check_tensors(self, groups: Mapping[str, Tensors]) -> None:
        """Raise ValueError if a tensor of a checkpoint has not the shape and dtype that it needs.

        torch does not look at those of an optimizer, and then reads beyond their ends.
        """
        model = self.model.state_dict()
        best = groups.get("best", {})
        needed: dict[str, Mapping[str, Tensor]] = {"model": model}
        needed["best"] = {name: model[name] for name in best if name in model}
        if self.ema is not None:
            needed["ema"] = self.ema.state_dict()
        for index, table in enumerate(self.tables):
            needed[f"table.{index}"] = table.state_dict()
        always = {"step", "exp_avg", "exp_avg_sq"} if self.config.optimizer != "sgd" else set()
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        for index, weight in enumerate(weights):
            if state := groups.get(f"optimizer.{index}"):
                names = always | state.keys()
                needed[f"optimizer.{index}"] = {
                    name: torch.ones(()) if name == "step" else weight for name in names
                }
        for group, like in needed.items():
            check_fits(group, groups.get(group, {}), like)
        check_random_states(groups)
