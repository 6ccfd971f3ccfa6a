"""Batches of Arrow, alone and in Ray, Spark, Dask and Daft, which are slow to start."""

from __future__ import annotations

import os
import pickle
import re
import sys
from pathlib import Path

import pytest

import slotfill
from slotfill.errors import DataError, UsageError
from slotfill.runs import parallel

pa = pytest.importorskip("pyarrow", reason="pip install '.[parquet]'")

TEXTS = ["leave New York for Oslo please", None, "arrive Lima", "zzz"]
PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def write_logs(count=250):
    """Write three tables of texts into the folder `logs`."""
    from pyarrow import parquet

    Path("logs").mkdir()
    for number in range(3):
        texts = [f"{text} {i}" if text else None for i in range(count) for text in TEXTS]
        ids = range(number * len(texts), (number + 1) * len(texts))
        table = pa.table({"id": pa.array(ids), "utterance": texts})
        parquet.write_table(table, f"logs/{number}.parquet")


def read_rows(folder):
    """Return the rows of a folder in the order of their ids, and their probabilities apart."""
    from pyarrow import parquet

    tables = map(parquet.read_table, Path(folder).glob("*.parquet"))
    rows = [row for table in tables for row in table.to_pylist()]
    rows.sort(key=lambda row: row["id"])
    numbers = [row.pop(name) for row in rows for name in ("confidence", "in_domain")]
    numbers += [slot.pop("confidence") for row in rows for slot in row["slots"]]
    return rows, numbers


