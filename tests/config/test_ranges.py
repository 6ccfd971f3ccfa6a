"""The ranges of `tune` in a config: what they become, and what is wrong with them."""

from __future__ import annotations

import pytest

from slotfill.config.validate import parse_config
from slotfill.errors import ConfigError


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            "train.lerning_rate: {low: 1, high: 2}",
            "train.lerning_rate: unknown key; did you mean 'learning_rate'?",
        ),
        (
            "train.epochs: {low: 1, high: 2, setp: 1}",
            "train.epochs.setp: unknown key; did you mean 'step'?",
        ),
        ("train.epochs: {low: 1}", "train.epochs.high: is needed and not given"),
        ("train.epochs: {low: 0, high: 2}", "train.epochs: must be at least 1, found 0"),
        ("train.epochs: {low: 1, high: 2.5}", "train.epochs: must be an integer, found 2.5"),
        (
            "train.epochs: {low: 1, high: 9, step: 0.5}",
            "train.epochs.step: must be an integer, found 0.5",
        ),
        ("train.epochs: {low: few, high: 9}", "train.epochs.low: must be a number, found 'few'"),
        (
            "train.epochs: {low: 9, high: 9}",
            "train.epochs.high: must be more than low, which is 9, found 9",
        ),
        (
            "train.epochs: {low: 8, high: 9, step: 2}",
            "train.epochs.step: must be at most 1, from low to high",
        ),
        (
            "train.warmup_epochs: {low: 0, high: 2, log: true}",
            "train.warmup_epochs.low: must be more than 0 where log is true",
        ),
        (
            "train.epochs: {low: 1, high: 9, log: true, step: 2}",
            "train.epochs.step: does not go with log: true",
        ),
        ("tagger.dropout: {low: 0.5, high: 1}", "tagger.dropout: must be less than 1, found 1"),
        (
            "encoder.bidirectional: [true, 1]",
            "encoder.bidirectional: must be true or false, found 1",
        ),
        ("encoder.cell: [lstm, grv]", "encoder.cell: unknown cell 'grv'; did you mean 'gru'?"),
        (
            "embedding: [[word], [wrod]]",
            "embedding: embedding.0: unknown embedding 'wrod'; did you mean 'word'?",
        ),
        (
            "encoder.cell: [lstm]",
            "encoder.cell: must be a range, as {low: 2, high: 8}, or a list of at least two values;"
            " a key has dots, as train.epochs",
        ),
        (
            "train: {epochs: {low: 1, high: 2}}",
            "train: must be a range, as {low: 2, high: 8}, or a list of",
        ),
        (
            "data.path: [a, b]",
            "data.path: is the same in all trials, so that they can be compared;",
        ),
        ("data.limit.train: [1, 2]", "data.limit.train: is the same in all trials"),
        ("version: [1, 2]", "version: is the same in all trials"),
        ("tune.train.epochs: [1, 2]", "tune.train.epochs: is the same in all trials"),
        ("train.seed: [1, 2]", "train.seed: is the same in all trials"),
        ("embedding.7.size: [1, 2]", "embedding.7.size: '7' must be an index into the list of"),
        ("train.epochs.x: [1, 2]", "train.epochs.x: train.epochs is 3 and has no keys"),
        ("encoder: [{name: recurrent, layers: x}, recurrent]", "encoder: encoder.layers: must be"),
    ],
)
def test_errors_in_ranges_have_location_and_hint(ranges, message):
    with pytest.raises(ConfigError) as error:
        parse_config(f"tune:\n  {ranges}\ntrain: {{epochs: 3}}\nembedding: [word]\n", "c.yaml")
    (detail,) = error.value.errors
    assert str(detail).startswith(f"c.yaml:2: tune.{message}")


def test_each_value_that_cannot_be_tried_is_an_error():
    with pytest.raises(ConfigError) as error:
        parse_config("tune:\n  encoder.cell: [lstn, lstm, grv]\n", "c.yaml")
    assert [detail.message.partition(";")[0] for detail in error.value.errors] == [
        "unknown cell 'lstn'",
        "unknown cell 'grv'",
    ]


def test_ranges_are_of_the_parts_that_the_config_names():
    text = "encoder: {name: transformer}\ntune:\n  encoder.heads: {low: 1, high: 4, step: 3}\n"
    assert parse_config(text, "c.yaml").tune["encoder.heads"].step == 3
    with pytest.raises(ConfigError, match=r"tune\.encoder\.heads: unknown key"):
        parse_config(text.replace("transformer", "recurrent"), "c.yaml")


def test_files_to_try_are_relative_to_the_config(tmp_path):
    (tmp_path / "a.vec").write_text("to 0.5 1\n")
    (tmp_path / "train.brackets").write_text("fly to [Oslo](city)\n")
    text = "data: {{train: train.brackets}}\nembedding: {{name: pretrained, path: a.vec}}\n"
    text += "tune:\n  embedding.path: [a.vec, {}.vec]\n"
    parse_config(text.format("./a"), "c.yaml", folder=tmp_path, need_data=True)
    with pytest.raises(ConfigError, match=r"tune\.embedding\.path: there is no file b\.vec"):
        parse_config(text.format("b"), "c.yaml", folder=tmp_path, need_data=True)


def test_ranges_of_integer_keys_are_integers():
    ranges = parse_config(
        "tune:\n  train.epochs: {low: 2, high: 8}\n  train.warmup_epochs: {low: 0, high: 3}\n"
        "  train.ema_decay: {low: 0.6, high: 0.9}\n",
        "c.yaml",
    ).tune
    assert [
        type(ranges[f"train.{key}"].high) for key in ("epochs", "warmup_epochs", "ema_decay")
    ] == [
        int,
        float,
        float,
    ]
