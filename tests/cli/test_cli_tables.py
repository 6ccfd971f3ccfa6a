"""The command `predict --text-column`: tables in, tables with more columns out."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
from conftest import start

from slotfill.data.sentence import MAX_TOKENS
from slotfill.data.tables import open_table
from slotfill.errors import DataError
from slotfill.runs.predict import Predictor

TEXTS = ["leave New York for Oslo please", None, "arrive Lima", 'a; "b", c', "zzz"]
CSV, JSONL, PARQUET = "a.csv", "a.jsonl", "a.parquet"


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_table(path, texts=TEXTS, column="utterance"):
    """Write a table of texts with an identifier before and something nested or empty behind."""
    rows = [{"id": i, column: text, "other": [i, None]} for i, text in enumerate(texts)]
    path = Path(path)
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        types = {"id": pa.int32(), column: pa.string(), "other": pa.list_(pa.int16())}
        table = pa.Table.from_pylist(rows, schema=pa.schema(types.items()))
        parquet.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows[0] if rows else ["id", column, "other"])
            writer.writerows(row.values() for row in rows)
    return path


def read_table(path):
    """Return the rows of a table, those of CSV with None for an empty text and slots as a list."""
    path = Path(path)
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return list(map(json.loads, path.read_text().splitlines()))
    with path.open(newline="") as file:
        return [
            row | {key: json.loads(row[key]) for key in row if key not in ("utterance", "other")}
            for row in csv.DictReader(file)
        ]


def written(folder):
    """The names of the files in a folder, without the hidden one that says what predicted them."""
    return sorted(path.name for path in Path(folder).iterdir() if path.name != ".predict.json")


def predict(cli, trained, *words):
    return cli("predict", trained, "--text-column", "utterance", *words)


@pytest.mark.parametrize("name", [CSV, JSONL, PARQUET])
def test_rows_keep_their_columns_and_get_the_predictions(name, trained, cli):
    before = read_table(write_table(name))
    result = predict(cli, trained, "--input", name, "--out", "b" + name)
    assert (result.code, result.err, result.out) == (0, "", f"b{name}: 5 rows\n")
    after = read_table("b" + name)
    expected = Predictor.load(trained).predict([text or "" for text in TEXTS])
    assert len(after) == len(before) == len(expected)
    for old, new, prediction in zip(before, after, expected, strict=True):
        assert list(new) == [*old, "slots", "confidence", "in_domain"]
        assert {key: new[key] for key in old} == old
        slots = [slot._asdict() for slot in prediction.slots]
        for found, slot in zip(new["slots"], slots, strict=True):
            assert found.pop("confidence") == pytest.approx(slot.pop("confidence"), abs=1e-4)
            assert found == {key: value for key, value in slot.items() if value is not None}
        assert new["confidence"] == pytest.approx(prediction.confidence, abs=1e-4)
    assert after[1]["slots"] == []
    assert [path.name for path in Path().iterdir() if path.name.endswith(".new")] == []


def test_a_pattern_is_written_to_a_folder_and_resumed(trained, cli):
    for name in ("x.csv", "y.csv"):
        Path("in").mkdir(exist_ok=True)
        write_table(f"in/{name}")
    words = ("--input", "in/*.csv", "--out", "out/tagged", "--no-confidence")
    assert predict(cli, trained, *words).code == 0
    kept = Path("out/tagged/x.csv").read_bytes()
    assert written("out/tagged") == ["x.csv", "y.csv"]
    assert list(read_table("out/tagged/y.csv")[0]) == ["id", "utterance", "other", "slots"]

    result = predict(cli, trained, *words)
    assert result.code == 2
    assert result.err.startswith("slotfill: out/tagged/x.csv: exists, and nothing is overwritten;")
    Path("out/tagged/y.csv").unlink()
    Path("out/tagged/x.csv").write_bytes(kept + b"mine")
    result = predict(cli, trained, *words, "--resume")
    assert result.out == "out/tagged/x.csv: is written, skipped\nout/tagged/y.csv: 5 rows\n"
    assert Path("out/tagged/x.csv").read_bytes() == kept + b"mine"


@pytest.mark.parametrize(
    ("out", "note", "more"),
    [("out", "out/.predict.json", ()), ("b.csv", ".b.csv.json", ("--shard", "1/2"))],
)
def test_files_of_another_run_or_with_other_options_are_not_resumed(out, note, more, trained, cli):
    write_table("a.csv")
    words = ("--text-column", "utterance", "--input", "a.csv", "--out", out, *more, "--resume")
    target = "out/a.csv" if out == "out" else "b-00000-of-00002.csv"
    assert cli("predict", trained, *words, "--threshold", 0.5).out.startswith(f"{target}: ")
    assert cli("pack", trained, "--out", "same.zip").code == 0
    skipped = (0, f"{target}: is written, skipped\n")
    for run, options in ((trained, ("--now", "2026-11-27")), ("same.zip", ("--jobs", 2))):
        result = cli("predict", run, *words, "--threshold", 0.5, *options)
        assert (result.code, result.out) == skipped
    shutil.copytree(trained, "other")
    assert cli("export", "other", "--quantize", "int8").code == 0
    refused = [
        (trained, (), "the files there are predicted with threshold 0.5, not 0.0"),
        (trained, ("--threshold", 0.5, "--no-confidence"), "with confidence true, not false"),
        ("other", ("--threshold", 0.5), f"the files there are of another run, {trained}"),
    ]
    for run, options, message in refused:
        result = cli("predict", run, *words, *options)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert result.err.startswith(f"slotfill: {note}: the files") and message in result.err
    for content in ("{", "[1]", "{}", None):
        Path(note).unlink()
        os.mkfifo(note) if content is None else Path(note).write_text(content)
        damaged = f"slotfill: {note}: damaged or edited; choose another --out\n"
        assert cli("predict", trained, *words).err == damaged
    Path(note).unlink()
    assert f"what has predicted {target} is not known" in cli("predict", trained, *words).err
    Path(target).unlink()
    assert cli("predict", "other", *words).out.startswith(f"{target}: ")


@pytest.mark.parametrize("more", [(), ("--jobs", "2")])
def test_other_files_are_predicted_beside_damaged_ones(more, trained, cli):
    damaged = {
        "b.jsonl": '{"utterance": "leave Oslo"}\n{"utterance"\n',
        "c.csv": "utterance,id\nleave Oslo\n",
        "d.csv": "text\nleave Oslo\n",
    }
    for name, content in damaged.items():
        Path(name).write_text(content)
    for name in ("a.csv", "e.jsonl"):
        write_table(name)
    words = ("--input", "*.*", "--out", "out", "--resume", *more)
    result = predict(cli, trained, *words)
    assert (result.code, result.out) == (3, "out/a.csv: 5 rows\nout/e.jsonl: 5 rows\n")
    assert [line.split(":")[1] for line in result.err.splitlines()] == [
        f" {name}" for name in damaged
    ]
    assert written("out") == ["a.csv", "e.jsonl"]
    for name in damaged:
        write_table(name)
    assert predict(cli, trained, *words).code == 0
    assert len(written("out")) == 5


def test_a_killed_process_leaves_no_file_and_is_resumed(trained, cli):
    write_table("a.csv")
    write_table("b.csv", ["leave Oslo"] * 100_000)
    words = ("predict", trained, "--text-column", "utterance", "--input", "*.csv", "--out", "out")
    with start(*words) as process:
        deadline = time.monotonic() + 60
        while not list(Path().glob("out/b.csv*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert [path.name for path in Path("out").iterdir() if path.suffix == ".csv"] == ["a.csv"]
    write_table("b.csv")
    result = predict(cli, trained, *words[4:], "--resume")
    assert result.out == "out/a.csv: is written, skipped\nout/b.csv: 5 rows\n"


@pytest.mark.parametrize("name", [CSV, JSONL, PARQUET])
def test_shards_of_a_file_are_its_rows_in_order(name, trained, cli):
    write_table(name, [f"leave Oslo {number}" for number in range(2503)])
    assert predict(cli, trained, "--input", name, "--out", "b" + name).code == 0
    stem, suffix = Path("b" + name).stem, Path(name).suffix
    rows = []
    for shard in range(3):
        words = ("--input", name, "--out", "b" + name, "--shard", f"{shard + 1}/3")
        assert predict(cli, trained, *words).code == 0
        part = read_table(f"{stem}-{shard:05}-of-00003{suffix}")
        assert len(part) == (834, 834, 835)[shard]
        rows += part
    assert rows == read_table("b" + name)


def test_shards_of_several_files_are_files(trained, cli):
    names = [f"{number}.jsonl" for number in range(5)]
    for name in names:
        write_table(name)
    found = []
    for shard in (1, 2):
        words = ("--input", "?.jsonl", "--out", f"out{shard}", "--shard", f"{shard}/2")
        assert predict(cli, trained, *words).code == 0
        found.append(written(f"out{shard}"))
    assert found == [names[0::2], names[1::2]]
    result = predict(cli, trained, "--input", "?.jsonl", "--out", "none", "--shard", "6/6")
    assert (result.code, Path("none").exists()) == (0, False)


def test_several_processes_write_the_same_files(trained, cli):
    for name in (CSV, JSONL):
        write_table(name, ["arrive Lima", "leave Oslo"] * 1500)
    for out, words in {"one": (), "two": ("--jobs", 2)}.items():
        files = ("--input", CSV, "--input", JSONL, "--out", out)
        assert predict(cli, trained, *files, *words).code == 0
    for name in (CSV, JSONL):
        assert Path("two", name).read_bytes() == Path("one", name).read_bytes()


def test_keys_and_numbers_of_json_lines_stay_as_they_are_written(trained, cli):
    line = '{"n": 1.0e+2,"utterance" :"arrive Lima", "s": "\\u00e9"'
    Path("a.jsonl").write_text(f"{line} }}\r\n\n{{}}\n")
    words = ("--input", "a.jsonl", "--out", "b.jsonl", "--no-confidence")
    assert predict(cli, trained, *words).code == 0
    slot = '{"name": "destination", "value": "Lima", "start": 7, "end": 11}'
    assert Path("b.jsonl").read_text() == f'{line} , "slots": [{slot}]}}\n{{"slots": []}}\n'


@pytest.mark.parametrize("name", [CSV, JSONL, PARQUET])
def test_a_table_without_rows_is_written_without_rows(name, trained, cli):
    write_table(name, [])
    result = predict(cli, trained, "--input", name, "--out", "b" + name)
    assert (result.code, result.out) == (0, f"b{name}: 0 rows\n")
    assert read_table("b" + name) == []


def test_an_empty_file_is_named_and_the_others_are_predicted(trained, cli):
    write_table("b.csv")
    for content in ("", "\n\n"):
        Path("a.csv").write_text(content)
        result = predict(cli, trained, "--input", "*.csv", "--out", "out")
        assert result.code == 3
        assert result.err.startswith("slotfill: a.csv: no header; the file is empty\n")
        assert written("out") == ["b.csv"]
        (Path("out") / "b.csv").unlink()


@pytest.mark.parametrize("name", [CSV, JSONL, PARQUET])
def test_a_wrong_column_is_named_with_the_nearest(name, trained, cli):
    write_table(name, column="utterances")
    result = predict(cli, trained, "--input", name, "--out", "b" + name)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "no column 'utterance'; did you mean 'utterances'? (allowed: id, other, " in result.err
    assert not Path("b" + name).exists()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("out", ["out", "b"])
def test_after_a_wrong_column_the_right_one_can_be_given(out, name, trained, cli):
    write_table(name)
    words = ["--input", name, "--out", out]
    if out == "b":
        words = ["--input", name, "--out", f"b{Path(name).suffix}", "--shard", "1/2"]
    assert predict(cli, trained, *words, "--text-column", "text").code == 2
    assert not list(Path().glob("**/.*.json"))
    assert predict(cli, trained, *words, "--text-column", "utterance").code == 0
    assert len(list(Path().glob("**/.*.json"))) == 1


def test_rows_of_json_lines_without_the_key_have_no_text(trained, cli):
    texts = "leave Oslo", None, "leave Oslo"
    lines = [json.dumps({"id": 1} | ({"utterance": text} if text else {})) for text in texts]
    for order in ([0, 1, 2], [1, 0, 2]):
        Path("a.jsonl").write_text("\n".join(lines[index] for index in order))
        assert predict(cli, trained, "--input", "a.jsonl", "--out", "b.jsonl").code == 0
        rows = [json.loads(line) for line in Path("b.jsonl").read_text().splitlines()]
        assert [len(row["slots"]) for row in rows] == [1 if texts[i] else 0 for i in order]
        Path("b.jsonl").unlink()


@pytest.mark.parametrize("name", [CSV, JSONL, PARQUET])
def test_columns_that_are_there_already_are_not_replaced(name, trained, cli):
    write_table(name)
    assert predict(cli, trained, "--input", name, "--out", "b" + name).code == 0
    result = predict(cli, trained, "--input", "b" + name, "--out", "c" + name)
    assert result.code == 3
    assert "already has 'slots' and 'confidence' and 'in_domain', which predict" in result.err
    assert not Path("c" + name).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"utterance": "a"}\n{"utterance": 3}\n', 'a.jsonl:2: "utterance" is 3, not a text'),
        ('{"utterance": "a"}\n[1]\n', "a.jsonl:2: expected a JSON object, found [1]"),
        ('{"utterance": "a"}\n{"utterance"\n', "a.jsonl:2: not JSON: "),
        ('{"utterance": "a"}\n{"id": 1, "slots": 2}\n', "a.jsonl:2: already has 'slots'"),
        (f'{{"utterance": "{"a " * 600_000}"}}\n', "a.jsonl: row 1: a sentence of 1,200,000 char"),
    ],
)
def test_bad_rows_are_named_and_nothing_is_written(content, message, trained, cli):
    Path("a.jsonl").write_text(content)
    result = predict(cli, trained, "--input", "a.jsonl", "--out", "b.jsonl")
    assert result.code == 3
    assert result.err.startswith(f"slotfill: {message}")
    assert [path.name for path in Path().iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("name", "begin", "message"),
    [
        (CSV, 'utterance,b\nx,y\n"', "a.csv:3: a row of more than 10,000,000 characters, perhaps"),
        ("a.tsv", 'utterance\tb\n"', "a.tsv:2: a row of more than 10,000,000 characters, perhaps"),
        (JSONL, '{"utterance": "', "a.jsonl:1: a line of more than 10,000,000 characters; give"),
    ],
)
def test_a_row_that_does_not_end_is_not_kept_in_memory(name, begin, message):
    Path(name).write_text(begin + "a" * 100_000_000)
    tracemalloc.start()
    with pytest.raises(DataError) as raised:
        list(open_table(Path(name), "utterance", {}).read())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(raised.value).startswith(message) and peak < 100_000_000


def test_long_rows_with_line_ends_are_read():
    text = f"{'a b ' * 2000}\n" * 1000
    with Path(CSV).open("w", newline="") as file:
        csv.writer(file).writerows([["utterance", "b"], [text, 1], [text, 2], ["c", 3]])
    read = [texts for texts, _ in open_table(Path(CSV), "utterance", {}).read()]
    assert read == [[text, text, "c"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--input a.csv", "--text-column needs --input FILE and --out PATH"),
        ("--input a.csv --out b.csv --format conll", "--text-column keeps the format of each"),
        ("--input a.csv --out b.jsonl", "--out b.jsonl: must end in .csv, as the input"),
        ("--input *.csv --out b.csv", "--out b.csv: one file, but there are 2 of input"),
        ("--input a.csv --out .", "a.csv: is read by this command"),
        ("--input a.csv --input in/a.csv --out b", "b/a.csv: a.csv and in/a.csv would both"),
        ("--input a.csv --out b/c.csv", "b/c.csv: there is no such folder to write it in"),
        ("--input a.txt --out b", "a.txt: not named as a table; the suffix must be .csv, .tsv"),
        ("--input in --out b", "in: is a folder; give a pattern, as 'in/*.csv'"),
        ("--input a.csv --out b --shard 0/3", "--shard 0/3: must be K/N with K from 1 to N"),
        ("--input a.csv z.csv --out b", "give sentences or --input, not both; quote a pattern"),
    ],
)
def test_wrong_use_is_one_line(words, message, trained, cli):
    Path("in").mkdir()
    for name in ("a.csv", "z.csv", "in/a.csv", "a.txt"):
        Path(name).write_text("utterance\nhello\n")
    result = predict(cli, trained, *words.split())
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith(f"slotfill: {message}")


def test_options_of_tables_need_a_text_column(trained, cli):
    for words in (("--out", "b"), ("--shard", "1/2"), ("--resume",), ("--input", "b")):
        result = cli("predict", trained, "--input", "a", *words)
        assert (result.code, "--text-column" in result.err) == (2, True)


@pytest.mark.parametrize("name", [CSV, JSONL, PARQUET])
def test_a_sentence_that_is_too_long_is_named_and_other_files_are_predicted(name, trained, cli):
    source = write_table(name, [*TEXTS, "to " * (MAX_TOKENS + 1)])
    write_table(f"b{source.suffix}")
    words = ("predict", trained, "--text-column", "utterance", "--input", f"?{source.suffix}")
    refused = cli(*words, "--out", "new")
    assert refused.code == 3 and refused.err.startswith(
        f"slotfill: {name}: row {len(TEXTS) + 1}: a sentence of 20,001 tokens; at most 20,000"
    )
    assert written("new") == [f"b{source.suffix}"]


def test_patterns_pass_over_no_broken_link_and_no_folder_named_as_a_table(trained, cli):
    write_table(CSV)
    Path("sub").mkdir()
    words = ("predict", trained, "--text-column", "utterance", "--out", "new", "--input")
    Path("z.csv").symlink_to("gone.csv")
    message = "slotfill: z.csv: no such file: it is a link to gone.csv, which is not there\n"
    for pattern in ("*.csv", "z.csv"):
        refused = cli(*words, pattern)
        assert (refused.code, refused.err) == (2, message)
    Path("z.csv").unlink()
    Path("z.csv").mkdir()
    assert "z.csv: is a folder" in cli(*words, "*.csv").err
    Path("z.csv").rmdir()
    assert cli(*words, "[as]*").code == 0


def test_what_a_link_leads_to_is_written(trained, cli):
    write_table(CSV)
    Path("new.csv").symlink_to("target.csv")
    words = ("predict", trained, "--text-column", "utterance", "--input", CSV, "--out", "new.csv")
    assert cli(*words).code == 0 and cli(*words).code == 2
    assert Path("new.csv").is_symlink() and len(read_table("target.csv")) == len(TEXTS)


@pytest.mark.parametrize("out", ["-", "dangling.csv", "dangling", "no/b.csv", "pipe.csv"])
def test_what_cannot_be_written_is_wrong_use(out, trained, cli):
    write_table(CSV)
    for name in ("dangling.csv", "dangling"):
        Path(name).symlink_to(f"nowhere/{name}")
    os.mkfifo("pipe.csv")
    before = sorted(Path().iterdir())
    result = cli("predict", trained, "--text-column", "utterance", "--input", CSV, "--out", out)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert out in result.err and sorted(Path().iterdir()) == before


@pytest.mark.parametrize("name", [CSV, ".predict.json"])
def test_a_link_in_the_folder_that_is_written_to_is_not_followed(name, trained, cli):
    write_table(CSV)
    Path("new").mkdir()
    Path("new", name).symlink_to("../outside")
    refused = cli("predict", trained, "--text-column", "utterance", "--input", CSV, "--out", "new")
    assert refused.code == 2 and f"new/{name}: is a link" in refused.err
    assert not Path("outside").exists()
