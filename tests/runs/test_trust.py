"""The file of a user-defined part is executed only with --trust, by every command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import write_config

import slotfill
from slotfill.config.registry import are_external_parts_trusted, trust_external_parts
from slotfill.errors import UsageError

EXECUTED = 'open({executed!r}, "a").close()\n'
CELL = "from slotfill.model.cells.elman import Elman\n\n\nclass Mine(Elman):\n    pass\n"
FORMAT = (
    "from slotfill.data.formats.brackets import Brackets\n\n\nclass Mine(Brackets):\n    pass\n"
)
OTHERS = {
    "embedding": ("embedding", "from slotfill.model.embeddings.word import Word as Base"),
    "encoder": ("encoder", "from slotfill.model.encoders.recurrent import Recurrent as Base"),
    "tagger": ("tagger", "from slotfill.model.taggers.softmax import Softmax as Base"),
}


@pytest.fixture
def part(desk):
    """A function that writes a part's file, which leaves the file `executed` when it is run."""

    def write(code):
        Path("mine.py").write_text(EXECUTED.format(executed=str(desk / "executed")) + code)
        return "./mine.py"

    return write


def assert_refused(result, file="mine.py"):
    assert result.code == 2
    assert all(line.startswith("warning: ") for line in result.out.splitlines())
    assert result.err.count("\n") == 1
    assert result.err.startswith(f"slotfill: {Path(file).resolve()}: a user-defined part is Python")
    assert "--trust" in result.err
    assert not Path("executed").exists()


@pytest.mark.parametrize("kind", OTHERS)
def test_training_executes_a_part_of_any_kind_only_with_trust(kind, part, cli):
    key, base = OTHERS[kind]
    name = part(f"{base}\n\n\nclass Mine(Base):\n    pass\n")
    words = ["train", "tiny.yaml", f"{key}={name}", "train.epochs=1", "--device", "cpu"]
    assert_refused(cli(*words, "--out", "a"))
    assert not Path("a").exists()
    assert cli(*words, "--out", "a", "--trust").code == 0
    assert Path("executed").exists()


def test_commands_on_a_run_execute_its_part_only_with_trust(part, cli):
    name = part(CELL)
    cell = [f"encoder.cell={name}", "train.epochs=1"]
    assert cli("train", "tiny.yaml", *cell, "--out", "a", "--device", "cpu", "--trust").code == 0
    Path("executed").unlink()
    assert cli("predict", "a", "arrive Oslo").code == 0, "ONNX Runtime needs no part"
    for words in (
        ["predict", "a", "x", "--engine", "torch"],
        ["predict", "a", "x", "--engine", "torch", "--jobs", "2"],
        ["evaluate", "a", "--engine", "torch"],
        ["export", "a"],
        ["inspect", "a", "arrive Oslo"],
        ["probe", "--cells", name],
        ["compare", "tiny.yaml", *cell, "--seeds", "1", "--out", "lab"],
    ):
        assert_refused(cli(*words))
        assert not Path("executed").exists()
    assert not are_external_parts_trusted(), "one command with --trust decides nothing for the next"
    with pytest.raises(UsageError, match=r"mine\.py: a user-defined part is Python code"):
        slotfill.load("a", engine="torch")
    assert slotfill.load("a", engine="torch", trust=True).predict(["arrive Oslo"])
    for words in (["predict", "a", "x", "--engine", "torch", "--jobs", "2"], ["export", "a"]):
        assert cli(*words, "--trust").code == 0


def test_check_reads_a_part_and_executes_it_only_with_trust(part, cli):
    name = part(CELL)
    result = cli("check", "tiny.yaml", f"encoder.cell={name}")
    assert result.code == 0
    file = Path("mine.py").resolve()
    warning = f"tiny.yaml: warning: not verified: {file} is executed only with --trust\n"
    assert result.out.count(warning) == 1
    assert not result.out.endswith("ok\n")
    assert not Path("executed").exists()
    assert "not verified" not in cli("check", "tiny.yaml", f"encoder.cell={name}", "--trust").out
    assert Path("executed").exists()


def test_a_format_by_path_is_executed_only_with_trust(part, cli, trained, corpus):
    name = part(FORMAT)
    shutil.copytree(trained, "run")
    config = write_config(Path("c.yaml"), data=f"{{path: corpus, format: {{name: {name}}}}}")
    data = f"{{path: corpus, format: {{name: {name}}}}}"
    search = write_config(Path("search.yaml"), data=data, tune="{train.epochs: [1, 2]}")
    file = corpus / "test.brackets"
    for words in (
        ["check", config],
        ["train", config, "--out", "b"],
        ["evaluate", "run", f"data.format={name}", "--data", file],
        ["convert", file, "x.conll", "--from", name],
        ["tune", search, "--trials", "1"],
    ):
        assert_refused(cli(*words))
    assert cli("check", config, "--trust").code == 0
    assert Path("executed").exists()


@pytest.mark.parametrize("key", ["encoder.cell={}", "tune.encoder.cell=[lstm, {}]"])
def test_tuning_refuses_an_untrusted_part_before_the_first_trial(key, part, cli):
    search = write_config(Path("search.yaml"), tune="{train.epochs: [1, 2]}")
    assert_refused(cli("tune", search, key.format(part(CELL)), "--trials", "1"))
    assert not Path("tuned").exists()


def test_trust_ends_with_its_block():
    assert not are_external_parts_trusted()
    with trust_external_parts():
        assert are_external_parts_trusted()
        with trust_external_parts(False):
            assert not are_external_parts_trusted()
    assert not are_external_parts_trusted()
