"""What the decoders share: a recurrence over the sentence that is fed the tag it chose before.

    s_t = cell([tag_vector(y_{t-1}) ; what is seen of the sentence], s_{t-1})
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

In training y_{t-1} is the gold tag, in prediction the tag chosen. The cell starts from its own start. The papers start
it from a projection of the backward encoder's last state; that state is a part of h_1, which the first step is given.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.cells._cell import Cell, State
from slotfill.decode import beam_search
from slotfill.dropout import SentenceDropout
from slotfill.encoders._encoder import mask_of
from slotfill.registry import CELLS
from slotfill.taggers._tagger import Tagger
from slotfill.vocab import Vocab

Sentences = tuple[Tensor, ...]
"""What a decoder looks at, computed once: tensors that begin with a batch axis, first `(batch, time, hidden)`."""


class Decoder(Tagger):
    """Choose tag after tag; a subclass says what each step sees, `seen_size` numbers."""

    def __init__(
        self,
        seen_size: int,
        vocab: Vocab,
        hidden_size: int,
        tag_size: int,
        cell: str | dict[str, Any],
        dropout: float,
        beam: int,
    ) -> None:
        super().__init__()
        self.beam = beam
        self.dropout = SentenceDropout(dropout)
        # The last vector stands for what is before the first tag.
        self.tag_vectors = nn.Embedding(len(vocab.tags) + 1, tag_size)
        self.cell = cast(Cell, CELLS.build(cell, tag_size + seen_size, hidden_size, 1))
        self.linear = nn.Linear(hidden_size, len(vocab.tags))

    def look(self, hidden: Tensor, lengths: Tensor) -> Sentences:
        """Return what no step changes; `hidden` `(batch, time, hidden)` itself comes first."""
        return (hidden,)

    def see(self, sentences: Sentences, h: Tensor, s: Tensor | None) -> Tensor:
        """Return `(batch, seen_size)` at the token of `h` `(batch, hidden)`, after the output `s`, if there is one."""
        raise NotImplementedError

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores `(batch, time, tags)`, each given the tags of the highest scores before it."""
        sentences = self.look(self.dropout(hidden), lengths)
        tags = self._before_first(lengths)
        s, state = None, None
        emissions = []
        for h in sentences[0].unbind(1):
            s, state = self._step(sentences, h, self.tag_vectors(tags), s, state)
            emissions.append(self.linear(s))
            tags = emissions[-1].argmax(1)
        return torch.stack(emissions, dim=1)

    def loss(self, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the cross-entropy given the gold tags before, summed over each sentence's tokens.

        The terms of a variational cell are added.
        """
        before = torch.cat((self._before_first(lengths).unsqueeze(1), tags[:, :-1]), dim=1)
        outputs, states = self.follow(self.look(self.dropout(hidden), lengths), before)
        mask = mask_of(lengths, hidden.shape[1])
        loss = nn.functional.cross_entropy(self.linear(outputs[mask]), tags[mask], reduction="sum")
        if self.cell.variational:
            terms = torch.stack([state[-1][0] for state in states], dim=1)
            loss = loss + terms[mask].sum()
        return loss / len(hidden)

    def follow(self, sentences: Sentences, before: Tensor) -> tuple[Tensor, list[State]]:
        """Return the outputs `(batch, time, hidden_size)` and states, given the tags `before` `(batch, time)`."""
        s, state = None, None
        outputs, states = [], []
        for h, vector in zip(sentences[0].unbind(1), self.tag_vectors(before).unbind(1), strict=True):
            s, state = self._step(sentences, h, vector, s, state)
            outputs.append(s)
            states.append(state)
        return torch.stack(outputs, dim=1), states

    def tags(self, hidden: Tensor, lengths: Tensor) -> list[list[int]]:
        """Return the ids of the best tags found: greedily, or by beam search where the beam is wider than 1.

        What is noted in the search is about beginnings, of which a sentence has many: to look inside, use `forward`.
        """
        if self.beam == 1:
            return super().tags(hidden, lengths)
        sentences = self.look(hidden, lengths)
        vector = self.tag_vectors(self._before_first(lengths))
        s, state = self._step(sentences, hidden[:, 0], vector, None, None)
        time = 0

        def advance(rows: np.ndarray, tags: np.ndarray) -> np.ndarray:
            nonlocal sentences, s, state, time
            time += 1
            chosen = torch.from_numpy(rows).to(hidden.device)
            sentences = tuple(tensor[chosen] for tensor in sentences)
            state = tuple(tensor[:, chosen] for tensor in state)
            vector = self.tag_vectors(torch.from_numpy(tags).to(hidden.device))
            s, state = self._step(sentences, sentences[0][:, time], vector, s[chosen], state)
            return self._log_probabilities(s)

        return beam_search(self._log_probabilities(s), advance, lengths.cpu().numpy(), self.beam)

    def _step(
        self, sentences: Sentences, h: Tensor, vector: Tensor, s: Tensor | None, state: State | None
    ) -> tuple[Tensor, State]:
        """Return s_t `(batch, hidden_size)` and the state after it, given the `vector` of the tag before."""
        x = torch.cat((vector, self.see(sentences, h, s)), dim=1)
        projected = self.cell.project(x.unsqueeze(0))
        output, state = self.cell.step(projected, self.cell.start(projected) if state is None else state)
        self.cell.note(hidden=output)
        return output[0], state

    def _before_first(self, lengths: Tensor) -> Tensor:
        return torch.full_like(lengths, self.linear.out_features)

    def _log_probabilities(self, s: Tensor) -> np.ndarray:
        return self.linear(s).log_softmax(1).float().cpu().numpy()
