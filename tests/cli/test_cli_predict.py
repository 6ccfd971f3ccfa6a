"""The command `predict`: input, output formats, streams, terminals, processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from conftest import Result, run_on_terminal, standard_input, start

from slotfill.config.registry import FORMATS
from slotfill.data.sentence import Confidence, Sentence
from slotfill.errors import DataError
from slotfill.inference.tagging import TaggedBatch
from slotfill.runs.predict import CHUNK, Predictor

TEXTS = ["leave New York for Oslo please", "", "arrive Lima", "  hello there ", "zzz"]


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(result):
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("\n")
    return [json.loads(line) for line in result.out.removesuffix("\n").split("\n")]


def test_arguments_files_and_standard_input_are_predicted_alike(trained, cli, tmp_path):
    found = rows(cli("predict", trained, *TEXTS))
    assert [row["text"] for row in found] == TEXTS
    assert [list(slot.values())[:4] for slot in found[0]["slots"]] == [
        ["origin", "New York", 6, 14],
        ["destination", "Oslo", 19, 23],
    ]
    assert all(0 < slot["confidence"] <= 1 for slot in found[0]["slots"])
    assert found[0]["confidence"] <= min(slot["confidence"] for slot in found[0]["slots"])
    (plain, *_) = rows(cli("predict", trained, *TEXTS, "--no-confidence"))
    assert plain["slots"][1] == {"name": "destination", "value": "Oslo", "start": 19, "end": 23}
    assert "confidence" not in plain
    assert found[1]["slots"] == []
    Path("texts").write_text("\n".join(TEXTS))
    assert rows(cli("predict", trained, "--input", "texts")) == found
    for words in ((), ("--input", "-")):
        with standard_input("\r\n".join(TEXTS).encode(), tmp_path):
            assert rows(cli("predict", trained, *words)) == found


@pytest.mark.parametrize(
    "text",
    [
        "leave 🛫 New York 👩‍✈️ for Oslo 🇳🇴 please",
        "le\u0301ave New York for O\u0308slo please",
        "ｌｅａｖｅ　Ｎｅｗ　Ｙｏｒｋ　ｆｏｒ　Oslo　please",
        "\tleave\u00a0New York for Oslo\u2028please\u200b",
        "離開台北 for Oslo",
        'leave "New York" for \\Oslo\x07 [please](x)',
    ],
)
def test_offsets_index_the_input_text(text, trained, cli):
    (row,) = rows(cli("predict", trained, text))
    assert row["text"] == text
    for slot in row["slots"]:
        assert text[slot["start"] : slot["end"]] == slot["value"] != ""


def test_predictions_keep_the_order_of_the_input(trained, cli):
    texts = [f"leave {'very ' * (number % 7)}Oslo {number}" for number in range(3 * CHUNK + 5)]
    Path("texts").write_text("".join(f"{text}\n" for text in texts))
    assert [row["text"] for row in rows(cli("predict", trained, "--input", "texts"))] == texts


def test_every_format_can_be_read_back(trained, cli):
    from slotfill.data.corpus import read_sentences

    texts = [text for text in TEXTS if text]
    known = Predictor.load(trained).predict(texts)
    for format in ("jsonl", "conll", "brackets"):
        result = cli("predict", trained, *texts, "--format", format)
        assert (result.code, result.err) == (0, "")
        Path(f"out.{format}").write_text(result.out, encoding="utf-8")
        found = read_sentences(Path(f"out.{format}"), labelled=True).sentences
        assert [
            [(slot.name, sentence.value(slot)) for slot in sentence.slots] for sentence in found
        ] == [[(slot.name, slot.value) for slot in prediction.slots] for prediction in known]
    # Without a terminal there are no colours, and the slots are marked all the same.
    assert (
        cli("predict", trained, *texts, "--format", "text").out
        == cli("predict", trained, *texts, "--format", "brackets").out
    )


def test_label_studio_gets_predictions_with_scores_and_its_tasks_are_predicted(trained, cli):
    texts = [text for text in TEXTS if text]
    Path("new.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    result = cli("predict", trained, "--input", "new.txt", "--format", "label_studio")
    expected = rows(cli("predict", trained, *texts))
    for task, row in zip(json.loads(result.out), expected, strict=True):
        (prediction,) = task["predictions"]
        assert (task["data"]["text"], prediction["score"]) == (row["text"], row["confidence"])
        assert [
            (*item["value"]["labels"], item["value"]["start"], item["value"]["end"], item["score"])
            for item in prediction["result"]
            if item["type"] == "labels"
        ] == [(s["name"], s["start"], s["end"], s["confidence"]) for s in row["slots"]]
    Path("tasks.json").write_text(result.out, encoding="utf-8")
    assert rows(cli("predict", trained, "--input", "tasks.json")) == expected
    result = cli("predict", trained, "a", "--format", "label_studio", "--no-confidence")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "slotfill: --no-confidence: label_studio has the score of each prediction; omit it\n"
    )


ROW = {"text": "leave Oslo", "id": "a7", "when": {"day": [1, None]}}
TASK = {"id": 17, "data": {"text": "leave Oslo", "user": "ann"}, "meta": {"batch": 2}}
PRODIGY = {
    "text": "leave Oslo",
    "tokens": [{"text": "leave", "id": 0}],
    "meta": {"source": "web"},
    "_task_hash": 12,
    "answer": "accept",
}
MASSIVE = {"utt": "leave Oslo", "annot_utt": "leave Oslo", "intent": "a", "id": "3", "worker_id": 1}
EXTRA = {
    "a.jsonl": (json.dumps(ROW), {"id": "a7", "when": {"day": [1, None]}}),
    "a.json": (json.dumps([TASK]), {key: TASK[key] for key in ("id", "meta", "data")}),
    "b.json": (json.dumps([PRODIGY]), {"meta": {"source": "web"}, "_task_hash": 12}),
    "b.jsonl": (json.dumps(MASSIVE), {"id": "3", "worker_id": 1}),
    "a.csv": ("Id,text,User name\n7,leave Oslo,\n", {"Id": "7", "User name": ""}),
    "a.conll": ("# id 8\nleave\tO\nOslo\tO\n", {"comments": ["# id 8"]}),
}


@pytest.mark.parametrize("name", EXTRA)
def test_what_else_a_file_has_for_a_text_is_kept(name, trained, cli):
    content, extra = EXTRA[name]
    Path(name).write_text(content)
    (row,) = rows(cli("predict", trained, "--input", name))
    assert row.items() >= extra.items()
    assert {k: v for k, v in row.items() if k not in extra} == rows(
        cli("predict", trained, "leave Oslo")
    )[0]
    result = cli("predict", trained, "--input", name, "--format", "conll")
    names = ", ".join(extra)
    assert result.err == (
        f"note: the output has no place for {names} of the input; --format jsonl has\n"
    )
    if name[0] == "a":  # Of each suffix once.
        shared = cli("predict", trained, "--input", name, "--format", "conll", "--jobs", 2)
        assert (result.code, shared.out, shared.err) == (0, result.out, result.err)


def test_other_columns_of_parquet_are_kept(trained, cli):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"text": ["leave Oslo"], "id": [7], "day": [date(2026, 11, 2)]})
    parquet.write_table(table, "a.parquet")
    (row,) = rows(cli("predict", trained, "--input", "a.parquet"))
    assert (row["text"], row["id"], row["day"]) == ("leave Oslo", 7, "2026-11-02")


def test_predictions_for_label_studio_are_its_tasks_with_their_ids_and_data(trained, cli):
    tasks = [TASK, {"id": 18, "data": {"utterance": "🛫 leave Lima"}, "annotations": []}]
    Path("a.json").write_text(json.dumps(tasks))
    result = cli("predict", trained, "--input", "a.json", "--format", "label_studio")
    found = json.loads(result.out)
    for old, new in zip(tasks, found, strict=True):
        (prediction,) = new.pop("predictions")
        assert new == {key: value for key, value in old.items() if key != "annotations"}
        assert 0 < prediction["score"] <= 1
    assert prediction["result"][0]["value"]["start"] == 8
    Path("a.csv").write_text("id,text\n7,leave Oslo\n")
    result = cli("predict", trained, "--input", "a.csv", "--format", "label_studio")
    assert json.loads(result.out)[0]["data"] == {"text": "leave Oslo", "id": "7"}

    Path("b.json").write_text('[{"data": {"a": "leave Oslo", "b": "x"}}]')
    result = cli("predict", trained, "--input", "b.json")
    assert "{name: label_studio, text: KEY}, or --from or --input-format" in result.err
    words = ("--input", "b.json", "--input-format", "{name: label_studio, text: a}")
    (row,) = rows(cli("predict", trained, *words))
    assert (row["text"], row["data"]) == ("leave Oslo", {"a": "leave Oslo", "b": "x"})


@pytest.mark.parametrize("format", FORMATS.names())
def test_a_format_that_cannot_be_printed_prints_nothing(format, trained, cli):
    result = cli("predict", trained, "leave Oslo", "--format", format)
    if result.code:
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    else:
        assert result.out.strip()


def test_sentences_that_a_format_cannot_hold_are_left_out_with_a_note(
    trained, cli, monkeypatch, tmp_path
):
    result = cli("predict", trained, "leave Oslo", "--format", "rasa")
    problem = "needs intents, which this run does not predict; write jsonl or brackets"
    assert (result.code, result.err) == (2, f"slotfill: --format rasa: {problem}\n")

    def render(self, sentence, **_):
        if "Oslo" in sentence.text:
            raise DataError(f"{sentence.location}: no Oslo")
        return sentence.text

    monkeypatch.setattr(FORMATS.part("label_studio").load(), "render", render)
    Path("texts").write_text("Oslo\nLima\nOslo\nParis\n" + "Oslo\n" * 20)
    result = cli("predict", trained, "--input", "texts", "--format", "label_studio")
    assert (result.code, result.out) == (0, "[\nLima,\nParis\n]\n")
    notes = result.err.splitlines()
    assert notes[:2] == [f"note: texts:{line}: no Oslo (left out)" for line in (1, 3)]
    assert notes[10:] == ["note: and 12 more"]


def test_an_array_is_closed_after_an_error_in_the_input(trained, cli):
    Path("texts").write_bytes(b"leave Oslo\n\xff\n")
    result = cli("predict", trained, "--input", "texts", "--format", "label_studio")
    assert result.code == 3 and len(json.loads(result.out)) == 1
    Path("texts").write_bytes(b"\xff\n")
    result = cli("predict", trained, "--input", "texts", "--format", "label_studio")
    assert (result.code, result.out) == (3, "")


def test_confidences_are_computed_only_for_formats_that_have_them(
    trained, cli, monkeypatch, tmp_path
):
    computed, confidences = [], TaggedBatch.confidences
    monkeypatch.setattr(
        TaggedBatch,
        "confidences",
        lambda *arguments: computed.append(1) or confidences(*arguments),
    )
    for format, expected in (("jsonl", True), ("conll", False), ("brackets", False)):
        for options, needed in (((), expected), (("--threshold", "0.1"), True)):
            computed.clear()
            assert cli("predict", trained, TEXTS[0], "--format", format, *options).code == 0
            assert bool(computed) is needed


def test_an_empty_line_has_a_result_in_every_format(trained, cli):
    assert (
        cli("predict", trained, "hello", "", "there", "--format", "brackets").out
        == "hello\n\nthere\n"
    )
    assert (
        cli("predict", trained, "hello", "", "there", "--format", "text").out == "hello\n\nthere\n"
    )
    assert (
        len(cli("predict", trained, "hello", "", "there", "--format", "jsonl").out.splitlines())
        == 3
    )


def test_no_input_is_no_output(trained, cli, tmp_path):
    with standard_input(b"", tmp_path):
        result = cli("predict", trained)
    assert (result.code, result.out, result.err) == (0, "", "")


def test_a_closed_standard_input_is_one_line(trained, cli, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    result = cli("predict", trained)
    assert (result.code, result.err) == (
        2,
        "slotfill: standard input is closed; give sentences or --input FILE\n",
    )


def test_invalid_utf_8_stops_after_the_results_before_it(trained, cli, tmp_path):
    with standard_input(b"arrive Lima\n\nhello \xff\nthere\n", tmp_path):
        result = cli("predict", trained)
    assert [json.loads(line)["text"] for line in result.out.splitlines()] == ["arrive Lima", ""]
    assert result.err == (
        "slotfill: standard input:3: not UTF-8 (byte 0xff at column 7); "
        "save it as UTF-8, e.g. iconv -t utf-8 -f latin1\n"
    )
    assert result.code == 3


def test_every_wrong_use_is_one_line(trained, cli):
    Path("texts.txt").write_text("hello\n")
    for words, code, message in (
        ([trained, "--input", "text.txt"], 2, "text.txt: no such file; did you mean 'texts.txt'?"),
        ([trained, "--input", trained], 3, f"{trained}: a folder where a file is expected"),
        ([trained, "hello", "--input", "texts.txt"], 2, "give sentences or --input, not both"),
        (
            [trained, "leave \udcff"],
            2,
            "'leave \\udcff': not UTF-8; give text in another encoding as a file",
        ),
        (["nope", "hello"], 2, "no run folder nope (allowed: none)"),
    ):
        result = cli("predict", *words)
        assert (result.code, result.out) == (code, "")
        assert result.err == f"slotfill: {message}\n"


def test_results_are_streamed_and_ctrl_c_ends_in_one_line(trained):
    process = start("predict", trained)
    for number in range(3):
        process.stdin.write(f"arrive Oslo {number}\n".encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == f"arrive Oslo {number}"
    process.send_signal(2)  # while it waits for a line
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"slotfill: stopped\n")


def test_a_closed_pipe_ends_predict_silently(trained):
    process = start("predict", trained, stdin=subprocess.PIPE)
    process.stdin.write(b"arrive Oslo\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    # The input continues: `predict` notices the closed pipe at its next result.
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()


def test_a_terminal_gets_colours_and_a_prompt(trained, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    typed = b"leave New York for Oslo [please]\n\x04"
    code, output = run_on_terminal("predict", trained, typed=typed, COLUMNS="30")
    assert code == 0
    assert "Enter one sentence per line; Ctrl-D ends.\r\n" in output
    assert "leave \x1b[" in output and "New York" in output and " origin" in output
    assert " [please]" in output, "long lines are not cut"


@pytest.mark.parametrize("texts", ["hello", b"hello", [None], [["fly", "to"]], ["hello", 3]])
def test_predict_takes_a_list_of_texts(texts, trained):
    tagger = Predictor.load(trained)
    assert tagger.predict([]) == []
    with pytest.raises(TypeError, match=r"^predict takes a list of texts, not "):
        tagger.predict(texts)


def test_sentences_on_the_command_line_start_no_thread(trained, cli, monkeypatch):
    def fail(self):
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert rows(cli("predict", trained, *TEXTS))[0]["slots"]


@pytest.mark.parametrize("texts", [[""], ["", "   "], ["", "leave Oslo", ""]])
def test_texts_without_tokens_have_no_slots(texts, trained, cli):
    assert [row["text"] for row in rows(cli("predict", trained, *texts))] == texts
    assert all(
        not found.slots
        for found in Predictor.load(trained).predict([text for text in texts if not text.strip()])
    )


def test_jobs_keep_the_order_of_the_input(trained, cli):
    texts = [
        f"leave {city} for Oslo please {number}"
        for number in range(1500)
        for city in ("New York", "Lima", "")
    ]
    Path("texts").write_text("\n".join(texts), encoding="utf-8")
    alone = cli("predict", trained, "--input", "texts")
    shared = cli("predict", trained, "--input", "texts", "--jobs", "2")
    assert (alone.code, alone.err, shared.code, shared.err) == (0, "", 0, "")
    assert alone.out == shared.out and alone.out.count("\n") == len(texts)


def test_jobs_report_invalid_input(trained, cli):
    Path("texts").write_bytes(b"leave Oslo\n\xff\n")
    result = cli("predict", trained, "--input", "texts", "--jobs", "2")
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert result.err.startswith("slotfill: texts:2: not UTF-8")
    assert json.loads(result.out)["text"] == "leave Oslo"


def test_jobs_run_on_the_cpu(trained, cli):
    result = cli("predict", trained, "x", "--jobs", "2", "--device", "cuda")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("slotfill: --jobs: several processes compute on the CPU")


def children(process):
    """The ids of the processes that `process` started and that predict."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rpartition(")")[2].split()[1]
            command = path.with_name("cmdline").read_text()
        except OSError:  # It has ended.
            continue
        if parent == str(process.pid) and "spawn_main" in command:
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def parallel(trained):
    """`predict --jobs 2` with both processes at work, and their ids."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are listed by /proc")
    with start("predict", trained, "--jobs", "2") as process:
        process.stdin.write(b"arrive Oslo\n" * 3 * CHUNK)
        process.stdin.flush()
        process.stdout.readline()
        yield process, children(process)
        process.kill()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_processes_end_with_their_parent(name, parallel):
    process, workers = parallel
    assert workers
    process.send_signal(getattr(signal, name))
    process.wait(30)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if name == "SIGTERM":
        assert (process.returncode, process.stderr.read()) == (128 + signal.SIGTERM, b"")


def test_a_killed_process_is_one_line(parallel):
    process, workers = parallel
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(b"arrive Oslo\n" * CHUNK, timeout=60)
    assert process.returncode == 1
    assert err == b"slotfill: a prediction process was killed; is there enough memory?\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"text": "leave Oslo"}\n{"text": "leave Lima", "label": [[6, 10, "x"]]}\n'),
        ("a.conll", b"leave\tO\nOslo\tB-origin\n\nleave\tO\nLima\tB-origin\n"),
        ("a.brackets", b"leave [Oslo](origin)\nleave Lima\n"),
        ("a.txt", b"leave Oslo\rleave Lima\r"),
    ],
)
def test_the_texts_of_every_format_are_predicted(name, content, trained, cli, tmp_path):
    Path(name).write_bytes(content)
    found = rows(cli("predict", trained, "--input", name))
    assert [row["text"] for row in found] == ["leave Oslo", "leave Lima"]
    Path("x").write_bytes(content)
    if name != "a.txt":
        format = name.partition(".")[2]
        again = cli("predict", trained, "--input", "x", "--input-format", format)
        assert [{**row, "label": 0} for row in rows(again)] == [
            {**row, "label": 0} for row in found
        ]
        with standard_input(content, tmp_path):
            assert rows(cli("predict", trained, "--input-format", format)) == rows(again)


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("conll", "-DOCSTART- O\n\nleave O\nOslo B-city\n"),
        ("token_tag", "leave:O Oslo:B-city\ngo:O\n"),
        ("csv", "text,slots\nleave Oslo,[]\n"),
    ],
)
def test_other_files_that_are_named_as_text_are_not_tagged_as_text(format, content, trained, cli):
    Path("a.txt").write_text(content)
    result = cli("predict", trained, "--input", "a.txt")
    assert (result.code, result.out) == (3, "")
    hint = f"add --input-format {format}, or --input-format text if it is text"
    assert result.err == f"slotfill: a.txt: {format}, not text; {hint}\n"
    assert rows(cli("predict", trained, "--input", "a.txt", "--input-format", format))[0]["slots"]
    texts = rows(cli("predict", trained, "--input", "a.txt", "--input-format", "text"))
    assert len(texts) == content.count("\n")
    for text in ("vitamin B-12\n", "see [Oslo](https://example.org)\nnote: this\n"):
        Path("a.txt").write_text(text)
        assert len(rows(cli("predict", trained, "--input", "a.txt"))) == text.count("\n")


def test_a_pipe_is_read_once(trained, cli, tmp_path):
    os.mkfifo("pipe")
    lines = [f"leave Oslo {number}" for number in range(1000)]
    with ThreadPoolExecutor(1) as writer:
        writer.submit(Path("pipe").write_text, "\n".join(lines))
        found = rows(cli("predict", trained, "--input", "pipe"))
    assert [row["text"] for row in found] == lines
    result = cli("predict", trained, "--input", "pipe", "--input-format", "parquet")
    assert result == Result(
        3, "", "slotfill: pipe: not a regular file; copy its content into one\n"
    )


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("jsonl", '{"text": "leave Oslo"}\n'),
        ("rasa", 'version: "3.1"\nnlu:\n- intent: go\n  examples: |\n    - leave Oslo\n'),
        ("snips", "type: intent\nname: go\nutterances:\n- leave Oslo\n"),
        ("label_studio", '[{"data": {"text": "leave Oslo"}}]'),
        (
            "clu",
            '{"projectKind": "Conversation", "assets": {"projectKind": "Conversation",'
            ' "utterances": [{"text": "leave Oslo"}]}}',
        ),
    ],
)
def test_a_pipe_of_any_format_is_read(format, content, trained, cli, tmp_path):
    """Also of formats that open a file more than once."""
    words = ("predict", trained, "--input-format", format)
    Path("file").write_text(content)
    (row,) = found = rows(cli(*words, "--input", "file"))
    assert row["text"] == "leave Oslo"
    with standard_input(content.encode(), tmp_path):
        assert rows(cli(*words)) == found
    os.mkfifo("pipe")
    with ThreadPoolExecutor(1) as writer:
        writer.submit(Path("pipe").write_text, content)
        assert rows(cli(*words, "--input", "pipe")) == found


def test_json_lines_without_their_format_are_not_tagged_as_text(trained, cli, tmp_path):
    content = '{"text": "leave Oslo"}\n'
    Path("a.txt").write_text(content)
    hint = "a JSON object, not text; add --input-format jsonl, or --input-format text if it is text"
    for name, words in {"standard input": (), "a.txt": ("--input", "a.txt")}.items():
        with standard_input(content.encode(), tmp_path):
            result = cli("predict", trained, *words)
            assert (result.code, result.out) == (3, "")
            assert result.err == f"slotfill: {name}:1: {hint}\n"
        with standard_input(content.encode(), tmp_path):
            (row,) = rows(cli("predict", trained, *words, "--input-format", "text"))
            assert row["text"] == content.strip()


def test_broken_json_on_standard_input_is_one_line(trained, cli, tmp_path):
    with standard_input(b'{"text": "leave Oslo"}\n{"text": 3}\n', tmp_path):
        result = cli("predict", trained, "--input-format", "jsonl")
    assert [json.loads(line)["text"] for line in result.out.splitlines()] == ["leave Oslo"]
    assert result.err.startswith('slotfill: standard input:2: expected a text as "text"')


def test_lines_that_are_not_utf_8_are_replaced_or_skipped_on_demand(trained, cli):
    Path("texts").write_bytes(b"leave Oslo\nto \xff\nleave Lima\n")
    texts = {"replace": ["leave Oslo", "to \ufffd", "leave Lima"]}
    texts["skip"] = texts["replace"][::2]
    for errors, expected in texts.items():
        result = cli("predict", trained, "--input", "texts", "--encoding-errors", errors)
        assert [json.loads(line)["text"] for line in result.out.splitlines()] == expected
        assert result.code == 0


def test_a_text_without_words_is_not_like_those_of_training(trained, cli):
    for text in ("", "  "):
        row = json.loads(cli("predict", trained, text).out)
        assert (row["slots"], row["in_domain"]) == ([], 0)


def test_an_intent_below_its_threshold_keeps_its_probability():
    sentence = Sentence.from_tokens(["play", "jazz"], [])
    sentence.pretokenized, sentence.intent_left_out = False, True
    sentence.confidence = Confidence([], 0.9, 0.4, (("music", 0.4),), 0.8)
    row = json.loads(FORMATS.build("jsonl").render(sentence, scheme="iob2"))
    assert (row["intent"], row["intent_confidence"]) == (None, 0.4)


def test_half_of_a_character_is_refused_as_on_the_command_line(trained):
    with pytest.raises(DataError, match=r"a text has half of a character, '\\udcff' at 6"):
        Predictor.load(trained).predict(["leave \udcff"])


def test_text_is_among_the_formats_of_predict(trained, cli):
    message = cli("predict", trained, "leave Oslo", "--format", "txet").err
    assert message.startswith("slotfill: unknown format 'txet'; did you mean 'text'? (allowed: ")


@pytest.mark.parametrize("date", ["tomorrow", "27.11.2026", "2026-11-27T25:00", ""])
def test_now_is_a_date(date, trained, cli):
    result = cli("predict", trained, "leave Oslo", "--now", date)
    assert (result.code, result.out) == (2, "")
    expected = "expected a date, as 2026-11-27 or 2026-11-27T09:30"
    assert result.err == f"slotfill: --now {date}: {expected}\n"


@pytest.mark.parametrize("module", ["slotfill.cli.main", "onnxruntime"])
def test_ctrl_c_during_an_import_ends_in_one_line(module, trained):
    """As a module that is interrupted, and as one in C that reports it as a failed import."""
    code = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}:\n"
        "            try: raise KeyboardInterrupt\n"
        "            except KeyboardInterrupt:\n"
        "                if name == 'onnxruntime': raise ImportError('initialization failed')\n"
        "                raise\n"
        "sys.meta_path.insert(0, Stop())\n"
        f"sys.argv = ['slotfill', 'predict', {str(trained)!r}, 'leave Oslo']\n"
        "from slotfill.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "slotfill: stopped\n")


@pytest.mark.parametrize("format", ["brackets", "conll"])
def test_a_nul_is_not_written_to_text(format, desk, cli, trained):
    rows = ['{"text": "a\\u0000b Oslo"}', '{"text": "leave Oslo"}']
    Path("a.jsonl").write_text("\n".join(rows))
    words = ["predict", trained, "--input", "a.jsonl", "--input-format", "jsonl"]
    result = cli(*words, "--format", format)
    assert "\0" not in result.out and "Oslo" in result.out
    assert "a.jsonl:1: a NUL in the sentence; --format jsonl holds it (left out)" in result.err
    assert json.loads(cli(*words).out.split("\n")[0])["text"] == "a\0b Oslo"
