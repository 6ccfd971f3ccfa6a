"""Likelihood: how probable labelled sentences are for a generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from slotfill.data.batching import bucket_batches
from slotfill.data.sentence import Sentence
from slotfill.data.vocab import Vocab

if TYPE_CHECKING:
    import numpy as np

    from slotfill.data.batching import Batch
    from slotfill.data.linearization import Linearization

BATCH_SIZE = 64


class Measurable(Protocol):
    """A generator, which measures the likelihood of sentences."""

    linearization: Linearization

    def measure(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ELBO, the KL and the number of symbols of each sentence, `(batch,)` each."""


@dataclass(slots=True)
class Likelihood:
    """The likelihood of labelled sentences, by one sample of latent vectors each."""

    sentences: int
    symbols: int
    """Tokens, tags but O, intents and the end of each sentence."""
    elbo: float
    """Mean evidence lower bound of log p(x), in nats a sentence; log p(x) without latents."""
    kl: float
    """Mean of the KL term of `elbo`, in nats a sentence; 0 without latents."""

    @property
    def perplexity(self) -> float:
        """The perplexity of a symbol; with latents an upper bound of it."""
        return math.exp(min(-self.elbo * self.sentences / self.symbols, 700))

    def to_json(self) -> dict[str, Any]:
        """Return the values by name."""
        return {**asdict(self), "perplexity": self.perplexity}


def measure_likelihood(model: Measurable, sentences: Sequence[Sentence]) -> Likelihood:
    """Return the likelihood of labelled `sentences`, of which there is at least one.

    Tokens and tags that training has not seen are one unknown symbol.
    """
    elbo = kl = 0.0
    symbols = 0
    for indices in bucket_batches([len(each.tokens) for each in sentences], BATCH_SIZE):
        batch = model.linearization.make_batch([sentences[index] for index in indices])
        elbos, divergences, lengths = model.measure(batch)
        elbo += float(elbos.sum())
        kl += float(divergences.sum())
        symbols += int(lengths.sum())
    number = len(sentences)
    return Likelihood(number, symbols, elbo / number, kl / number)


def likelihood_metrics(
    model: Measurable, vocab: Vocab, sentences: Sequence[Sentence]
) -> dict[str, float | None]:
    """Return the perplexity and the ELBO, None without sentences; there is no F1."""
    perplexity = elbo = None
    if sentences:
        result = measure_likelihood(model, sentences)
        perplexity, elbo = result.perplexity, result.elbo
    return {"valid_f1": None, "valid_perplexity": perplexity, "valid_elbo": elbo}
