"""An auxiliary loss in training: predict the neighbouring words from the first encoder's states.

    d_t = tanh(h_t W + b)
    P(w_{t+1} | w_1 ... w_t) = softmax(d_t V + c), from the forward states
    P(w_{t-1} | w_t ... w_n) = softmax(...), and the same from the backward states

Every word is a training signal, where few are in slots. Prediction does not use it.

Source: Rei 2017, "Semi-supervised Multitask Learning for Sequence Labeling", equations 6 to 10
"""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from slotfill.data.indexers import UNKNOWN, TokenIndexer
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import padding_mask

VOCAB_SIZE = 2000
"""How many of the most frequent words are targets; all others are one unknown word."""

PROJECTION_SIZE = 64
"""Size of the layer between the states and the words."""


class LanguageModelHead(nn.Module):
    """One softmax over words for each direction of the first encoder.

    Raises ConfigError if the encoder's states depend on the words that they are to predict.
    """

    def __init__(
        self, embeddings: Iterable[Embedding], encoder: Encoder, vocab: Vocab, weight: float
    ) -> None:
        super().__init__()
        if not encoder.causal_directions or any(part.contextual for part in embeddings):
            raise ConfigError(
                "needs a first encoder that is recurrent and of one layer,"
                " over embeddings of single words; set it to 0",
                key="train.language_model_weight",
            )
        self.weight = weight
        words = len(target_vocabulary(vocab)) + 2
        self.size = encoder.output_size // encoder.causal_directions
        self.heads = nn.ModuleList()
        for _ in range(encoder.causal_directions):
            hidden = nn.Linear(self.size, PROJECTION_SIZE)
            self.heads.append(nn.Sequential(hidden, nn.Tanh(), nn.Linear(PROJECTION_SIZE, words)))

    def loss(self, states: Tensor, lengths: Tensor, words: Tensor) -> Tensor:
        """Return the weighted negative log-likelihood of neighbouring words, in nats a sentence.

        `words` are the target ids `(batch, time)`, 0 at padding; 0 is also the word beyond either
        end of a sentence.
        """
        targets = (pad(words[:, 1:], (0, 1)), pad(words[:, :-1], (1, 0)))
        mask = padding_mask(lengths, words.shape[1])
        total = states.new_zeros(())
        by_direction = states.split(self.size, dim=2)
        for head, hidden, target in zip(self.heads, by_direction, targets, strict=False):
            total = total + cross_entropy(head(hidden[mask]), target[mask], reduction="sum")
        return self.weight * total / len(lengths)


def target_vocabulary(vocab: Vocab) -> dict[str, int]:
    """Return the ids of the words to predict; all others are `UNKNOWN`."""
    ids = TokenIndexer(vocab.tokens, lowercase=True, mask_digits=False, min_count=1).ids
    return {word: index for word, index in ids.items() if index < VOCAB_SIZE + 2}


def to_target_ids(tokens: list[str], ids: dict[str, int]) -> list[int]:
    """Return the target ids of a sentence's words."""
    return [ids.get(token.lower(), UNKNOWN) for token in tokens]
