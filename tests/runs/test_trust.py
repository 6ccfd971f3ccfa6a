"""The file of a user-defined part is executed only with --trust, by every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_config
from part_cases import FILES, NO_TRANSFORMERS, copy_with_transformer, make_transformer
from service import run_async

import slotfill
from slotfill.config.registry import are_external_parts_trusted, trust_external_parts
from slotfill.errors import RunError, UsageError
from slotfill.serve.heat_maps import _render
from slotfill.serve.limits import Limits
from slotfill.serve.metrics import Metrics
from slotfill.serve.served_run import ServedRun

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


ENDING = """import os
from slotfill.model.cells.elman import Elman


class Mine(Elman):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.end("__init__")

    def initial_state(self, projected):
        self.end("initial_state")
        return super().initial_state(projected)

    def end(self, at):
        if os.environ.get("END_IN") == at:
            raise SystemExit(5)
"""


@pytest.mark.filterwarnings("ignore:valid")
def test_a_part_that_exits_is_an_error_that_names_its_line(desk, cli, monkeypatch):
    Path("mine.py").write_text(ENDING)
    keys = {"encoder.cell": "./mine.py", "train.epochs": 1}
    slotfill.train("tiny.yaml", keys, out="a", device="cpu", trust=True)
    tagger = slotfill.load("a", engine="torch", trust=True)
    calls = {
        "__init__": [lambda: slotfill.load("a", engine="torch", trust=True)],
        "initial_state": [
            lambda: tagger.predict(["arrive Oslo"]),
            lambda: slotfill.evaluate(tagger, split="test"),
            lambda: slotfill.train("tiny.yaml", keys, out="b", device="cpu", trust=True),
            lambda: _render(Path("a"), "a", "arrive Oslo"),
        ],
    }
    message = f"{Path('mine.py').resolve()}:16: end() failed with SystemExit: 5"
    for method in calls:
        monkeypatch.setenv("END_IN", method)
        for call in calls[method]:
            with trust_external_parts(), pytest.raises(RunError) as error:
                call()
            assert str(error.value).startswith(f"{message}; slotfill check --contract")
    words = ["compare", "tiny.yaml", "encoder.cell=./mine.py", "--seeds", "1", "--out", "lab"]
    result = cli(*words, "--device", "cpu", "--trust")
    assert (result.code, result.err.count("\n")) == (1, 1) and message in result.err


@pytest.mark.filterwarnings("ignore:valid")
def test_a_service_goes_on_where_a_part_exits(desk, cli, monkeypatch):
    Path("mine.py").write_text(ENDING)
    keys = {"encoder.cell": "./mine.py", "train.epochs": 1}
    slotfill.train("tiny.yaml", keys, out="a", device="cpu", trust=True)
    with trust_external_parts():
        served = ServedRun(Path("a"), Limits(), Metrics(), "cpu", "torch")

    async def ask_and_reload():
        monkeypatch.setenv("END_IN", "initial_state")
        with pytest.raises(RunError, match="failed with SystemExit: 5"):
            await served.batcher.tag(["arrive Oslo"])
        monkeypatch.setenv("END_IN", "__init__")
        os.utime("a/model.safetensors")
        before = served.run
        with trust_external_parts():
            await served._reload_if_changed()
            await served._reload_if_changed()
        monkeypatch.delenv("END_IN")
        assert served.run is before
        assert [each.text for each in await served.batcher.tag(["arrive Oslo"])] == ["arrive Oslo"]

    run_async(ask_and_reload())


@pytest.mark.filterwarnings("ignore:valid")
def test_the_data_of_a_run_is_read_by_a_format_that_is_trusted(part):
    data = {"path": "corpus", "format": part(FORMAT)}
    slotfill.train("tiny.yaml", {"data": data, "train.epochs": 1}, out="a", trust=True)
    with pytest.raises(UsageError, match="trust=True"):
        slotfill.evaluate("a")
    assert slotfill.evaluate("a", trust=True).sentences == 8


@pytest.mark.parametrize("command", ["predict", "compare"])
def test_processes_of_a_command_import_nothing_from_the_current_folder(command, desk, trained):
    """The files of a folder are data, whatever their names."""
    (desk / "bin").mkdir()
    program = desk / "bin" / "slotfill"  # As pip installs it: its folder is searched, not this one.
    program.write_text("from slotfill.__main__ import main\nif __name__ == '__main__': main()\n")
    for name in ("multiprocessing", "slotfill", "typing", "pickle"):
        Path(f"{name}.py").write_text(EXECUTED.format(executed=str(desk / "executed")))
    words = {
        "predict": ["predict", trained, "--jobs", "2"],
        "compare": ["compare", "tiny.yaml", "train.epochs=1", "--seeds", "1,2", "--jobs", "2"],
    }
    done = subprocess.run(
        [sys.executable, program, *words[command]],
        input="leave Oslo\n" * 3000,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(slotfill.__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path("executed").exists()


BERT = {"model_type": "bert"}
NESTED = {"model_type": "encoder-decoder", "encoder": BERT, "decoder": BERT}
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("kind", ["own type", "no class", "nested", "library's type", "tokenizer"])
def test_code_of_a_pretrained_model_is_never_executed(
    kind, trust, desk, cli, trained, tmp_path, monkeypatch
):
    """Neither of its folder nor of a run, whatever is answered to a question of the library."""
    if NO_TRANSFORMERS:
        pytest.skip(NO_TRANSFORMERS)
    make_transformer()
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    folder = Path(shutil.copytree(FILES["transformer"]["path"], "model"))
    (folder / "code.py").write_text(EXECUTED.format(executed=str(desk / "executed")))
    reference = f"{folder.resolve()}--code.Mine"
    code = {"auto_map": dict.fromkeys(["AutoConfig", "AutoModel"], reference)}
    bert = json.loads((folder / "config.json").read_text())
    config = {
        "own type": bert | code | {"model_type": "mine"},
        "no class": NESTED | code,
        "nested": {
            "model_type": "llava",
            "text_config": NESTED
            | code
            | {"hidden_size": 8, "vocab_size": 9, "pad_token_id": 0, "tie_word_embeddings": False},
            "vision_config": {"model_type": "clip_vision_model"} | SIZES,
        },
        "library's type": bert | code,
        "tokenizer": bert,
    }[kind]
    (folder / "config.json").write_text(json.dumps(config))
    if kind == "tokenizer":
        tokenizer = {"auto_map": {"AutoTokenizer": [None, reference]}, "tokenizer_class": "Mine"}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    part = "embedding={name: transformer, path: ./model}"
    flags = ["--trust"] if trust else []
    result = cli("check", "tiny.yaml", part, *flags)
    stored = {"config": config, "most": 9, "unknown": 0, "padding": 0, "tokenizer": {}}
    run = copy_with_transformer(trained, stored, tmp_path / "run")
    with pytest.raises(RunError) as error:
        slotfill.load(run, engine="torch", trust=trust)
    assert not Path("executed").exists()
    assert str(error.value).startswith(f"{run / 'vocab.json'}: transformers ")
    if kind in ("own type", "no class", "nested"):
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert f"{folder.resolve()}: no model can be read from it (model_type " in result.err


def test_a_quantized_transformer_is_refused(desk, cli):
    """Its integers would be read as weights."""
    if NO_TRANSFORMERS:
        pytest.skip(NO_TRANSFORMERS)
    make_transformer()
    folder = Path(shutil.copytree(FILES["transformer"]["path"], "model"))
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    result = cli("check", "tiny.yaml", "embedding={name: transformer, path: ./model}")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "its weights are quantized; use those in floating point" in result.err


@pytest.mark.parametrize("trust", ["no", "yes", 1, None])
def test_only_true_is_consent_in_python(trust, part, trained):
    config = {"data": {"path": "corpus"}, "encoder": {"cell": part(CELL)}}
    calls = [
        lambda: slotfill.train(config, trust=trust),
        lambda: slotfill.load(trained, trust=trust),
        lambda: slotfill.evaluate(trained, trust=trust),
        lambda: slotfill.Batches(trained, trust=trust),
        lambda: slotfill.SlotTagger(config, trust=trust).fit(["to Oslo"], [[("city", 3, 7)]]),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=f"^trust is True or False, not {trust!r}$"):
            call()
    assert not Path("executed").exists()
