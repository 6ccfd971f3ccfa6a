"""What reaches a terminal, and how commands end when something is missing or closed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from unicodedata import bidirectional

import pytest
from conftest import run_on_terminal, start, write_config

from slotfill.errors import UsageError, escape

CONTROLS = "\x00\x07\x08\n\r\x1b\x7f\x85\x9b\x9d\u2028\u2029\u202a\u202e\u2066\u2069\udcff"
CONTROLS += "\u061c\u200e\u200f\u180e\u2060\u206f\ufeff\ufffb"


def end_after_one_line(*words):
    """Close the output of a command after its first line; return its exit code and its errors."""
    process = start(*words)
    process.stdout.readline()
    process.stdout.close()
    code = process.wait(60)
    with process.stdin, process.stderr:
        return code, process.stderr.read()


@pytest.mark.parametrize("character", CONTROLS, ids=ascii)
def test_control_characters_are_escaped(character):
    assert escape(f"a{character}b") == f"a\\u{ord(character):04x}b"


def test_nothing_changes_the_direction_of_text_and_beyond_16_bits_is_as_in_json():
    embeddings = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    changing = [
        each for each in map(chr, range(sys.maxunicode)) if bidirectional(each) in embeddings
    ]
    assert len(changing) == 9 and escape("".join(changing)).isascii()
    assert json.loads(f'"{escape(chr(0xE0041))}"') == chr(0xE0041)
    assert escape(chr(0xE0041)) == "\\udb40\\udc41"


def test_text_of_any_script_is_not_escaped():
    text = "出發地\tcafé e\u0301 שלום 👩‍✈️ \u00a0 می\u200cروم ไทย\u200bไทย 葛\U000e0100"
    assert escape(text) == text


def test_the_middle_of_a_very_long_message_is_left_out():
    (line,) = UsageError(f"a.jsonl:1: {'x' * 5000}; write y").messages
    assert line.startswith("a.jsonl:1: x") and line.endswith("x; write y") and "…" in line
    assert len(line) < 2100


def test_letters_of_flags_are_shown_in_flags_only():
    scotland, other = (
        "\U0001f3f4" + "".join(chr(0xE0000 + ord(each)) for each in code) + "\U000e007f"
        for code in ("gbsct", "rm -rf")
    )
    assert escape(f"{scotland} {scotland}") == f"{scotland} {scotland}"
    assert len(escape(other)) == 1 + 12 * 7
    assert len(escape(scotland[:-1])) == 1 + 12 * 5


def test_a_terminal_is_sent_no_control_characters_of_the_text(trained):
    code, sent = run_on_terminal("predict", trained, "leave \x1b]52;c;x\x07 for \u202eOslo\x9b31m")
    assert code == 0
    plain = re.sub(r"\x1b\[[\d;]*m", "", sent)
    assert plain.startswith("leave \\u001b]52;c;x\\u0007 for \\u202eOslo")
    assert "\\u009b" in plain and not re.search("[\x1b\x07\u202e\x9b]", plain)


@pytest.mark.parametrize("format", ["jsonl", "conll", "brackets"])
def test_a_format_is_escaped_on_a_terminal_and_exact_in_a_pipe(format, trained, cli):
    text = "leave \u202eOslo\x9b please"
    code, sent = run_on_terminal("predict", trained, text, "--format", format)
    assert (code, "\u202e" in sent, "\x9b" in sent) == (0, False, False)
    assert "\\u202eOslo" in sent and "\\u009b" in sent
    exact = cli("predict", trained, text, "--format", format).out
    assert "\u202eOslo" in exact and "\x9b" in exact


def test_json_on_a_terminal_is_still_that_json(trained):
    text = "leave \u202eOslo\x9b please"
    _, sent = run_on_terminal("predict", trained, text, "--format", "jsonl")
    assert json.loads(sent)["text"] == text


def test_slot_names_and_messages_are_escaped(trained, cli, tmp_path):
    data = tmp_path / "mine.brackets"
    data.write_text("leave [Oslo](or\x1b[31migin\u202e)\n", encoding="utf-8")
    out = cli("evaluate", trained, "--data", data).out
    assert "or\\u001b[31migin\\u202e" in out and "\x1b" not in out and "\u202e" not in out
    for words in (
        ["evaluate", trained, "--data", tmp_path / "no\x1b[31m.conll"],
        ["check", "encoder.\x1b]0;x\x07=1"],
        ["train", "\u202etaipei"],
        ["\x1b[31mtrain"],
        ["train", "--\x1b[31m"],
    ):
        result = cli(*words)
        assert result.code in (2, 3) and result.err.count("\n") == 1
        assert not re.search("[\x1b\x07\u202e]", result.err)
        assert re.search(r"\\(u001b|x1b|u202e)", result.err)


@pytest.mark.parametrize("words", ["check taipei", "schema"])
def test_a_closed_standard_output_is_one_line(words):
    line = f"{sys.executable} -m slotfill {words} >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "slotfill: standard output is closed\n")


@pytest.mark.parametrize("words", ["predict {} x", "show taipei"])
def test_a_full_device_is_named_standard_output(words, trained):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    command = [sys.executable, "-m", "slotfill", *words.format(trained).split()]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.stderr == "slotfill: standard output: No space left on device\n"
    assert result.returncode == 1


def test_too_little_memory_is_one_line(cli, monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("slotfill.config.builtin.load_config", fail)
    result = cli("show", "taipei")
    assert (result.code, result.err) == (1, "slotfill: out of memory\n")


def test_training_continues_if_its_output_is_closed(desk):
    assert end_after_one_line("train", "tiny.yaml", "--out", "run") == (0, b"")
    assert (desk / "run" / "model.safetensors").exists() and not (desk / "run.partial").exists()
    assert len((desk / "run" / "history.csv").read_text().splitlines()) == 7


def test_without_torch_commands_work_or_name_the_extra(trained):
    script = Path(__file__).parents[2] / "scripts" / "check_small_install.py"
    command = [sys.executable, str(script), str(trained)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("package", "module", "command"),
    [
        ("onnxruntime", "onnxruntime", "predict {run} hello"),
        ("numpy", "numpy", "evaluate {run}"),
        ("pyyaml", "yaml", "show taipei"),
    ],
)
def test_missing_package_is_named(package, module, command, desk, trained):
    words = command.format(run=trained).split()
    code = (
        f"import sys\nsys.modules[{module!r}] = None\nsys.argv = ['slotfill', *{words}]\n"
        "from slotfill.cli.main import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    problem = f"{words[0]} needs {package}; install it with: pip install {package}"
    assert done.stderr == f"slotfill: {problem}\n"


def test_python_calls_name_the_extra(trained):
    code = (
        f"import sys\nsys.modules['torch'] = None\nimport slotfill\n"
        f"try: slotfill.load({str(trained)!r}, engine='torch')\n"
        "except Exception as error: print(repr(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    message = "engine torch needs torch; install it with: pip install 'slotfill[train]'"
    assert done.stdout == f"UsageError({message!r})\n"


@pytest.mark.parametrize("name", [None, "torch._C"])
def test_package_that_cannot_be_imported_is_named(name, desk):
    Path("torch.py").write_text(f"raise ImportError('libtorch.so:\\n not found', name={name!r})\n")
    code = (
        "import sys\nsys.path.insert(0, '.')\n"
        "from slotfill.cli.main import main\nsys.argv = ['slotfill', 'train', 'tiny.yaml']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    problem = "which cannot be imported (libtorch.so: not found); reinstall it"
    assert done.stderr == f"slotfill: train needs torch, {problem}\n"


def test_overrides_alone_that_name_data_use_the_defaults(desk, cli):
    Path("bank.brackets").write_text(Path("corpus/train.brackets").read_text() * 3)
    shown = cli("show", "data.path=bank.brackets").out
    Path("empty.yaml").write_text("data: {path: bank.brackets}\n")
    assert shown == cli("show", "empty.yaml").out
    assert cli("check", "data.path=bank.brackets").out.splitlines()[-1].startswith("bank: ")
    result = cli("train", "data.path=bank.brackets", "train.epochs=1", "encoder.hidden_size=4")
    assert (result.code, result.err) == (0, "")
    assert [path.name for path in Path("runs").iterdir()] == ["bank"]


def test_other_overrides_alone_change_the_built_in_corpus(cli):
    assert cli("show", "train.epochs=3").out == cli("show", "taipei", "train.epochs=3").out
    assert cli("check", "train.epochs=3").out.splitlines()[-1].startswith("taipei: ")


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("data.path=nothing/here.xyz", 2, "data.path: there is no file or folder nothing/here.xyz"),
        ("encoder.hiden=3", 2, "encoder.hiden: unknown key"),
        ("data.holdout=0.2", 2, "data"),
    ],
)
def test_check_of_overrides_alone_reports_their_errors(override, code, message, desk, cli):
    result = cli("check", override)
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert message in result.err


@pytest.mark.parametrize("override", ["data.train=few.brackets", "data.path=few.brackets"])
def test_check_of_overrides_alone_refuses_what_train_refuses(override, desk, cli):
    lines = Path("corpus/train.brackets").read_text().splitlines(keepends=True)
    Path("few.brackets").write_text("".join(lines[:3]))
    refused = cli("train", override)
    message = "data.holdout: 0.1 of 3 training sentences leaves an empty split"
    assert refused.code == 2 and message in refused.err
    assert cli("check", override) == refused
    # Without a key, the sentences alone are checked.
    assert cli("check", "few.brackets").out.endswith("few.brackets: ok\n")


@pytest.mark.parametrize(("value", "percent"), [("0.95", "95"), ("1", "100"), ("0.005", "0.5")])
def test_a_fraction_is_refused_as_a_least_f1(value, percent, trained, cli):
    result = cli("evaluate", trained, "--min-f1", value)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"slotfill: --min-f1 {value}: F1 is in percent; for {value} give {percent}\n"
    )


def test_a_closed_pipe_does_not_lose_the_files_of_a_comparison(desk):
    write_config(Path("other.yaml"), encoder="{name: recurrent, hidden_size: 4}")
    words = ["compare", "tiny.yaml", "other.yaml", "train.epochs=1", "--seeds", 1]
    assert end_after_one_line(*words, "--json", "c.json") == (0, b"")
    assert len(json.loads(Path("c.json").read_text())["configs"]) == 2


def test_logged_warnings_are_escaped_messages(trained, cli, tmp_path):
    texts = tmp_path / "a\x1b[31m.txt"
    texts.write_bytes(b"arrive Lima\nhello \xff\n")
    result = cli("predict", trained, "--input", texts, "--encoding-errors", "replace")
    assert result.code == 0 and result.err.count("\n") == 2
    assert result.err.startswith(f"slotfill: {tmp_path}/a\\u001b[31m.txt:2: not UTF-8")


@pytest.mark.parametrize("words", [["train", "a\nb"], ["check", "a\nb"], ["predict", "a\nb", "x"]])
def test_a_message_with_a_line_break_is_one_line(words, cli):
    result = cli(*words)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "a\\u000ab" in result.err
