"""Multiply-adds of networks against their number by hand; peak memory of this process."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from slotfill.config.validate import parse_config
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.model.build import build_model
from slotfill.model.cost import count_multiply_adds
from slotfill.training.memory import measure_peak_memory, reset_peak_memory

SENTENCES = [
    Sentence.from_tokens(words.split(), [Slot("to", 0, 1)])
    for words in ("Rome", "Oslo at noon please", "Oslo or Rome or Lima at noon please")
]
HIDDEN, WORD = 5, 7
LSTM = 2 * 4 * HIDDEN * (WORD + HIDDEN)


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("{name: recurrent, cell: lstm, hidden_size: 5}", LSTM),
        ("{name: recurrent, cell: gru, hidden_size: 5}", LSTM * 3 // 4),
        ("{name: recurrent, cell: elman, hidden_size: 5, bidirectional: false}", LSTM // 8),
        ("{name: recurrent, cell: mingru, hidden_size: 5}", 2 * 2 * HIDDEN * WORD),
    ],
)
def test_multiply_adds_are_those_of_the_products(encoder, expected):
    words = ["embedding={name: word, size: 7}", f"encoder={encoder}", "tagger=softmax"]
    config = parse_config("", "x", words)
    vocab = Vocab.from_sentences(SENTENCES, config.scheme)
    model = build_model(config, vocab).train()
    outputs = HIDDEN if "false" in encoder else 2 * HIDDEN
    assert count_multiply_adds(model, SENTENCES) == expected + outputs * len(vocab.tags)
    assert model.training, "the network is left as it was"


def test_multiply_adds_of_attention_grow_with_the_length():
    words = ["embedding={name: word, size: 7}", "encoder={name: self_attention, heads: 1}"]
    config = parse_config("", "x", words)
    model = build_model(config, Vocab.from_sentences(SENTENCES, config.scheme))
    before = "torch._dynamo" in sys.modules
    counts = [count_multiply_adds(model, [sentence]) for sentence in SENTENCES]
    assert ("torch._dynamo" in sys.modules) == before, "it takes a second to import"
    assert counts == sorted(set(counts)) and count_multiply_adds(model, SENTENCES) == counts[1]


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say")
def test_peak_memory_is_that_since_it_was_reset():
    large = np.ones(12_500_000)  # 100 MB
    peak = measure_peak_memory("cpu")
    size, large = large.nbytes / 1e6, None
    reset_peak_memory("cpu")
    assert peak - measure_peak_memory("cpu") > size / 2
