"""The commands list, show, check, schema and convert; help, imports, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import write_config

import slotfill
from slotfill.config.builtin import builtin_config_names
from slotfill.config.registry import REGISTRIES

COMMANDS = (
    "train",
    "evaluate",
    "predict",
    "list",
    "show",
    "check",
    "schema",
    "convert",
    "data",
    "split",
    "init",
    "inspect",
    "tune",
)
HEAVY = ("torch", "numpy", "seqeval", "pydantic")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, cli):
    for flag in ("--help", "-h"):
        result = cli(command, flag)
        assert (result.code, result.err) == (0, "")
        assert f"slotfill {command}" in result.out
    assert command in cli("--help").out


CALL_EACH = f"""
import os, sys
from slotfill.cli.main import main
for line in sys.stdin.read().splitlines():
    if os.fork():
        os.wait()
        continue
    sys.argv = ["slotfill", *line.split()]
    try:
        main()
    finally:
        print(line, *(set({HEAVY}) & set(sys.modules)), sep=":", file=sys.stderr)
        sys.stdout.flush()
        os._exit(0)
"""
"""Calls commands, each in a fork of a process that has imported no more than the command line."""


def test_light_commands_import_no_heavy_module():
    """typer takes in pydantic, where it is installed, to read a command's options."""
    allowed = {"--help": set(), "--version": set()}
    allowed |= {line: {"pydantic"} for line in ("train --help", "list", "show taipei", "schema")}
    done = subprocess.run(
        [sys.executable, "-c", CALL_EACH],
        input="\n".join(allowed),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {
        line: set(names) for line, *names in (row.split(":") for row in done.stderr.splitlines())
    }
    assert imported.keys() == allowed.keys(), done.stderr
    assert [line for line in allowed if not imported[line] <= allowed[line]] == []
    for word in ("Usage: slotfill", f"slotfill {slotfill.__version__}", "lstm", "holdout", "$defs"):
        assert word in done.stdout


def test_version(cli):
    result = cli("--version")
    assert (result.code, result.out) == (0, f"slotfill {slotfill.__version__}\n")


def test_wrong_use_is_exit_code_2(cli):
    for line in (
        "",
        "trian",
        "train --nope",
        "train --seed x",
        "train --seed -1",
        "evaluate",
        "predict",
        "predict x --format xml",
        "convert x",
    ):
        result = cli(*line.split())
        assert result.code == 2
        assert "Traceback" not in result.err


def test_list_names_every_part_in_one_line_each(cli):
    everything = cli("list").out
    for kind, registry in REGISTRIES.items():
        for word in (f"{kind}s", kind):
            result = cli("list", word)
            assert (result.code, result.err) == (0, "")
            assert result.out.startswith(f"{kind}s")
            for name in registry.names():
                assert f" {name} " in result.out
                assert f" {name} " in everything
    assert "Hochreiter & Schmidhuber 1997" in cli("list", "cells").out
    assert "[Taipei](destination)" in cli("list", "formats").out, "brackets are no markup"
    configs = cli("list", "configs").out
    assert all(name in configs for name in builtin_config_names())


def test_list_of_an_unknown_kind(cli):
    result = cli("list", "cels")
    kinds = ", ".join(sorted([*(f"{kind}s" for kind in REGISTRIES), "configs"]))
    assert (
        result.err
        == f"slotfill: no kind of part 'cels'; did you mean 'cells'? (allowed: {kinds})\n"
    )
    assert (result.code, result.out) == (2, "")


def test_check_counts_sentences_and_slots(desk, cli):
    result = cli("check", "tiny.yaml")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.rpartition(",")[0] for line in lines[:4]] == [
        "tiny.yaml: train: 40 sentences",
        "tiny.yaml: valid: 16 sentences",
        "tiny.yaml: test: 8 sentences",
        "tiny.yaml: pairs: 4 sentences",
    ]
    assert lines[4].startswith("tiny.yaml: network: ")
    assert lines[5].startswith("tiny.yaml: warning: valid: 20 slots are too few to select an epoch")
    assert all(line.startswith("tiny.yaml: warning: ") for line in lines[5:-1])
    assert "sentences are also in train, the first at " in lines[-2]
    assert lines[-1] == f"tiny.yaml: {len(lines[5:-1])} warnings"


