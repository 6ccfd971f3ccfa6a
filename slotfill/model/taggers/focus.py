"""Encoder-decoder with focus: each step receives its own token's state and the previous tag.

    s_t = cell([tag_vector(y_{t-1}) ; h_t], s_{t-1})
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

y_{t-1} is the gold tag in training and the predicted tag in prediction; the first step has a
learned vector instead. The cell starts from its own initial state, not from the backward encoder's
last state as in the paper: that state is a part of h_1.

Source: Zhu & Yu 2017, "Encoder-decoder with Focus-mechanism for Sequence Labelling Based Spoken
Language Understanding"

Export: Exported only with beam: 1.
"""

import torch
from torch import Tensor

from slotfill.config.option_types import BeamSize, CellPart, Fraction, Size
from slotfill.data.vocab import Vocab
from slotfill.model.recurrence import run_cell
from slotfill.model.taggers._decoder import Decoder, EncoderMemory


class Focus(Decoder):
    """A decoder whose context is the state of its own token.

    hidden_size: size of the decoder's state.
    tag_size: dimension of the tag embeddings.
    cell: the decoder's recurrent cell.
    dropout: dropout rate on the encoder's output.
    beam: hypotheses in the beam search; 1 decodes greedily.
    """

    def __init__(
        self,
        input_size: int,
        vocab: Vocab,
        *,
        hidden_size: Size = 128,
        tag_size: Size = 32,
        cell: CellPart = "lstm",
        dropout: Fraction = 0.5,
        beam: BeamSize = 1,
    ) -> None:
        super().__init__(input_size, vocab, hidden_size, tag_size, cell, dropout, beam)

    def teacher_forced(
        self, memory: EncoderMemory, previous: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return what `Decoder` does, with one product for the inputs of all steps."""
        x = torch.cat((self.tag_vectors(previous), memory[0]), dim=2)
        outputs, last_states = run_cell(self.cell, x.transpose(0, 1).unsqueeze(0))
        if last_states is not None:
            last_states = last_states[0].transpose(0, 1)
        return outputs[0].transpose(0, 1), last_states
