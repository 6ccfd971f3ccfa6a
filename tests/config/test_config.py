"""Configs: defaults, overrides at any depth, saving and loading, and the JSON Schema."""

from __future__ import annotations

import copy
import json
import pickle
import re
from functools import cache
from pathlib import Path

import pytest

from slotfill.config.builtin import (
    builtin_config_dir,
    builtin_config_names,
    config_summary,
    load_config,
)
from slotfill.config.json_schema import schema
from slotfill.config.models import SECTIONS, Config
from slotfill.config.overrides import MAPPINGS
from slotfill.config.registry import CELLS, ENCODERS, REGISTRIES, REQUIRED
from slotfill.config.validate import parse_config
from slotfill.config.yaml_reader import parse
from slotfill.errors import ConfigError, ErrorDetail


def config(text="", *overrides):
    return parse_config(text, "x.yaml", overrides)


def test_empty_text_is_every_default():
    found = config()
    assert found.embedding is None
    assert found.encoder["name"] == "recurrent"
    cell = {option.name: option.default for option in CELLS.part("lstm").options.values()}
    assert found.encoder["cell"] == {"name": "lstm", **cell}
    assert set(found.encoder) == {"name", *ENCODERS.part("recurrent").options}
    assert found.tagger["name"] == "crf"
    assert (found.train.epochs, found.train.batch_size, found.train.patience) == (None, None, None)


def test_one_embedding_is_a_list_of_one():
    assert config("embedding: word").embedding == config("embedding: [word]").embedding
    assert config("embedding: {name: word, size: 8}").embedding[0]["size"] == 8