def test_check_does_not_call_a_valid_without_slots_ok(desk, cli):
    Path("valid.conll").write_text("fly O\n\nhello O\n")
    result = cli("check", "tiny.yaml", "data.valid=valid.conll")
    assert "tiny.yaml: warning: valid: none of its 2 sentences has a slot" in result.out
    assert "tiny.yaml: ok" not in result.out


def test_check_counts_repaired_tags(desk, cli):
    Path("train.conll").write_text("fly O\nTaipei I-to\n\nhello O\n\nthere O\n")
    Path("c.yaml").write_text("data: {path: train.conll, holdout: 0.4}\n")
    assert "c.yaml: train: 2 sentences, 1 slot, 1 tag repaired\n" in cli("check", "c.yaml").out


def test_errors_in_building_the_network_have_a_location(desk, cli):
    write_config(
        Path("c.yaml"), embedding="[word,\n  {name: ngrams, min_length: 5, max_length: 2}]"
    )
    expected = "c.yaml:3: embedding.1.max_length: must be at least min_length, 5"
    for command in ("check", "train", "compare"):
        assert cli(command, "c.yaml").err.splitlines()[0] == f"slotfill: {expected}"
    cell = "encoder.cell={name: slstm, heads: 3}"
    message = "must divide hidden_size, 8, found 3 (allowed: 1, 2, 4, 8)"
    assert f"encoder.cell.heads: {message}\n" in cli("check", "tiny.yaml", cell).err
    result = cli(
        "train",
        "tiny.yaml",
        "encoder=feedforward",
        "train.language_model_weight=0.1",
        "--out",
        "new",
    )
    message = "train.language_model_weight: needs a first encoder that is recurrent"
    assert result.err.startswith(f"slotfill: command line: {message}")
    assert (result.code, Path("new").exists(), Path("new.partial").exists()) == (2, False, False)


def test_check_continues_and_exits_with_the_highest_code(desk, cli):
    Path("bad.yaml").write_text("trian: {}\ndata: {path: corpus}\ntagger: cfr\n")
    Path("broken.conll").write_text("fly O\nto\n")
    Path("data.yaml").write_text("data: {path: broken.conll}\n")
    result = cli("check", "tiny.yaml", "bad.yaml")
    assert result.code == 2
    assert re.search(r"^tiny\.yaml: \d+ warnings?$", result.out, re.MULTILINE)
    assert [line.partition(";")[0] for line in result.err.splitlines()] == [
        "slotfill: bad.yaml:1: trian: unknown key",
        "slotfill: bad.yaml:3: tagger: unknown tagger 'cfr'",
    ]
    result = cli("check", "nope.yaml", "data.yaml", "bad.yaml", "tiny.yaml")
    assert result.code == 3
    assert (
        "slotfill: broken.conll:2: 1 column, but line 1 has 2; separate the columns of"
        " all lines alike, by tabs or by spaces\n" in result.err
    )
    assert re.search(r"^tiny\.yaml: \d+ warnings?$", result.out, re.MULTILINE)
    assert "data.yaml: ok" not in result.out


def test_convert_round_trip_through_every_format(desk, cli):
    chain = ["corpus/test.brackets", "a.conll", "b.jsonl", "c.brackets"]
    for source, target in pairwise(chain):
        result = cli("convert", source, target)
        assert (result.code, result.out, result.err) == (0, f"{target}: 8 sentences\n", "")
    assert Path("c.brackets").read_text() == Path("corpus/test.brackets").read_text()
    assert cli("convert", "a.conll", "folder", "--to", "jointslu", "--to-scheme", "bioes").code == 0
    assert "S-destination" in Path("folder/seq.out").read_text()
    assert cli("convert", "folder", "d.conll", "--scheme", "bioes").code == 0
    assert Path("d.conll").read_text() == Path("a.conll").read_text()


