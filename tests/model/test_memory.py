"""Networks that do not fit into memory are refused before they are built."""

from __future__ import annotations

import pytest
import torch

import slotfill.model.build
from slotfill.config.validate import parse_config
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.build import MemoryLimit, build_model

SIZE = (
    r"needs about [\d,]+ GB for weights, gradients and optimizer, but this machine has [\d,]+ GB$"
)
COUNT = r"needs more than 1,000 weight tensors, the maximum$"


DEEP = '{"name":"recurrent","layers":100,"hidden_size":4}'


@pytest.mark.parametrize(
    ("overrides", "key", "problem"),
    [
        ("encoder.hidden_size=100000", "encoder", SIZE),
        ("encoder.hidden_size=1048576", "encoder", SIZE),
        (f"encoder=[{','.join([DEEP] * 4)}]", "encoder.3", COUNT),
        ("embedding=word embedding.size=1048576 encoder.hidden_size=1000", "encoder", SIZE),
        ("encoder.hidden_size=1200 ensemble_size=100", "ensemble_size", SIZE),
    ],
)
def test_network_larger_than_memory_is_a_config_error(overrides, key, problem, monkeypatch):
    monkeypatch.setattr(slotfill.model.build, "_physical_memory", lambda: 16e9)
    config = parse_config("", "x", overrides.split())
    vocab = Vocab({"to": 1}, ["O"], config.scheme)
    with pytest.raises(ConfigError, match=problem) as error:
        build_model(config, vocab, learning=True)
    assert error.value.errors[0].key.startswith(key)


def test_estimate_is_the_memory_of_the_weights(monkeypatch):
    monkeypatch.setattr(slotfill.model.build, "_physical_memory", lambda: 1e9)
    with MemoryLimit(copies=4) as limit:
        torch.nn.Linear(999, 1000)
    assert limit.bytes == 4_000_000
    limit.check(networks=62)
    with pytest.raises(
        ConfigError, match=r"^ensemble_size: needs about 1 GB for weights, gradients"
    ):
        limit.check(networks=63)
    with MemoryLimit(copies=1), pytest.raises(ConfigError, match=r"^needs about 4 GB for weights,"):
        torch.nn.Linear(999_999, 1000)