@pytest.fixture
def logs(trained, cli, tmp_path, monkeypatch):
    """Rows as `slotfill predict` writes them on one machine, of files in a new current folder."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/taipei").symlink_to(trained)
    write_logs()
    words = ("--input", "logs/*.parquet", "--text-column", "utterance", "--out", "expected")
    assert cli("predict", "runs/taipei", *words).code == 0
    return read_rows("expected")


def test_columns_are_those_that_predict_writes(trained, cli, tmp_path):
    from pyarrow import parquet

    table = pa.table({"id": [1, 2, 3, 4], "utterance": TEXTS}).replace_schema_metadata({"a": "b"})
    parquet.write_table(table, tmp_path / "a.parquet")
    words = ("--input", tmp_path / "a.parquet", "--text-column", "utterance")
    for number, (more, options) in enumerate(
        [
            ((), {}),
            (
                ("--no-confidence", "--threshold", "destination=0.9999"),
                {"confidence": False, "thresholds": {"destination": 0.9999}},
            ),
        ]
    ):
        out = tmp_path / f"{number}.parquet"
        assert cli("predict", trained, *words, "--out", out, *more).code == 0
        tag = pickle.loads(pickle.dumps(slotfill.Batches(trained, "utterance", **options)))
        assert tag(table).equals(parquet.read_table(out))
        assert tag(table).schema.metadata == {b"a": b"b"}


@pytest.mark.parametrize("batch", [{"text": ["a"]}, ["a"], None, "a", pa.array(["a"])])
def test_what_is_no_batch_of_arrow_is_refused(batch, trained):
    name = type(batch).__name__
    with pytest.raises(
        UsageError, match=f"^a batch is a pyarrow Table or RecordBatch, not {name};"
    ):
        slotfill.Batches(trained)(batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": None}, "Batches: run is the path of a run, not None"),
        ({"run": ""}, "Batches: run is the path of a run, not None"),
        ({"text_column": 3}, "Batches: text_column is the name of a column, not 3"),
        ({"confidence": "no"}, "Batches: confidence is True or False, not 'no'"),
        ({"now": "today"}, "Batches: now is a datetime, not 'today'"),
        ({"thresholds": 0.5}, "Batches: thresholds is probabilities by the names of slots, not"),
        ({"device": "gpu"}, "no device 'gpu'"),
    ],
)
def test_arguments_of_another_type_are_refused_at_once(options, message):
    with pytest.raises(UsageError) as error:
        slotfill.Batches(**{"run": "runs/a", **options})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary("int8", "string")])
def test_a_record_batch_stays_one_and_so_does_the_type_of_texts(kind, trained):
    texts = pa.array(TEXTS).cast(kind)
    tag = slotfill.Batches(trained)
    batch = tag(pa.record_batch({"text": texts}))
    assert isinstance(batch, pa.RecordBatch) and batch.schema.field("text").type == texts.type
    assert batch["slots"].to_pylist() == tag(pa.table({"text": TEXTS}))["slots"].to_pylist()
    empty = tag(batch.schema.empty_table().select(["text"]))
    assert (len(empty), empty.schema) == (0, batch.schema)


def test_a_process_loads_a_run_once(trained):
    first = slotfill.Batches(trained, threshold=0.123)
    table = pa.table({"text": TEXTS})
    before = parallel._load.cache_info().misses
    for tag in (first, first, pickle.loads(pickle.dumps(first))):
        tag(table)
    assert parallel._load.cache_info().misses == before + 1


def test_tables_that_cannot_be_predicted_are_named(trained):
    tag = slotfill.Batches(trained)
    with pytest.raises(UsageError, match=r"batch: no column 'text'; did you mean 'texts'"):
        tag(pa.table({"texts": TEXTS}))
    with pytest.raises(DataError, match=r"batch: already has 'slots', which predict adds"):
        tag(pa.table({"text": TEXTS, "slots": TEXTS}))
    with pytest.raises(DataError, match=r"batch: 'text' is of type number, not text"):
        tag(pa.table({"text": [1]}))
    with pytest.raises(UsageError, match=r"no run folder .*nowhere"):
        slotfill.Batches("nowhere")(pa.table({"text": TEXTS}))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray.data", "pyspark", "dask.dataframe", "daft"])
@pytest.mark.filterwarnings("ignore")
def test_engines_give_the_rows_of_one_machine(engine, logs, monkeypatch):
    """The examples of the page are run as they are."""
    pytest.importorskip(engine)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    name = engine.partition(".")[0]
    (code,) = [block for block in blocks if re.search(rf"^(import|from) {name}\b", block, re.M)]
    try:
        exec(code, {"__name__": "example"})
    finally:
        if engine == "ray.data":
            sys.modules["ray"].shutdown()
    rows, numbers = read_rows("tagged")
    expected, probabilities = logs
    assert rows == expected
    assert numbers == pytest.approx(probabilities, abs=1.5e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_predict_on_ray_writes_the_same_files(logs, cli):
    pytest.importorskip("ray")
    Path("logs/bad.jsonl").write_text('{"utterance": 3}\n')
    words = ("--input", "logs/*", "--text-column", "utterance", "--out", "tagged", "--ray", "local")
    result = cli("predict", "runs/taipei", *words)
    assert (result.code, result.out.count("rows")) == (3, 3)
    assert result.err == 'slotfill: logs/bad.jsonl:1: "utterance" is 3, not a text\n'
    for path in Path("expected").iterdir():
        assert Path("tagged", path.name).read_bytes() == path.read_bytes()
    Path("tagged/1.parquet").unlink()
    result = cli("predict", "runs/taipei", *words[2:], "--input", "logs/*.parquet", "--resume")
    assert (result.code, result.out.count("skipped"), read_rows("tagged")) == (0, 2, logs)


def test_what_ray_cannot_do_is_one_line(trained, cli, tmp_path):
    (tmp_path / "a.csv").write_text("text\nhello\n")
    words = ("--input", tmp_path / "a.csv", "--text-column", "text", "--out", tmp_path / "b.csv")
    for more, message in [
        (("--jobs", "2"), "--ray: each processor of the cluster predicts a file; omit --jobs"),
        (("--device", "cuda"), "--ray: several processes compute on the CPU; omit --device"),
    ]:
        result = cli("predict", trained, *words, "--ray", "local", *more)
        assert (result.code, result.err) == (2, f"slotfill: {message}\n")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("here", "must be auto, local, or HOST:PORT, as 10.0.0.1:6379"),
        ("127.0.0.1:1", "no Ray cluster there (Connection refused)"),
    ],
)
def test_a_wrong_address_of_a_cluster_is_one_line(address, message):
    from slotfill.runs.on_ray import check_address

    with pytest.raises(UsageError, match=re.escape(f"--ray {address}: {message}")):
        check_address(address)
