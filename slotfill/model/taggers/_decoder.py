"""What the decoders share: a recurrence over the sentence that is fed the tag it chose before.

    s_t = cell([tag_vector(y_{t-1}) ; what is seen of the sentence], s_{t-1})
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

In training y_{t-1} is the gold tag, in prediction the tag chosen. The cell starts from its own
start. The papers start it from a projection of the backward encoder's last state; that state is a
part of h_1, which the first step is given.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.config.registry import CELLS
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import beam_search
from slotfill.model.cells.base import Cell, State
from slotfill.model.dropout import LockedDropout
from slotfill.model.masks import padding_mask
from slotfill.model.scan import scan
from slotfill.model.taggers.base import Tagger

Sentences = tuple[Tensor, ...]
"""What a decoder looks at, computed once: tensors that begin with a batch axis, first `(batch,
time, hidden)`.
"""


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
        self.uses_beam_search = beam > 1
        self.dropout = LockedDropout(dropout)
        # The last vector stands for what is before the first tag.
        self.tag_vectors = nn.Embedding(len(vocab.tags) + 1, tag_size)
        self.cell = cast(Cell, CELLS.build(cell, tag_size + seen_size, hidden_size, 1))
        self.linear = nn.Linear(hidden_size, len(vocab.tags))

    def look(self, hidden: Tensor, lengths: Tensor) -> Sentences:
        """Return what no step changes; `hidden` `(batch, time, hidden)` itself comes first."""
        return (hidden,)

    def before_first(self, sentences: Sentences) -> Tensor:
        """Return what stands for the output `(batch, hidden_size)` of the step before the first."""
        return sentences[0].new_zeros(sentences[0].shape[0], self.cell.hidden_size)

    def see(self, sentences: Sentences, h: Tensor, s: Tensor) -> Tensor:
        """Return `(batch, seen_size)` at the token of `h` `(batch, hidden)`, after the output `s`."""
        raise NotImplementedError

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores `(batch, time, tags)`, each given the tags of the highest scores before
        it.
        """
        sentences = self.look(self.dropout(hidden), lengths)

        def step(h: Tensor, state: State) -> tuple[State, State]:
            tags, s, *inner = state
            s, after = self._step(sentences, h, self.tag_vectors(tags), s, tuple(inner))
            emissions = self.linear(s)
            return (emissions,), (emissions.argmax(1), s, *after)

        first = self._before_first_tag(lengths)
        return scan(step, sentences[0], (first, *self._start(sentences)))[0]

    def loss(self, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the cross-entropy given the gold tags before, summed over each sentence's tokens.

        The terms of a variational cell are added.
        """
        before = torch.cat((self._before_first_tag(lengths).unsqueeze(1), tags[:, :-1]), dim=1)
        outputs, told = self.follow(self.look(self.dropout(hidden), lengths), before)
        mask = padding_mask(lengths, hidden.shape[1])
        loss = nn.functional.cross_entropy(self.linear(outputs[mask]), tags[mask], reduction="sum")
        if self.cell.has_kl_term and told is not None:
            loss = loss + told[mask].sum()
        return loss / len(hidden)

    def follow(self, sentences: Sentences, before: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the outputs `(batch, time, hidden_size)`, given the tags `before` `(batch, time)`.

        And the last tensor of each step's state `(batch, time, size)`, or None where nobody asks
        for it.
        """
        vectors = self.tag_vectors(before)

        def step(both: Tensor, state: State) -> tuple[State, State]:
            h, vector = both.split([sentences[0].shape[2], vectors.shape[2]], dim=1)
            s, after = self._step(sentences, h, vector, state[0], state[1:])
            return (s, after[-1][0]), (s, *after)

        outputs, told = scan(
            step, torch.cat((sentences[0], vectors), dim=2), self._start(sentences)
        )
        return outputs, told

    def tags(self, hidden: Tensor, lengths: Tensor) -> list[list[int]]:
        """Return the ids of the best tags found: greedily, or by beam search where the beam is
        wider than 1.

        What is noted in the search is about beginnings, of which a sentence has many: to look
        inside, use `forward`.
        """
        if self.beam == 1:
            return super().tags(hidden, lengths)
        sentences = self.look(hidden, lengths)
        vector = self.tag_vectors(self._before_first_tag(lengths))
        s, *start = self._start(sentences)
        s, state = self._step(sentences, hidden[:, 0], vector, s, tuple(start))
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

    def _start(self, sentences: Sentences) -> State:
        """Return what stands for the output before the first step, and the cell's state before it."""
        s = self.before_first(sentences)
        nothing = s.new_zeros(1, s.shape[0], self.cell.input_weight.shape[1])
        return s, *self.cell.initial_state(self.cell.project(nothing))

    def _step(
        self, sentences: Sentences, h: Tensor, vector: Tensor, s: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Return s_t `(batch, hidden_size)` and the state after it, given the `vector` of the tag
        before.
        """
        x = torch.cat((vector, self.see(sentences, h, s)), dim=1)
        output, state = self.cell.step(self.cell.project(x.unsqueeze(0)), state)
        self.cell.record(hidden=output)
        return output[0], state

    def _before_first_tag(self, lengths: Tensor) -> Tensor:
        return torch.full_like(lengths, self.linear.out_features)

    def _log_probabilities(self, s: Tensor) -> np.ndarray:
        return self.linear(s).log_softmax(1).float().cpu().numpy()