def test_convert_never_overwrites_or_leaves_partial_files(desk, cli):
    Path("kept.conll").write_text("mine\n")
    Path("broken.conll").write_text("fly O\n\nto\n")
    for words, code, message in (
        (["corpus/test.brackets", "kept.conll"], 2,
         "kept.conll: exists, and nothing is overwritten; choose another path"),
        (["nope.conll", "x.conll"], 2, "nope.conll: no such file"),
        (["broken.conll", "x.jsonl"], 3, "broken.conll:3: 1 column, but line 1 has 2"),
        (["corpus/test.brackets", "x.conll", "--to-scheme", "boi"], 2, "unknown tag scheme 'boi'"),
        (["corpus/test.brackets", "x.what"], 2, "x.what: the format is not clear from its name"),
        (["corpus/test.brackets", "x.conll", "--from", "connl"], 2,
         "unknown format 'connl'; did you mean 'conll'?"),
        (["corpus/test.brackets", "x.conll", "--tokenizer", "word"], 2, "unknown tokenizer 'word'"),
        (["corpus/test.brackets", "nowhere/x.conll"], 2,
         "nowhere/x.conll: there is no such folder to write it in"),
    ):  # fmt: skip
        result = cli("convert", *words)
        assert (result.code, result.out) == (code, "")
        assert result.err.startswith(f"slotfill: {message}")
        assert result.err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} == {
        "corpus",
        "tiny.yaml",
        "kept.conll",
        "broken.conll",
    }
    assert Path("kept.conll").read_text() == "mine\n"


def test_an_operating_system_error_is_one_line(cli, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device", "big.file")

    monkeypatch.setattr("slotfill.config.json_schema.schema", refuse)
    result = cli("schema")
    assert (result.code, result.err) == (1, "slotfill: big.file: No space left on device\n")


def test_output_is_utf_8_in_any_locale(tmp_path):
    (tmp_path / "台北.yaml").write_text("data: {path: 台北}\n", encoding="utf-8")
    command = [sys.executable, "-X", "utf8=0", "-m", "slotfill", "show", "台北.yaml"]
    environment = {"PYTHONIOENCODING": "latin-1", "PATH": "/usr/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"path: {tmp_path}/台北".encode() in done.stdout


@pytest.mark.parametrize("words", [["list"], ["schema"]])
def test_a_closed_pipe_ends_a_command_quietly(words):
    line = f"{sys.executable} -m slotfill {' '.join(words)} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_schema_prints_json_only(cli):
    result = cli("schema")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["$defs"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["foo"], "slotfill: No such command 'foo'. (see --help)\n"),
        (["evaluate"], "slotfill: Missing argument 'RUN'. (see --help)\n"),
        (["train", "--qqq"], "slotfill: No such option: --qqq (see --help)\n"),
    ],
)
def test_wrong_use_is_one_line(words, line, cli):
    result = cli(*words)
    assert (result.code, result.out, result.err) == (2, "", line)


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        ("encoder.cell={name: slstm, heads: 1} train.epochs=1", "{name: slstm, heads: 1}"),
        ("train.epochs=1 encoder.cell={name: {a: b}}", "{name: {a: b}}"),
        ("encoder.cell=name:slstm encoder.cell=heads:1", "{name: slstm, heads: 1}"),
        ("encoder.cell=[a, b]", "[a, b]"),
    ],
)
@pytest.mark.parametrize("command", ["check", "train"])
def test_a_value_that_the_shell_has_split_is_one_line(command, words, quoted, cli):
    result = cli(command, "taipei", *words.split())
    message = "slotfill: the shell has split encoder.cell, which needs quotes: '"
    assert (result.code, result.out) == (2, "")
    assert result.err == f"{message}encoder.cell={quoted}'\n"


def test_convert_messages_name_its_options(cli, tmp_path):
    source = tmp_path / "a.conll"
    source.write_text("Oslo\tS-city\n")
    refused = cli("convert", source, tmp_path / "b.jsonl")
    assert refused.code == 3 and "(convert: --scheme bioes)" in refused.err
    assert cli("convert", source, tmp_path / "b.jsonl", "--scheme", "bioes").code == 0
    assert (
        cli("convert", tmp_path / "b.jsonl", tmp_path / "c.jsonl", "--to-scheme", "foo").code == 2
    )
    assert not (tmp_path / "c.jsonl").exists()


