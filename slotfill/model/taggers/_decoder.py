"""The base class of decoders: a recurrence over the sentence that sees the previous tag.

    s_t = cell([tag_vector(y_{t-1}) ; context_t], s_{t-1})
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

In training y_{t-1} is the gold tag (teacher forcing), in prediction the predicted tag. The cell
starts from its own initial state. The papers start it from a projection of the backward encoder's
last state; that state is a part of h_1, which is an input of the first step.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.config.option_types import CellPart
from slotfill.config.registry import CELLS
from slotfill.data.batching import UNKNOWN
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import Hypotheses, beam_search
from slotfill.model.cells.base import Cell, State
from slotfill.model.layers import LockedDropout, padding_mask
from slotfill.model.recurrence import scan
from slotfill.model.taggers.base import Tagger

EncoderMemory = tuple[Tensor, ...]
"""Tensors that the decoder reads at every step, computed once, with a leading batch axis.

The first is the encoder's output `(batch, time, hidden)`.
"""


class Decoder(Tagger):
    """Predict one tag after the other; a subclass defines the context of each step."""

    def __init__(
        self,
        context_size: int,
        vocab: Vocab,
        hidden_size: int,
        tag_size: int,
        cell: CellPart,
        dropout: float,
        beam: int,
    ) -> None:
        super().__init__()
        self.beam = beam
        self.uses_beam_search = beam > 1
        self.dropout = LockedDropout(dropout)
        # The last vector stands for the tag before the first.
        self.tag_vectors = nn.Embedding(len(vocab.tags) + 1, tag_size)
        self.cell = cast(Cell, CELLS.build(cell, tag_size + context_size, hidden_size, 1))
        self.linear = nn.Linear(hidden_size, len(vocab.tags))

    def prepare_memory(self, hidden: Tensor, lengths: Tensor) -> EncoderMemory:
        """Return what all steps read, computed once from `hidden` `(batch, time, hidden)`."""
        return (hidden,)

    def initial_output(self, memory: EncoderMemory) -> Tensor:
        """Return the output `(batch, hidden_size)` that precedes the first step."""
        return memory[0].new_zeros(memory[0].shape[0], self.cell.hidden_size)

    def decoder_input(self, memory: EncoderMemory, h: Tensor, s: Tensor) -> Tensor:
        """Return the context `(batch, context_size)` of a step: h_t.

        Args:
            h: The encoder's output at this token, `(batch, hidden)`.
            s: The decoder's output at the previous token, `(batch, hidden_size)`.
        """
        return h

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        """Return the logits `(batch, time, tags)`, given the gold tags or the best ones so far."""
        memory = self.prepare_memory(self.dropout(hidden), lengths)
        first_tag = self._first_tag(lengths)
        if tags is not None:
            # A tag that is not known has the vector of the tag before the first.
            known = torch.where(tags == UNKNOWN, first_tag.unsqueeze(1), tags)
            previous = torch.cat((first_tag.unsqueeze(1), known[:, :-1]), dim=1)
            outputs, last_states = self.teacher_forced(memory, previous)
            self.regularization_loss = 0.0
            if self.cell.has_kl_term and last_states is not None:
                mask = padding_mask(lengths, hidden.shape[1])
                self.regularization_loss = last_states[mask].sum() / len(hidden)
            return self.linear(outputs)

        def step(h: Tensor, state: State) -> tuple[State, State]:
            tag, s, *cell_state = state
            s, next_state = self._step(memory, h, self.tag_vectors(tag), s, tuple(cell_state))
            logits = self.linear(s)
            return (logits,), (logits.argmax(1), s, *next_state)

        return scan(step, memory[0], (first_tag, *self._initial_state(memory)))[0]

    def teacher_forced(
        self, memory: EncoderMemory, previous: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs `(batch, time, hidden_size)` given `previous` tags `(batch, time)`.

        And the last tensor of each step's state, `(batch, time, size)`, which a subclass may omit
        if the cell has no KL term.
        """
        vectors = self.tag_vectors(previous)

        def step(inputs: Tensor, state: State) -> tuple[State, State]:
            h, vector = inputs.split([memory[0].shape[2], vectors.shape[2]], dim=1)
            s, next_state = self._step(memory, h, vector, state[0], state[1:])
            return (s, next_state[-1][0]), (s, *next_state)

        inputs = torch.cat((memory[0], vectors), dim=2)
        outputs, last_states = scan(step, inputs, self._initial_state(memory))
        return outputs, last_states

    def search(self, hidden: Tensor, lengths: Tensor) -> list[Hypotheses] | None:
        """Return the result of the beam search; None if the beam is 1, which `forward` follows.

        It records the activations of all hypotheses; those of `forward` are greedy.
        """
        if self.beam == 1:
            return None
        memory = self.prepare_memory(hidden, lengths)
        vector = self.tag_vectors(self._first_tag(lengths))
        s, *initial_state = self._initial_state(memory)
        s, state = self._step(memory, hidden[:, 0], vector, s, tuple(initial_state))
        time = 0

        def extend(rows: np.ndarray, tags: np.ndarray) -> np.ndarray:
            nonlocal memory, s, state, time
            time += 1
            chosen = torch.from_numpy(rows).to(hidden.device)
            memory = tuple(tensor[chosen] for tensor in memory)
            state = tuple(tensor[:, chosen] for tensor in state)
            vector = self.tag_vectors(torch.from_numpy(tags).to(hidden.device))
            s, state = self._step(memory, memory[0][:, time], vector, s[chosen], state)
            return self._log_probabilities(s)

        return beam_search(self._log_probabilities(s), extend, lengths.cpu().numpy(), self.beam)

    def _initial_state(self, memory: EncoderMemory) -> State:
        """Return the output that precedes the first step, and the cell's initial state."""
        s = self.initial_output(memory)
        zeros = s.new_zeros(1, s.shape[0], self.cell.input_weight.shape[1])
        return s, *self.cell.initial_state(self.cell.project(zeros))

    def _step(
        self, memory: EncoderMemory, h: Tensor, vector: Tensor, s: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Return s_t `(batch, hidden_size)` and the next state, given the previous tag's vector."""
        x = torch.cat((vector, self.decoder_input(memory, h, s)), dim=1)
        output, state = self.cell.step(self.cell.project(x.unsqueeze(0)), state)
        self.cell.record(hidden=output)
        return output[0], state

    def _first_tag(self, lengths: Tensor) -> Tensor:
        """Return the id of the tag before the first, for each sentence."""
        return torch.full_like(lengths, self.linear.out_features)

    def _log_probabilities(self, s: Tensor) -> np.ndarray:
        return self.linear(s).log_softmax(1).float().cpu().numpy()
