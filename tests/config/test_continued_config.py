"""Configs of runs that continue another: which keys are taken from it."""

from __future__ import annotations

import pytest

from slotfill.config.validate import parse_config

BASE = """
data: {train: old.conll, valid: valid.conll, scheme: bioes}
encoder: {name: recurrent, hidden_size: 8}
train: {epochs: 3, batch_size: 5}
"""


@pytest.fixture
def base(tmp_path):
    return parse_config(BASE, "base.yaml", folder=tmp_path)


def test_keys_that_are_not_given_are_those_of_the_other_config(base, tmp_path):
    text = "data: {train: new.conll}\ntrain: {seed: 2}\n"
    config = parse_config(text, "c.yaml", ["encoder.layers=2"], tmp_path, base=base)
    assert (config.encoder["hidden_size"], config.encoder["layers"]) == (8, 2)
    assert (config.train.batch_size, config.train.seed) == (5, 2)
    assert config.train.epochs is None, "how long the other run learned is no matter"
    assert config.data.scheme == "bioes"
    assert config.data.train.endswith("new.conll")
    assert config.data.earlier.train.endswith("old.conll")


def test_a_config_without_keys_continues_the_other(base, tmp_path):
    config = parse_config("{}", "c.yaml", ["data.path=new"], tmp_path, base=base)
    assert config.encoder == base.encoder and config.data.earlier.train == base.data.train
    config = parse_config("data: null", "c.yaml", ["data.path=new"], tmp_path, base=base)
    assert config.data.scheme == "bioes"


def test_paths_of_a_packed_run_are_names(tmp_path):
    text = "data: {train: folder/a.conll}\n"
    assert parse_config(text, "c.yaml", folder=tmp_path, is_packed=True).data.train == "a.conll"
    assert parse_config(text, "c.yaml", folder=tmp_path).data.train.endswith("folder/a.conll")
