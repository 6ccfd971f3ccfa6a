"""Broken configs: one line for each error, with its location, its key and how to fix it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slotfill.config.models import Config
from slotfill.config.registry import CELLS, EMBEDDINGS, ENCODERS, FORMATS, INTENTS, TAGGERS
from slotfill.config.sections import DataConfig, TrainConfig
from slotfill.config.validate import parse_config
from slotfill.errors import ConfigError

LISTS = {
    "cells": CELLS.names(),
    "embeddings": EMBEDDINGS.names(),
    "encoders": ENCODERS.names(),
    "taggers": TAGGERS.names(),
    "formats": FORMATS.names(),
    "intents": INTENTS.names(),
    "keys": Config.model_fields,
    "data_keys": DataConfig.model_fields,
    "train_keys": TrainConfig.model_fields,
    "recurrent_keys": {"name", *ENCODERS.part("recurrent").options},
    "feedforward_keys": {"name", *ENCODERS.part("feedforward").options},
    "lstm_keys": {"name", *CELLS.part("lstm").options},
}
"""Expansions of `(allowed: <...>)` in the table, so that a new part does not change it."""

FILES = {
    "broken.py": "class My(:\n",
    "two.py": "class A: pass\n\n\nclass B: pass\n",
    "untyped.py": "class A:\n    def __init__(self, size, *, gain=3): pass\n",
    "odd.py": "class A:\n    def __init__(self, size, *, gain: Field = 1): pass\n",
    "underscore.py": "class A:\n    def __init__(self, size, *, _gain: int = 1): pass\n",
    "unhashable.py": "class A:\n    def __init__(self, size, *, gain: int = {[]: 1}): pass\n",
    "undone.py": "class A:\n    def __init__(self, size, *, gain: float = 1 / 3): pass\n",
}

# Description, YAML, overrides, messages; a message without a source is about c.yaml.
VERSION = ", but this version of slotfill reads version 1"

BROKEN: list[tuple[str, str, list[str], list[str]]] = [
    (
        "an unknown key",
        "embeding: word\n",
        [],
        ["1: embeding: unknown key; did you mean 'embedding'? (allowed: <keys>)"],
    ),
    (
        "a renamed key",
        "members: 2\ntrain:\n  threads: 2\n",
        ["train.average=0.9"],
        [
            "1: members: is now called ensemble_size",
            "3: train.threads: is now called train.processes",
            "command line: train.average: is now called train.ema_decay",
        ],
    ),
    (
        "a renamed key under tune",
        "tune: {train.warmup: {low: 1, high: 2}}\n",
        [],
        ["1: tune.train.warmup: is now called train.warmup_epochs"],
    ),
    (
        "an unknown key in a section",
        "train:\n  epoch: 3\n",
        [],
        ["2: train.epoch: unknown key; did you mean 'epochs'? (allowed: <train_keys>)"],
    ),
    (
        "an unknown option of a part",
        "encoder:\n  name: recurrent\n  hiden_size: 3\n",
        [],
        [
            "3: encoder.hiden_size: unknown key; did you mean 'hidden_size'? (allowed:"
            " <recurrent_keys>)"
        ],
    ),
    (
        "an unknown option of a cell",
        "encoder:\n  name: recurrent\n  cell:\n    name: lstm\n    forget_bais: 3\n",
        [],
        [
            "5: encoder.cell.forget_bais: unknown key; did you mean 'forget_bias'? (allowed:"
            " <lstm_keys>)"
        ],
    ),
    (
        "an option of another part",
        "encoder:\n  name: feedforward\n  cell: lstm\n",
        [],
        ["3: encoder.cell: unknown key (allowed: <feedforward_keys>)"],
    ),
    (
        "a key that is a number",
        "train: {3: 4}\n",
        [],
        ["1: train.3: unknown key (allowed: <train_keys>)"],
    ),
    (
        "a word for an integer",
        "train:\n  epochs: many\n",
        [],
        ["2: train.epochs: must be an integer, found 'many'"],
    ),
    (
        "a fraction for an integer",
        "train:\n  epochs: 2.5\n",
        [],
        ["2: train.epochs: must be an integer, found 2.5"],
    ),
    (
        "true for an integer",
        "train: {epochs: true}\n",
        [],
        ["1: train.epochs: must be an integer, found true"],
    ),
    (
        "a word for a number",
        "train:\n  learning_rate: fast\n",
        [],
        ["2: train.learning_rate: must be a number, found 'fast'"],
    ),
    (
        "a number for text",
        "data: {path: 7}\n",
        [],
        ["1: data.path: must be text, found 7"],
    ),
    (
        "no, which YAML 1.1 takes for false",
        "encoder: {name: recurrent, bidirectional: no}\n",
        [],
        ["1: encoder.bidirectional: must be true or false, found 'no'"],
    ),
    (
        "12:30, which YAML 1.1 takes for 750",
        "train: {epochs: 12:30}\n",
        [],
        ["1: train.epochs: must be an integer, found '12:30'"],
    ),
    (
        "a negative count",
        "train: {patience: -1}\n",
        [],
        ["1: train.patience: must be at least 0, found -1"],
    ),
    (
        "a rate of zero",
        "train:\n  learning_rate: 0\n",
        [],
        ["2: train.learning_rate: must be more than 0, found 0"],
    ),
    (
        "an infinite rate",
        "train: {learning_rate: .inf}\n",
        [],
        ["1: train.learning_rate: must be a finite number, found inf"],
    ),
    (
        "numbers that 32 bits cannot hold",
        "train: {learning_rate: 1e40, slot_weights: {a: 1.0}}\n",
        ["encoder.cell={name: mingru, gate_bias: -1e39}", "train.weight_decay=1e-50"],
        [
            "1: train.learning_rate: must be at most 3.4e+38, as 32-bit numbers are, found 1e+40",
            "command line: encoder.cell.gate_bias: must be at least -3.4e+38, as 32-bit numbers"
            " are, found -1e+39",
            "command line: train.weight_decay: must be 0 or at least 1.18e-38, as 32-bit numbers"
            " are, found 1e-50",
        ],
    ),
    (
        "an option out of range",
        "encoder: {name: recurrent, dropout: 1}\n",
        [],
        ["1: encoder.dropout: must be less than 1, found 1"],
    ),
    (
        "a name that other toolkits have",
        "encoder: BiLSTM\ntagger: linear\nembedding: [glove, bert]\n",
        ["intent=cls", "data.format=bio"],
        [
            (
                "1: encoder: unknown encoder 'BiLSTM'; the default encoder, 'recurrent' with cell"
                " lstm, is a BiLSTM (allowed: <encoders>)"
            ),
            "2: tagger: unknown tagger 'linear'; did you mean 'softmax'? (allowed: <taggers>)",
            (
                "3: embedding.0: unknown embedding 'glove'; use {name: pretrained, path: FILE}"
                " (allowed: <embeddings>)"
            ),
            (
                "3: embedding.1: unknown embedding 'bert'; pretrained transformers are embeddings:"
                " embedding={name: transformer, path: FOLDER} (allowed: <embeddings>)"
            ),
            (
                "command line: data.format: unknown format 'bio'; did you mean 'conll'? (allowed:"
                " <formats>)"
            ),
            "command line: intent: unknown intent 'cls'; did you mean 'mean'? (allowed: <intents>)",
        ],
    ),
    (
        "a cell for an encoder",
        "encoder: gru\n",
        [],
        [
            "1: encoder: unknown encoder 'gru', which is a cell; use encoder=recurrent with"
            " encoder.cell=gru (allowed: <encoders>)"
        ],
    ),
    (
        "a key outside its section",
        "epochs: 3\nhidden_size: 8\ndropout: 0.1\nlr: 1\n",
        ["format=conll", "train.hidden_size=8", "encoder.epochs=3"],
        [
            "1: epochs: unknown key; did you mean 'train.epochs'? (allowed: <keys>)",
            "2: hidden_size: unknown key; did you mean 'encoder.hidden_size'? (allowed: <keys>)",
            (
                "3: dropout: unknown key; did you mean 'encoder.dropout' or 'tagger.dropout'?"
                " (allowed: <keys>)"
            ),
            "4: lr: unknown key; did you mean 'train.learning_rate'? (allowed: <keys>)",
            (
                "command line: encoder.epochs: unknown key; did you mean 'train.epochs'? (allowed:"
                " <recurrent_keys>)"
            ),
            (
                "command line: train.hidden_size: unknown key; did you mean 'encoder.hidden_size'?"
                " (allowed: <train_keys>)"
            ),
            "command line: format: unknown key; did you mean 'data.format'? (allowed: <keys>)",
        ],
    ),
    (
        "a renamed option of a part",
        "embedding: [{name: ngrams, shortest: 2, longest: 5}]\n",
        [],
        [
            "1: embedding.0.shortest: is now called min_length",
            "1: embedding.0.longest: is now called max_length",
        ],
    ),
    (
        "more networks, layers or characters than anyone trains",
        "ensemble_size: 4294967295\nencoder: {layers: 4294967295}\n",
        ["embedding.2.max_length=4294967295", "encoder.hidden_size=4294967295"],
        [
            "1: ensemble_size: must be at most 100, found 4294967295",
            "2: encoder.layers: must be at most 100, found 4294967295",
            "command line: embedding.2.max_length: must be at most 100, found 4294967295",
            "command line: encoder.hidden_size: must be at most 1048576, found 4294967295",
        ],
    ),
    (
        "ten thousand encoders",
        "encoder: [" + 3000 * "recurrent, " + "recurrent]\n",
        [],
        ["1: encoder: at most 100 encoders are allowed, found 3001"],
    ),
    (
        "empty paths",
        "data: {path: ''}\ntrain: {text: ''}\nembedding: {name: transformer, path: ''}\n",
        ["rules=[{slot: a, list: ''}]", "distil.teachers=['']"],
        [
            "1: data.path: the path is empty",
            "2: train.text: the path is empty",
            "3: embedding.path: the name or path is empty",
            "command line: distil.teachers.0: the path is empty",
            "command line: rules.0.list: the path is empty",
        ],
    ),
    (
        "as many errors as are listed",
        "".join(f"key{number}x: 1\n" for number in range(20)),
        [],
        [f"{number + 1}: key{number}x: unknown key (allowed: <keys>)" for number in range(20)],
    ),
    (
        "more errors than anyone reads",
        "".join(f"key{number}x: 1\n" for number in range(30)),
        [],
        [
            *(f"{number + 1}: key{number}x: unknown key (allowed: <keys>)" for number in range(20)),
            "and 10 more errors",
        ],
    ),
    (
        "aliases that expand to millions of values",
        "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
        + "".join(f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]\n" for n in range(1, 9)),
        [],
        ["1: more than 10,000 values, counting those of aliases"],
    ),
    (
        "a tag that its value does not fit",
        "train: {epochs: !!float x}\n",
        ["train.seed=!!seq x", "scheme=!!float", "data.path=!!int"],
        ["1: not YAML: 'x' does not match its tag !!float"],
    ),
    (
        "an override whose tag does not fit",
        "",
        ["train.seed=!!seq x", "scheme=!!float"],
        [
            "command line: train.seed: the tag !!seq is not supported here; remove it",
            "command line: scheme: not YAML: '' does not match its tag !!float",
        ],
    ),
    (
        "an escape beyond Unicode",
        'a: b\nscheme: "\\UFFFFFFFF"\n',
        [],
        ["2: not YAML: an escape stands for no character"],
    ),
    (
        "half of a surrogate pair",
        'scheme: "\\uD800"\n',
        [],
        ["1: not YAML: the character U+D800 is not allowed"],
    ),
    (
        "a number of too many digits",
        f"train: {{epochs: {'9' * 5000}}}\n",
        [],
        ["1: not YAML: a number has more than 4,300 digits"],
    ),
    (
        "a number of many digits",
        f"train: {{epochs: {'9' * 4000}}}\n",
        [],
        [f"1: train.epochs: must be at most 1048576, found {'9' * 57}..."],
    ),
    (
        "a path that no file system has",
        "",
        ['data.path="a\\0b"'],
        ["command line: data.path: a\\u0000b: a path cannot contain the character U+0000"],
    ),
    (
        "an unknown encoder",
        "encoder: recurent\n",
        [],
        ["1: encoder: unknown encoder 'recurent'; did you mean 'recurrent'? (allowed: <encoders>)"],
    ),
    (
        "an unknown encoder with options",
        "encoder:\n  name: recurent\n  hidden_size: 3\n",
        [],
        [
            "2: encoder.name: unknown encoder 'recurent'; did you mean 'recurrent'? (allowed:"
            " <encoders>)"
        ],
    ),
    (
        "an unknown cell",
        "encoder:\n  name: recurrent\n  cell: lsmt\n",
        [],
        ["3: encoder.cell: unknown cell 'lsmt'; did you mean 'lstm'? (allowed: <cells>)"],
    ),
    (
        "a renamed cell",
        "encoder:\n  cell: variational\n",
        [],
        [
            "2: encoder.cell: unknown cell 'variational'; it is now called 'kl_bottleneck'"
            " (allowed: <cells>)"
        ],
    ),
    (
        "a cell where an encoder stands",
        "encoder: lstm\n",
        [],
        [
            "1: encoder: unknown encoder 'lstm', which is a cell; the default encoder, 'recurrent'"
            " with cell lstm, is a BiLSTM (allowed: <encoders>)"
        ],
    ),
    (
        "a number too large",
        "train:\n  seed: 99999999999999999999\n",
        [],
        ["2: train.seed: must be at most 4294967295, found 99999999999999999999"],
    ),
    (
        "an unknown cell in a stack",
        "encoder:\n  - name: recurrent\n    cell: lsmt\n  - name: recurent\n",
        [],
        [
            "3: encoder.0.cell: unknown cell 'lsmt'; did you mean 'lstm'? (allowed: <cells>)",
            (
                "4: encoder.1.name: unknown encoder 'recurent'; did you mean 'recurrent'? (allowed:"
                " <encoders>)"
            ),
        ],
    ),
    (
        "a stack of no encoders",
        "encoder: []\n",
        [],
        ["1: encoder: at least one encoder is needed"],
    ),
    (
        "a word where a word or a list is allowed",
        "encoder:\n  cell:\n    peepholes: al\n",
        [],
        [
            "3: encoder.cell.peepholes: unknown value 'al'; did you mean 'all'? (allowed: all,"
            " none, previous, or a list)"
        ],
    ),
    (
        "a list where a word or a list is allowed",
        "encoder:\n  cell:\n    peepholes: [output, inptu]\n",
        [],
        [
            "3: encoder.cell.peepholes.1: unknown value 'inptu'; did you mean 'input'? (allowed:"
            " forget, input, output)"
        ],
    ),
    (
        "an unknown embedding in a list",
        "embedding:\n  - word\n  - chra_cnn\n",
        [],
        [
            "3: embedding.1: unknown embedding 'chra_cnn'; did you mean 'char_cnn'? (allowed:"
            " <embeddings>)"
        ],
    ),
    (
        "an unknown optimizer",
        "train:\n  optimizer: adma\n",
        [],
        [
            "2: train.optimizer: unknown value 'adma'; did you mean 'adam'? (allowed: adam, adamw,"
            " sgd)"
        ],
    ),
    (
        "an unknown tag scheme",
        "scheme: bioe\n",
        [],
        [
            "1: scheme: unknown value 'bioe'; did you mean 'bioes'? (allowed: bilou, bio, bioes,"
            " iob1, iob2)"
        ],
    ),
    (
        "an unknown tokenizer",
        "data: {tokenizer: word}\n",
        [],
        [
            "1: data.tokenizer: unknown value 'word'; did you mean 'words'? (allowed: characters,"
            " given, whitespace, words)"
        ],
    ),
    (
        "an unknown format",
        "data: {format: connl}\n",
        [],
        ["1: data.format: unknown format 'connl'; did you mean 'conll'? (allowed: <formats>)"],
    ),
    (
        "a value too long to show",
        f"scheme: {'x' * 100}\n",
        [],
        [f"1: scheme: unknown value '{'x' * 57}...' (allowed: bilou, bio, bioes, iob1, iob2)"],
    ),
    (
        "a part without a name",
        "embedding:\n  - size: 8\n",
        [],
        ["2: embedding.0.name: is needed and not given (allowed: <embeddings>)"],
    ),
    (
        "a list for one part",
        "tagger: [crf]\n",
        [],
        ["1: tagger: must be the name of one tagger (allowed: <taggers>), found a list"],
    ),
    (
        "nothing for a part",
        "encoder:\n",
        [],
        ["1: encoder: must be the name of one encoder (allowed: <encoders>), found nothing"],
    ),
    (
        "no embedding",
        "embedding: []\n",
        [],
        ["1: embedding: at least one embedding is needed"],
    ),
    (
        "nothing for a section",
        "train:\n",
        [],
        ["1: train: must be keys and values, found nothing"],
    ),
    (
        "a key given twice",
        "train:\n  epochs: 3\n  epochs: 4\n",
        [],
        ["3: train.epochs: given twice, first in line 2"],
    ),
    (
        "tabs",
        "train:\n\tepochs: 3\n",
        [],
        [
            "2: not YAML: found character '\\t' that cannot start any token; indent with spaces,"
            " not tabs"
        ],
    ),
    (
        "a bracket that is not closed",
        "train: {epochs: 3\n",
        [],
        ["2: not YAML: expected ',' or '}', but got the end"],
    ),
    (
        "a NUL",
        "scheme: iob2\ntrain: \0\n",
        [],
        ["2: not YAML: the character U+0000 is not allowed"],
    ),
    (
        "a list of keys",
        "- train\n- data\n",
        [],
        ["1: a config is keys and values, found a list"],
    ),
    (
        "prose",
        "hello\n",
        [],
        ["1: a config is keys and values, found 'hello'"],
    ),
    (
        "two documents",
        "train: {}\n---\ntrain: {}\n",
        [],
        ["2: not YAML: expected a single document in the stream, but found another document"],
    ),
    (
        "a tag that would run code",
        "train: !!python/object:os.system {}\n",
        [],
        ["1: the tag !!python/object:os.system is not supported here; remove it"],
    ),
    (
        "a merge key",
        "x: &x {epochs: 3}\ntrain:\n  <<: *x\n",
        [],
        ["3: train.<<: merge keys are not supported; write the keys out"],
    ),
    (
        "an alias inside its own value",
        "train: &a\n  epochs: *a\n",
        [],
        ["2: train.epochs: the alias is inside the value it refers to"],
    ),
    (
        "a list as a key",
        "train:\n  [1]: 3\n",
        [],
        ["2: train: a key must be a word, found a sequence"],
    ),
    ("a version that equals 1", "version: true\n", [], [f"1: version: true{VERSION}"]),
    ("another version that equals 1", "version: 1.0\n", [], [f"1: version: 1.0{VERSION}"]),
    (
        "a version that equals 1, in an override",
        "",
        ["version=true"],
        ["command line: version: must be an integer, found true"],
    ),
    ("a key without a name", 'data: {}\n"": 1\n', [], ["2: a key is empty"]),
    (
        "a pattern of which Python warns",
        "train: {epochs: 3}\nrules: [{slot: a, pattern: '[[a]x'}]\n",
        [],
        [
            "2: rules.0.pattern: ambiguous in later versions of Python: possible nested set at"
            " position 1; escape the character there with \\"
        ],
    ),
    (
        "a key of many characters",
        "",
        [f"{'k' * 5000}.5.a=1"],
        [f"command line: {'k' * 199}…: unknown key (allowed: <keys>)"],
    ),
    (
        "no override, of many characters",
        "",
        ["k" * 5000],
        [
            f"command line: '{'k' * 59}…': an override is written key=value, as"
            " encoder.hidden_size=200"
        ],
    ),
    *(
        (
            f"a name of a file that is too long, of {key}",
            "",
            [f"{key}={before}{'x' * 300}{after}"],
            [
                f"command line: {inner}: {'x' * 39}…: the name of a file has at most 255 bytes,"
                " found 300"
            ],
        )
        for key, before, after, inner in (
            ("data.path", "", "", "data.path"),
            ("rules", "[{slot: a, list: ", "}]", "rules.0.list"),
            ("synonyms", "{a: ", "}", "synonyms.a"),
        )
    ),
    (
        "a config of another version, whose keys are not checked",
        "modle: {}\nversion: 2\n",
        [],
        ["2: version: 2, but this version of slotfill reads version 1"],
    ),
    (
        "a part's file that is not there",
        "encoder: {name: recurrent, cell: ./nope.py}\n",
        [],
        ["1: encoder.cell: there is no file @/nope.py"],
    ),
    (
        "a part's file that is not Python",
        "encoder: {name: recurrent, cell: broken.py}\n",
        [],
        ["1: encoder.cell: @/broken.py:1: not Python: invalid syntax"],
    ),
    (
        "a part's file with two classes",
        "encoder: {name: recurrent, cell: two.py}\n",
        [],
        ["1: encoder.cell: @/two.py: a part's file has one public class, this one has 2"],
    ),
    (
        "a part's option without a type",
        "encoder: {name: recurrent, cell: untyped.py}\n",
        [],
        [
            "1: encoder.cell: @/untyped.py:2: the option 'gain' needs a type from"
            " slotfill.config.option_types and a plain value as its default"
        ],
    ),
    *(
        (
            f"a part's option of an unknown type or default: {name}",
            f"encoder: {{name: recurrent, cell: {name}}}\n",
            [],
            [
                f"1: encoder.cell: @/{name}:2: the option 'gain' needs a type from"
                " slotfill.config.option_types and a plain value as its default"
            ],
        )
        for name in ("odd.py", "unhashable.py")
    ),
    (
        "a part's option that starts with an underscore",
        "encoder: {name: recurrent, cell: underscore.py}\n",
        [],
        ["1: encoder.cell: @/underscore.py:2: an option cannot be called '_gain'"],
    ),
    (
        "a part's option whose default is an expression",
        "encoder:\n  name: recurrent\n  cell:\n    name: undone.py\n",
        [],
        [
            "4: encoder.cell.name: @/undone.py:2: the option 'gain' needs a type from"
            " slotfill.config.option_types and a plain value as its default"
        ],
    ),
    (
        "an override without =",
        "",
        ["encoder"],
        ["command line: 'encoder': an override is written key=value, as encoder.hidden_size=200"],
    ),
    (
        "an override without a key",
        "",
        ["=3"],
        ["command line: '=3': an override is written key=value, as encoder.hidden_size=200"],
    ),
    (
        "an override into a number",
        "train: {epochs: 3}\n",
        ["train.epochs.x=2"],
        ["command line: train.epochs.x: train.epochs is 3 and has no keys"],
    ),
    (
        "an override of an unknown key",
        "train:\n  seed: 3\n",
        ["train.epoch=2"],
        ["command line: train.epoch: unknown key; did you mean 'epochs'? (allowed: <train_keys>)"],
    ),
    (
        "an override in an unknown section",
        "",
        ["trian.epochs=2"],
        ["command line: trian: unknown key; did you mean 'train'? (allowed: <keys>)"],
    ),
    (
        "an override out of range",
        "train: {epochs: 3}\n",
        ["train.epochs=0"],
        ["command line: train.epochs: must be at least 1, found 0"],
    ),
    (
        "an override that is not YAML",
        "",
        ["data.path=[a"],
        ["command line: data.path: not YAML: expected ',' or ']', but got the end"],
    ),
    (
        "an override beyond the end of a list",
        "",
        ["embedding.3.size=3"],
        ["command line: embedding.3.size: '3' must be an index into the list of 3, from 0"],
    ),
    (
        "an override of a list as if it were one part",
        "",
        ["embedding.size=3"],
        ["command line: embedding.size: 'size' must be an index into the list of 3, from 0"],
    ),
    (
        "several errors: all of them, by line, the command line's last",
        "train:\n  epochs: 0\nencoder: recurent\ndata:\n  schem: x\n",
        ["tagger=cfr", "nonsense"],
        [
            "2: train.epochs: must be at least 1, found 0",
            (
                "3: encoder: unknown encoder 'recurent'; did you mean 'recurrent'? (allowed:"
                " <encoders>)"
            ),
            "5: data.schem: unknown key; did you mean 'scheme'? (allowed: <data_keys>)",
            (
                "command line: 'nonsense': an override is written key=value, as"
                " encoder.hidden_size=200"
            ),
            "command line: tagger: unknown tagger 'cfr'; did you mean 'crf'? (allowed: <taggers>)",
        ],
    ),
]


@pytest.mark.parametrize(
    ("text", "overrides", "messages"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_each_error_names_its_location_key_and_fix(text, overrides, messages, desk, cli):
    Path("c.yaml").write_text(text)
    for name, code in FILES.items():
        Path(name).write_text(code)
    expected = []
    for message in messages:
        for key, names in LISTS.items():
            message = message.replace(f"<{key}>", ", ".join(sorted(names)))
        location = "" if message.startswith(("command line", "and ")) else "c.yaml:"
        expected.append(f"slotfill: {location}{message.replace('@', str(desk))}")
    result = cli("show", "c.yaml", *overrides)
    assert result.err.splitlines() == expected
    assert (result.code, result.out) == (2, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  seed: 2\ndata:\n  path: corpsu\n",
         "c.yaml:4: data.path: there is no file or folder corpsu; did you mean 'corpus'?"),
        ("data:\n  train: corpus/tran.brackets\n",
         "c.yaml:2: data.train: there is no file or folder corpus/tran.brackets; did you mean"
         " 'corpus/train.brackets'?"),
        ("data: {path: ~nobody-here/x}\n",
         "c.yaml:1: data.path: there is no file or folder ~nobody-here/x"),
        ("data: {path: /nowhere/at/all}\n",
         "c.yaml:1: data.path: there is no file or folder /nowhere/at/all"),
        ("data: {test: tiny.yaml}\n",
         "c.yaml:1: data: no training sentences; set data.path=FOLDER_OR_FILE or data.train=FILE"),
        ("",
         "c.yaml:1: data: no training sentences; set data.path=FOLDER_OR_FILE or data.train=FILE"),
        ("train: {seed: 2}\ndata:\n  path: null\n",
         "c.yaml:3: data.path: no training sentences; set data.path=FOLDER_OR_FILE or"
         " data.train=FILE"),
        ("data: {path: empty}\n",
         "c.yaml:1: data.train: no training sentences in empty; set data.path=FOLDER_OR_FILE"
         " or data.train=FILE"),
        ("data: {path: corpus/test.brackets, holdout: 0.01}\n",
         "c.yaml:1: data.holdout: 0.01 of 8 training sentences leaves an empty split; set"
         " data.valid=FILE, or data.holdout=0 to train on all of them"),
        ("data: {path: /dev/zero}\n", "c.yaml:1: data.path: /dev/zero is not a regular file"),
        ("data: {path: corpus, valid: pipe}\n", "c.yaml:1: data.valid: pipe is not a regular file"),
    ],
)  # fmt: skip
def test_missing_data_is_reported_before_training(text, message, desk, cli):
    os.mkfifo("pipe")
    Path("empty").mkdir()
    Path("c.yaml").write_text(text)
    for command in ("train", "check"):
        result = cli(command, "c.yaml")
        assert result.err == f"slotfill: {message.replace('@', str(desk))}\n"
        assert result.code == 2
    assert not Path("runs").exists()
    # Looking at a config needs no data.
    assert cli("show", "c.yaml").code == 0


def test_unknown_config_suggests_the_nearest_name(desk, cli):
    message = "no config 'tiny.yml', neither a file nor built in; did you mean 'tiny.yaml'?"
    assert cli("show", "tiny.yml").err == f"slotfill: {message}\n"
    result = cli("train", "taipie")
    assert "did you mean 'taipei'?" in result.err
    assert (result.code, result.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("train.lr", "learning_rate"),
        ("train.clip", "gradient_clip"),
        ("data.validation", "valid"),
        ("data.dev", "valid"),
        ("dev", "data.valid"),
    ],
)
def test_a_key_of_other_toolkits_suggests_its_name(key, name, cli):
    result = cli("show", f"{key}=1")
    assert result.err.startswith(
        f"slotfill: command line: {key}: unknown key; did you mean '{name}'? (allowed: "
    )
    assert (result.code, result.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", ["train", "show", "check", "tune"])
def test_an_empty_config_is_wrong_use(command, desk, cli):
    result = cli(command, "")
    message = "slotfill: CONFIG is empty; give a built-in config or a YAML file\n"
    assert (result.code, result.out, result.err) == (2, "", message)


def test_a_folder_is_no_config(desk, cli):
    result = cli("show", "corpus")
    assert (
        result.err == "slotfill: corpus is a folder; if it contains sentences, use"
        " data.path=corpus; a config is a YAML file, or one of:"
        f" {', '.join(built_in())}\n"
    )
    assert result.code == 2


@pytest.mark.parametrize("name", ["bank.brackets", "bank.jsonl", "nlu.md", "bank.txt"])
def test_a_file_of_sentences_is_no_config(name, desk, cli):
    Path(name).write_text("fly to [Oslo](city)\n")
    result = cli("train", name)
    assert (result.code, result.err) == (
        2,
        f"slotfill: {name}: not a config, which is a .yaml file; if it contains sentences, use"
        f" data.path={name}\n",
    )


def test_a_pipe_is_no_config(desk, cli):
    os.mkfifo("pipe.yaml")
    for command in ("train", "check", "show"):
        assert cli(command, "pipe.yaml").err == (
            "slotfill: pipe.yaml: not a regular file; a config is a YAML file\n"
        )


def test_what_follows_too_many_values_is_not_parsed(monkeypatch):
    monkeypatch.setattr("slotfill.config.yaml_reader.MAX_VALUES", 10)
    with pytest.raises(ConfigError, match=r"^c.yaml:2: more than 10 values, counting those of al"):
        parse_config("a:\n  [" + 30 * "1, " + "}", "c.yaml")


def test_nearest_names_are_those_of_the_first_unknown_keys(monkeypatch):
    monkeypatch.setattr("slotfill.config.messages._MAX_HINTS", 1)
    with pytest.raises(ConfigError) as raised:
        parse_config("trian: 1\nencodr: 1\n", "c.yaml")
    assert "did you mean 'train'?" in raised.value.messages[0]
    assert raised.value.messages[1] == "c.yaml:2: encodr: unknown key"


def test_a_file_too_large_for_a_config_is_not_parsed(desk, cli):
    Path("c.yaml").write_text("# " + 1_000_000 * "x")
    result = cli("show", "c.yaml")
    assert (result.code, result.err) == (
        2,
        "slotfill: c.yaml: larger than 1,000,000 bytes, so not a config\n",
    )


def test_config_that_is_not_utf_8_names_the_line(desk, cli):
    Path("c.yaml").write_bytes(b"# fine\n# caf\xe9\n")
    result = cli("show", "c.yaml")
    assert (result.code, result.err) == (2, "slotfill: c.yaml:2: not UTF-8 (byte 0xe9)\n")


def test_byte_order_mark_and_crlf_are_accepted(desk, cli):
    Path("c.yaml").write_bytes("\ufeffscheme: bioes\r\ntrain:\r\n  epochs: 3\r\n".encode())
    result = cli("show", "c.yaml")
    assert (result.code, result.err) == (0, "")
    assert "scheme: bioes\n" in result.out


def built_in() -> list[str]:
    from slotfill.config.builtin import builtin_config_names

    return builtin_config_names()


@pytest.mark.parametrize(
    "text",
    [
        'version: "3.1"\nnlu:\n- intent: go\n  examples: |\n    - go now\n',
        "# Cities\ntype: 'entity'\nname: city\n",
        "type: intent\nname: go\nutterances:\n- go now\n",
    ],
)
@pytest.mark.parametrize("command", ["train", "show", "compare", "tune"])
def test_yaml_of_sentences_is_no_config(command, text, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yml").write_text(text)
    result = cli(command, "a.yml")
    assert (result.code, result.err) == (
        2,
        "slotfill: a.yml: sentences of Rasa or Snips NLU, not a config; use data.path=a.yml, or"
        " slotfill init a.yml, which writes a config for them\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.yml"]


def test_a_built_in_folder_is_no_config(cli):
    result = cli("show", "lab")
    assert result.err.startswith(
        "slotfill: lab is a folder; a config is a YAML file, or one of: lab/aligned, "
    )
    assert (result.code, result.out) == (2, "")


def test_check_reports_conflicting_options(desk, cli):
    Path("c.yaml").write_text(
        "data: {path: corpus}\nencoder: {cell: {name: lstm, coupled: true, forget_gate: false}}\n"
    )
    result = cli("check", "c.yaml")
    line = "c.yaml:2: encoder.cell.coupled: needs both input_gate and forget_gate"
    assert (result.code, result.err) == (2, f"slotfill: {line}\n")