def test_check_takes_overrides(desk, cli):
    assert cli("check", "tiny.yaml", "encoder.cell=gru").code == 0
    refused = cli("check", "tiny.yaml", "encoder.cell=gur")
    assert refused.code == 2 and "did you mean 'gru'" in refused.err


@pytest.mark.parametrize(
    "command",
    [
        "train tiny.yaml --out loop",
        "train --resume loop",
        "pack loop",
        "serve loop",
        "evaluate {run} --report loop --force",
        "check tiny.yaml data.format=./loop.py",
        "check tiny.yaml encoder.cell=./loop.py --trust",
    ],
)
def test_a_link_to_itself_is_one_line(command, desk, trained, cli):
    for name in ("loop", "loop.py"):
        (desk / name).symlink_to(name)
    result = cli(*command.format(run=trained).split())
    assert (result.code, result.err.count("\n")) == (2, 1) and "loop" in result.err, result


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("command", ["--help", "--version", "train --help", "", "list"])
def test_output_that_cannot_be_written_is_one_line(command):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "slotfill", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "slotfill: standard output: No space left on device\n",
    )


def test_a_folder_whose_name_is_no_text_is_one_line(desk, trained, cli, monkeypatch):
    folder = Path(os.fsdecode(b"\xffdir"))
    shutil.copytree(trained, folder)
    shutil.copytree("corpus", folder / "corpus")
    monkeypatch.chdir(folder)
    for words in (("train", "data.path=corpus", "--out", "a"), ("check", "data.path=corpus")):
        result = cli(*words)
        assert (result.code, result.err.count("\n")) == (2, 1), result
        assert "data.path: " in result.err
        assert "\\udcffdir" in result.err and "not UTF-8" in result.err
    assert cli("pack", ".", "--out", "a.zip").code == 0
    for run in (".", "a.zip"):
        assert "# `\\udcffdir`" in cli("card", run).out
    assert cli("predict", ".", "leave Oslo").code == 0
    assert not {"a", "a.partial"} & {path.name for path in Path().iterdir()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train tiny.yaml --out LONG", "--out LONG: File name too long"),
        ("train tiny.yaml --out=LONG", "--out LONG: File name too long"),
        ("train tiny.yaml --out LESS", "--out LONG: File name too long"),
        ("evaluate RUN --data LONG", "--data LONG: File name too long"),
        ("evaluate LONG --data tiny.yaml", "LONG: File name too long"),
        ("predict LONG hello", "LONG: the name of a file has at most 255 bytes, found 300"),
        ("check LONG", "LONG: File name too long"),
        ("convert corpus/pairs.brackets LONG", "LONG: File name too long"),
    ],
)
def test_a_name_that_no_file_can_have_is_named_with_its_option(words, message, desk, trained, cli):
    """Beside a run folder there are others with longer names while it trains."""
    values = {"LONG": "x" * 300, "LESS": "x" * 250, "RUN": trained}
    for name, value in values.items():
        words = words.replace(name, str(value))
    result = cli(*words.split())
    assert result.err == f"slotfill: {message.replace('LONG', 'x' * 39 + '…')}\n"
    assert (result.code, result.out) == (2, "")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("rules=[{slot: origin, list: corpus}]", "rules.0.list"),
        ("synonyms={origin: corpus}", "synonyms.origin"),
        ("embedding=[{name: gazetteer, lists: [corpus]}]", "embedding.0.lists.0"),
        ("embedding={name: pretrained, path: corpus}", "embedding.path"),
    ],
)
def test_a_folder_for_the_file_of_a_key_is_named_with_the_key(override, key, desk, cli):
    result = cli("check", "tiny.yaml", override)
    expected = f"command line: {key}: corpus is a folder where a file is expected"
    assert (result.code, result.out, result.err) == (2, "", f"slotfill: {expected}\n")
