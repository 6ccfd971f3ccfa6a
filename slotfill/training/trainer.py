"""Training: the loop over batches and epochs, its state carried over a stop; it tells a callback
and prints nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from slotfill.config.models import TrainConfig
from slotfill.data.batching import bucket_batches, make_batch
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.evaluation.evaluate import validation_metrics
from slotfill.model.ensemble import Model
from slotfill.model.language_model import target_vocabulary, to_target_ids
from slotfill.training.data_parallel import Share, Workers, shared_zeros
from slotfill.training.defaults import resolve_budget
from slotfill.training.flat_parameters import copied, joined, trained
from slotfill.training.optimizer import Optimizer
from slotfill.training.profiler import Times
from slotfill.training.selection import EpochSelector

Tensors = dict[str, Tensor]

LOOK_EVERY = 16
"""Where a device computes, the loss is looked at in the first of so many steps, and of each epoch.
"""


@dataclass(slots=True)
class Epoch:
    """One line of history.csv: `loss` is a mean over sentences, `valid_f1` in percent, `seconds` of
    training.

    `kl`: what variational cells added to `loss`, in nats a sentence. `valid_intents`: in percent,
    None if not learned.
    """

    epoch: int
    loss: float
    valid_f1: float
    learning_rate: float
    tokens_per_second: float
    seconds: float
    kl: float = 0.0
    valid_intents: float | None = None

    @property
    def merit(self) -> tuple[float, float]:
        """What the best epoch has most of: F1, and where that is the same, intents that are right."""
        return self.valid_f1, self.valid_intents or 0.0


@dataclass(slots=True)
class Progress:
    """Where training is: `done` of `steps` in epoch `epoch` of `epochs`, and what the finished
    epochs gave.

    Reported after each step, and once more when the epoch has been scored and stands in `history`.
    """

    epoch: int
    epochs: int
    done: int
    steps: int
    loss: float
    tokens_per_second: float
    seconds_left: float
    history: list[Epoch]
    best: Epoch | None


@dataclass
class Training:
    """All that changes while a model trains; `state` and `restore` carry it over a stop, to the
    bit.
    """

    config: TrainConfig
    model: Model
    sentences: Sequence[Sentence]
    valid: Sequence[Sentence]
    vocab: Vocab
    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: Tensors = field(default_factory=dict)
    steps_done: int = 0
    times: Times = field(default_factory=Times)

    def __post_init__(self) -> None:
        self.tokens = [sentence.tokens for sentence in self.sentences]
        self.lengths = [len(tokens) for tokens in self.tokens]
        self.tags = [
            [
                self.vocab.tag_ids[tag]
                for tag in slots_to_tags(
                    sentence.slots or [], len(sentence.tokens), self.vocab.scheme
                )
            ]
            for sentence in self.sentences
        ]
        self.intents = self.vocab.intent_targets(self.sentences)
        known = target_vocabulary(self.vocab) if self.config.language_model_weight else {}
        self.words = [to_target_ids(tokens, known) for tokens in self.tokens] if known else []
        # What is scored and kept: the moving average of the weights, or the weights themselves.
        self.averaged = copied(self.model) if self.config.ema_decay else self.model
        self.averaged.eval()
        self.on_cpu = next(self.model.parameters()).device.type == "cpu"
        self.count = self.config.processes if self.on_cpu else 1
        self.weights = joined(trained(self.model), shared_zeros if self.count > 1 else None)
        self.average = joined(trained(self.averaged)) if self.config.ema_decay else self.weights
        self.pace = resolve_budget(self.config, len(self.sentences))
        self.selector = EpochSelector.from_valid(
            self.pace.patience, self.valid, intents=bool(self.vocab.intents)
        )
        self.optimizer = Optimizer(self.model, self.weights, self.config, self.pace.epochs)
        self.workers = Workers(
            self.model, self.weights, self.count, self.config.precision, self.batches, self.times
        )
        self.steps = len(bucket_batches(self.lengths, self.pace.batch_size))

    def batches(self, epoch: int, place: int = 0) -> Iterator[Share]:
        """Yield what the worker at `place` has of each batch of `epoch`; the seed and the epoch
        decide their order.
        """
        for indices in bucket_batches(
            self.lengths, self.pace.batch_size, seed=(self.config.seed, epoch)
        ):
            own = indices[place :: self.count]
            tokens, tags = [self.tokens[i] for i in own], [self.tags[i] for i in own]
            intents = self.intents and [self.intents[i] for i in own]
            words = self.words and [self.words[i] for i in own]
            batch = make_batch(tokens, self.model.indexers, tags, intents, words) if own else None
            yield Share(batch, len(indices), sum(self.lengths[i] for i in indices))

    def step(self, share: Share) -> tuple[Tensor, Tensor]:
        """Train on one batch; return its loss, and what the encoders added to it."""
        gradient, loss, extra = self.workers.gradient(share)
        if self.looks:
            value = float(loss)
            if not math.isfinite(value):
                raise RunError(
                    f"the loss became {value} in step {self.steps_done + 1}: lower"
                    f" train.learning_rate ({self.config.learning_rate}) or train.gradient_clip"
                    f" ({self.config.gradient_clip})"
                )
        with self.times.of("optimizer"):
            self.optimizer.step(gradient, self.steps_done / self.steps)
        self.steps_done += 1
        if self.config.ema_decay:
            # Early on the average would be mostly the start; so it begins short and grows to its
            # full length.
            decay = min(self.config.ema_decay, (1 + self.steps_done) / (10 + self.steps_done))
            with self.times.of("average"):
                self.average.lerp_(self.weights, 1 - decay)
        return loss, extra

    @property
    def looks(self) -> bool:
        """Whether to look at the loss in this step: seldom where the processor would have to wait
        for a device.
        """
        return self.on_cpu or self.steps_done % self.steps % LOOK_EVERY == 0

    @property
    def finished(self) -> bool:
        """Whether the epochs, or the patience, have come to their end."""
        if len(self.history) >= self.pace.epochs:
            return True
        return self.best is not None and self.selector.should_stop(
            len(self.history) - self.best.epoch
        )

    def epoch(self, report: Callable[[Progress], None]) -> None:
        """Train on every sentence once and score the result on the valid sentences."""
        number = len(self.history) + 1
        began = time.perf_counter()
        self.model.train()
        self.workers.begin(self.config.seed, number)
        total, kl = (self.weights.new_zeros((), dtype=torch.float64) for _ in range(2))
        tokens, sentences, shown = 0, 0, math.nan
        for done, share in enumerate(self.times.each("batches", self.batches(number)), start=1):
            looks = self.looks
            loss, extra = self.step(share)
            total += loss * share.sentences
            kl += extra * share.sentences
            sentences += share.sentences
            tokens += share.tokens
            if looks:
                shown = float(total) / sentences
            spent = time.perf_counter() - began
            with self.times.of("report"):
                report(self._progress(number, done, shown, tokens / spent, spent / done))
        self.averaged.eval()
        with self.times.of("validation"):
            f1, accuracy = validation_metrics(self.averaged, self.vocab, self.valid)
        rate = self.optimizer.rate
        spent = time.perf_counter() - began
        row = Epoch(
            number,
            float(total) / sentences,
            f1,
            rate,
            tokens / spent,
            spent,
            float(kl) / sentences,
            accuracy,
        )
        self.history.append(row)
        if self.selector.is_better(row.merit, self.best and self.best.merit):
            weights = {
                name: value.detach().clone() for name, value in self.averaged.state_dict().items()
            }
            self.best, self.best_weights = row, weights
        report(
            self._progress(
                number, self.steps, row.loss, row.tokens_per_second, row.seconds / self.steps
            )
        )

    def _progress(
        self, epoch: int, done: int, loss: float, speed: float, seconds_a_step: float
    ) -> Progress:
        left = seconds_a_step * (self.steps * (self.pace.epochs - epoch + 1) - done)
        return Progress(
            epoch, self.pace.epochs, done, self.steps, loss, speed, left, self.history, self.best
        )

    def state(self) -> tuple[Tensors, dict[str, str]]:
        """Return all that the next epochs depend on: tensors by name, and notes that are not
        tensors.
        """
        model = self.model.state_dict()
        groups: dict[str, Tensors] = {
            "model": model,
            "averaged": _other(self.averaged.state_dict(), model),
            "best": _other(self.best_weights, model),
            "random": {"cpu": torch.get_rng_state()},
        }
        if torch.cuda.is_available():
            groups["random"]["cuda"] = torch.cuda.get_rng_state()
        for index, state in self.optimizer.state().items():
            groups[f"optimizer.{index}"] = state
        # Copies, since safetensors does not save two names of one tensor.
        tensors = {
            f"{group}/{name}": t.clone()
            for group, named in groups.items()
            for name, t in named.items()
        }
        history = [asdict(epoch) for epoch in self.history]
        return tensors, {
            "history": json.dumps(history),
            "best": str(self.best.epoch if self.best else 0),
        }

    def restore(self, tensors: Tensors, notes: dict[str, str]) -> None:
        """Go back to what `state` returned."""
        groups: dict[str, Tensors] = {}
        for name, tensor in tensors.items():
            group, _, key = name.partition("/")
            groups.setdefault(group, {})[key] = tensor
        self.model.load_state_dict(groups["model"])
        self.averaged.load_state_dict(groups["model"] | groups.get("averaged", {}))
        self.best_weights = groups["model"] | groups.get("best", {})
        self.optimizer.restore(
            {
                int(group.removeprefix("optimizer.")): named
                for group, named in groups.items()
                if "optimizer" in group
            }
        )
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(groups["random"]["cuda"])
        self.history = [Epoch(**row) for row in json.loads(notes["history"])]
        best = int(notes["best"])
        self.best = self.history[best - 1] if best else None
        self.steps_done = self.steps * len(self.history)


def _other(tensors: Tensors, known: Tensors) -> Tensors:
    """Return those of `tensors` that are not the same among `known`: pretrained vectors, if not
    tuned, are.
    """
    return {
        name: tensor for name, tensor in tensors.items() if not torch.equal(tensor, known[name])
    }