@pytest.mark.parametrize(
    ("text", "overrides", "key", "value"),
    [
        ("", ["encoder.hidden_size=200"], "encoder.hidden_size", 200),
        ("", ["encoder.cell=gru"], "encoder.cell.name", "gru"),
        ("", ["encoder.cell={name: elman, activation: relu}"], "encoder.cell.activation", "relu"),
        ("", ["encoder.cell.forget_bias=2"], "encoder.cell.forget_bias", 2),
        ("encoder: recurrent", ["encoder.cell.forget_bias=2"], "encoder.cell.forget_bias", 2),
        ("encoder: {name: recurrent, cell: lstm}", ["encoder.cell.forget_bias=2"],
         "encoder.cell.forget_bias", 2),
        ("", ["encoder.cell=elman", "encoder.cell.activation=relu"],
         "encoder.cell.activation", "relu"),
        ("", ["embedding.0.size=50"], "embedding.0.size", 50),
        ("", ["embedding.1.filters=7"], "embedding.1.filters", 7),
        ("embedding: word", ["embedding.size=50"], "embedding.0.size", 50),
        ("embedding: word", ["embedding.0.size=50"], "embedding.0.size", 50),
        ("embedding: {name: word, size: 9}", ["embedding.0.lowercase=false"],
         "embedding.0.size", 9),
        ("", ["embedding=word", "embedding.size=5"], "embedding.0.size", 5),
        ("", ["embedding=[char_cnn, word]"], "embedding.1.name", "word"),
        ("", ["tagger=softmax", "tagger.constrained=true"], "tagger.constrained", True),
        ("tagger: {name: crf, dropout: 0.1}", ["tagger.dropout=0.2"], "tagger.dropout", 0.2),
        ("", ["encoder=feedforward", "encoder.window=2"], "encoder.window", 2),
        ("", ["encoder.name=feedforward"], "encoder.name", "feedforward"),
        ("train: {epochs: 3}", ["train.learning_rate=1e-3"], "train.learning_rate", 0.001),
        ("train: {epochs: 3}", ["train.learning_rate=1e-3"], "train.epochs", 3),
        ("train: {epochs: 3}", ["train.epochs=4", "train.epochs=5"], "train.epochs", 5),
        ("data: {format: conll}", ["data.format.token=1"], "data.format.token", 1),
        ("", ["data.format=conll", "data.format.tag=2"], "data.format.tag", 2),
        ("data: {path: x}", ["data.path="], "data.path", None),
        ("encoder: &e {name: feedforward}\n", [" encoder.layers =2"], "encoder.layers", 2),
        ("train: {epochs: 3}", ["train={seed: 2}"], "train.epochs", 3),
        ("train: {epochs: 3}", ["train={seed: 2}"], "train.seed", 2),
        ("train: {epochs: 3}", ["train={}"], "train.epochs", 3),
        ("", ["train={seed: 2, epochs: 4}", "train.epochs=5"], "train.epochs", 5),
        ("", ["train.epochs=5", "train={epochs: 4}"], "train.epochs", 4),
        ("", ["encoder={hidden_size: 8, cell.forget_bias: 2}"], "encoder.cell.forget_bias", 2),
        ("encoder: {name: recurrent, cell: {name: gru, reset: after}}",
         ["encoder={hidden_size: 8, cell: {}}"], "encoder.cell.reset", "after"),
        ("encoder: {name: feedforward, layers: 3}", ["encoder={window: 1}"], "encoder.layers", 3),
        ("encoder: feedforward", ["encoder={}"], "encoder.name", "feedforward"),
        ("encoder: {name: feedforward, window: 3}", ["encoder={name: recurrent}"],
         "encoder.cell.name", "lstm"),
        ("encoder: {name: feedforward, window: 3}", ["encoder={layers: 2, name: feedforward}"],
         "encoder.layers", 2),
        ("encoder: {name: feedforward, window: 3}", ["encoder={layers: 2, name: feedforward}"],
         "encoder.window", config("encoder: feedforward").encoder["window"]),
        ("", ["embedding={0: {size: 5}}"], "embedding.0.size", 5),
        ("embedding: {name: word, size: 9}", ["embedding={lowercase: false}"],
         "embedding.0.size", 9),
        ("embedding: [word, char_cnn]", ["embedding={name: word, size: 9}"], "embedding.0.size", 9),
        ("embedding: [{name: word, size: 9}]", ["embedding=[char_cnn]"],
         "embedding.0.name", "char_cnn"),
        ("data: {format: {name: conll, token: 1}}", ["data={format: {tag: 2}}"],
         "data.format.token", 1),
        ("thresholds: {name: 0.5}", ["thresholds={a.b: 0.7}"], "thresholds",
         {"name": 0.5, "a.b": 0.7}),
        ("thresholds: {a: 0.5}", ["thresholds={name: 0.7}"], "thresholds", {"a": 0.5, "name": 0.7}),
        ("train: {slot_weights: {a: 2}}", ["train={slot_weights: {b.c: 3}}"],
         "train.slot_weights", {"a": 2, "b.c": 3}),
        ("synonyms: {a: {X: [x]}}", ["synonyms={a.b: {St. Y: [y]}}"], "synonyms",
         {"a": {"X": ["x"]}, "a.b": {"St. Y": ["y"]}}),
        ("resolve: {slots: {a: date}}", ["resolve={slots: {b.c: time}}"], "resolve.slots",
         {"a": "date", "b.c": "time"}),
        ("intent: mean", ["intent=null"], "intent", None),
        ("train: {epochs: 3}", ["train=null", "train={seed: 2}"], "train",
         config("train: {seed: 2}").model_dump()["train"]),
        ("thresholds: {a: 0.5}", ["thresholds=null", "thresholds.b=0.7"], "thresholds", {"b": 0.7}),
        ("train: {log: [csv, tensorboard]}", ["train={log: csv}"], "train.log.0.name", "csv"),
    ],
)  # fmt: skip
def test_overrides_reach_everywhere(text, overrides, key, value):
    found = config(text, *overrides).model_dump()
    for step in key.split("."):
        found = found[int(step) if step.isdecimal() else step]
    assert found == value


def test_an_override_replaces_a_range_to_tune_and_keeps_the_others():
    text = "tune: {train.epochs: {low: 2, high: 8, step: 2}, train.batch_size: [8, 16]}"
    tune = config(text, "tune={train.epochs: {low: 1, high: 3}}").tune
    assert (tune["train.epochs"].step, tune["train.batch_size"]) == (None, [8, 16])
    assert [*config(text, "tune=null", "tune.scheme=[bio, bioes]").tune] == ["scheme"]


def test_sections_and_mappings_are_those_of_the_config():
    fields = {**Config.model_fields}
    sections = {key for key, field in fields.items() if hasattr(field.annotation, "schema")}
    assert sections == set(SECTIONS)
    for section in sections:
        inner = fields[section].annotation.model_fields
        fields |= {f"{section}.{key}": field for key, field in inner.items()}
    assert {k for k, field in fields.items() if str(field.annotation)[:4] == "dict"} == {*MAPPINGS}


