"""Encoder-decoder with focus: each step of the decoder sees its own token's vector, and the tag
before.

    s_t = cell([tag_vector(y_{t-1}) ; h_t], s_{t-1})
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

y_{t-1} is the gold tag in training, the tag chosen in prediction; before the first there is a
vector of its own. The cell starts from its own start, not from the backward encoder's last state as
in the paper: that state is a part of h_1.

Source: Zhu & Yu 2017, "Encoder-decoder with Focus-mechanism for Sequence Labelling Based Spoken
Language Understanding"

Export: With a beam wider than 1 torch predicts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slotfill.config.option_types import CellPart, Fraction, Size
from slotfill.data.vocab import Vocab
from slotfill.model.recurrence import run
from slotfill.model.taggers._decoder import Decoder, Sentences


class Focus(Decoder):
    """Attention that looks at nothing but the token in question.

    hidden_size: numbers in the decoder's output.
    tag_size: numbers in each tag's vector.
    cell: the decoder's recurrence.
    dropout: share of the encoder's output that is dropped while training.
    beam: how many beginnings of a sentence's tags the search keeps; with 1 the best tag is taken at
    each token.
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
        beam: Size = 1,
    ) -> None:
        super().__init__(input_size, vocab, hidden_size, tag_size, cell, dropout, beam)

    def see(self, sentences: Sentences, h: Tensor, s: Tensor) -> Tensor:
        """Return h_t."""
        return h

    def follow(self, sentences: Sentences, before: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what `Decoder` does; where all tags are known, so are all inputs, and one product
        serves them.
        """
        x = torch.cat((self.tag_vectors(before), sentences[0]), dim=2)
        outputs, told = run(self.cell, x.transpose(0, 1).unsqueeze(0))
        return outputs[0].transpose(0, 1), None if told is None else told[0].transpose(0, 1)