def test_an_error_is_where_its_own_key_is_set():
    with pytest.raises(ConfigError) as error:
        config("train:\n  epochs: many\n  seed: 1\n", "train={seed: few, patience: 2}")
    places = [str(each).split(": must")[0] for each in error.value.errors]
    assert places == ["x.yaml:2: train.epochs", "command line: train.seed"]


def test_override_of_an_alias_changes_one_value():
    both = config(
        "embedding:\n  - &w {name: word, size: 9}\n  - *w\n", "embedding.1.size=5"
    ).embedding
    assert [part["size"] for part in both] == [9, 5]


def test_paths_in_a_file_are_taken_from_its_folder_then_from_the_current_one(desk):
    Path("configs").mkdir()
    Path("configs/near").mkdir()
    Path("near").mkdir()
    Path("far").mkdir()
    Path("configs/c.yaml").write_text("data: {path: near, train: far, test: nowhere}\n")
    data = load_config("configs/c.yaml")[1].data
    assert data.path == str(desk / "configs" / "near")
    assert data.train == str(desk / "far")
    assert data.test == str(desk / "configs" / "nowhere")


def test_paths_in_an_override_are_taken_from_the_current_folder(desk):
    Path("configs").mkdir()
    for folder in (Path("configs"), Path()):
        (folder / "near").mkdir()
        (folder / "cell.py").write_text("class A: pass\n")
    Path("configs/c.yaml").write_text(
        "data: {path: near}\nencoder: {name: recurrent, cell: cell.py}\n"
    )
    assert load_config("configs/c.yaml", ["data.path=near"])[1].data.path == str(desk / "near")
    assert load_config("configs/c.yaml", ["data={path: near}"])[1].data.path == str(desk / "near")
    assert load_config("configs/c.yaml")[1].encoder["cell"]["name"] == str(
        desk / "configs" / "cell.py"
    )
    overridden = load_config("configs/c.yaml", ["encoder.cell=./cell.py"])[1]
    assert overridden.encoder["cell"]["name"] == str(desk / "cell.py")


@pytest.mark.parametrize("name", builtin_config_names())
def test_a_complete_config_loads_to_itself(name, tmp_path):
    _, found = load_config(name)
    again = parse_config(found.to_yaml(), "again.yaml", folder=tmp_path)
    assert again == found
    assert again.to_yaml() == found.to_yaml()


def test_show_prints_a_complete_config(desk, cli):
    shown = cli("show", "tiny.yaml", "encoder.cell=gru", "train.learning_rate=1e-3")
    assert (shown.code, shown.err) == (0, "")
    Path("shown.yaml").write_text(shown.out)
    assert cli("show", "shown.yaml").out == shown.out
    data, _ = parse(shown.out, "shown.yaml")
    assert data["data"]["path"] == str((desk / "corpus").resolve())
    assert data["encoder"]["cell"]["name"] == "gru"
    assert data["train"]["learning_rate"] == 0.001
    assert data["train"]["seed"] == 1


@pytest.mark.parametrize("name", builtin_config_names())
def test_every_built_in_config_has_a_description(name):
    assert len(config_summary(name)) > 10
    assert (builtin_config_dir() / f"{name}.yaml").read_text().startswith("# ")


def matches(rule, value, root):
    """Return whether `value` matches the JSON Schema `rule`; only keywords of `schema`."""
    if "$ref" in rule and not matches(
        root["$defs"][rule["$ref"].removeprefix("#/$defs/")], value, root
    ):
        return False
    if "anyOf" in rule and not any(matches(each, value, root) for each in rule["anyOf"]):
        return False
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }
    kind = rule.get("type")
    if kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        return False
    if kind in types and (
        not isinstance(value, types[kind]) or (kind == "integer" and isinstance(value, bool))
    ):
        return False
    checks = {
        "const": lambda limit: value == limit,
        "enum": lambda limit: value in limit,
        "minimum": lambda limit: value >= limit,
        "exclusiveMinimum": lambda limit: value > limit,
        "exclusiveMaximum": lambda limit: value < limit,
        "maximum": lambda limit: value <= limit,
        "pattern": lambda limit: re.search(limit, value) is not None,
        "minItems": lambda limit: len(value) >= limit,
        "items": lambda limit: all(matches(limit, each, root) for each in value),
        "required": lambda limit: not set(limit) - set(value),
        "properties": lambda limit: all(
            matches(limit[key], value[key], root) for key in limit if key in value
        ),
        "additionalProperties": lambda limit: all(
            limit is not False and matches(limit, value[key], root)
            for key in set(value) - set(rule.get("properties", ()))
        ),
    }
    known = {
        "$ref",
        "anyOf",
        "type",
        "title",
        "description",
        "default",
        "$defs",
        "$schema",
        *checks,
    }
    assert set(rule) <= known, set(rule) - known
    return all(check(rule[key]) for key, check in checks.items() if key in rule)


def test_the_schema_names_every_part_and_option(cli):
    result = cli("schema")
    found = json.loads(result.out)
    assert found == schema()
    assert found["$schema"].startswith("https://json-schema.org/")
    for kind, registry in REGISTRIES.items():
        shapes = found["$defs"][kind]["anyOf"]
        assert registry.names() in [shape.get("enum") for shape in shapes]
        for name in registry.names():
            (shape,) = [
                each for each in shapes if each.get("properties", {}).get("name") == {"const": name}
            ]
            assert set(shape["properties"]) == {"name", *registry.part(name).options}
            needed = [
                option.name
                for option in registry.part(name).options.values()
                if option.default is REQUIRED
            ]
            assert shape["required"] == ["name", *needed]
            assert shape["description"] == registry.part(name).summary


@cache
def complete_schema():
    return schema()


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("{}", True),
        ("embedding: word", True),
        ("embedding: [word, {name: char_cnn, filters: 3}]", True),
        ("encoder: {name: recurrent, cell: {name: lstm, forget_bias: 2}}", True),
        ("encoder: {name: recurrent, cell: ./mine.py}", True),
        ("encoder: {name: recurrent, cell: {name: ./mine.py, anything: 1}}", True),
        ("data: {format: {name: conll, tag: 2}}", True),
        ("embeding: word", False),
        ("embedding: []", False),
        ("encoder: [recurrent, {name: attention, size: 3}]", True),
        ("encoder: []", False),
        ("encoder: recurent", False),
        ("encoder: {name: recurrent, cell: {name: gru, forget_bias: 2}}", False),
        ("encoder: {hidden_size: 3}", False),
        ("train: {epochs: 0}", False),
        ("train: {learning_rate: fast}", False),
        ("tagger: [crf]", False),
        ("version: 2", False),
        ("tune: {train.epochs: {low: 2, high: 8}, encoder.cell: [lstm, {name: gru}]}", True),
        ("tune: {train.epochs: {low: 2}}", False),
        ("tune: {train.epochs: {low: 2, high: 8, stop: 2}}", False),
        ("tune: {encoder.cell: [lstm]}", False),
        ("tune: {encoder.cell: lstm}", False),
    ],
)
def test_the_schema_admits_what_the_checker_admits(text, valid):
    root = json.loads(json.dumps(complete_schema()))
    assert matches(root, parse(text, "x.yaml")[0], root) is valid


@pytest.mark.parametrize("name", builtin_config_names())
def test_the_schema_admits_the_built_in_configs_and_their_complete_form(name):
    root = complete_schema()
    assert matches(root, parse((builtin_config_dir() / f"{name}.yaml").read_text(), name)[0], root)
    assert matches(root, parse(load_config(name)[1].to_yaml(), name)[0], root)


def test_config_can_be_pickled_and_copied():
    _, config = load_config("atis")
    assert pickle.loads(pickle.dumps(config)) == config == copy.deepcopy(config)
    assert config.encoders[0]["cell"]["name"] == "lstm"


def test_options_that_conflict_are_located_in_file_and_overrides():
    text = "encoder:\n  cell: {name: lstm, coupled: true}\n"
    config = parse_config(text, "x.yaml", ["encoder.cell.forget_gate=false"])
    with pytest.raises(ConfigError) as error, config.locate_errors():
        raise ConfigError(
            [ErrorDetail("a", "encoder.cell.coupled"), ErrorDetail("b", "encoder.cell.forget_gate")]
        )
    assert error.value.errors == [
        ErrorDetail("a", "encoder.cell.coupled", "x.yaml:2"),
        ErrorDetail("b", "encoder.cell.forget_gate", "command line"),
    ]
    assert str(error.value) == (
        "x.yaml:2: encoder.cell.coupled: a\ncommand line: encoder.cell.forget_gate: b"
    )
