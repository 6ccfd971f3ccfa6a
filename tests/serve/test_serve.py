"""`slotfill serve`: predictions, limits, overload, reloading and the end, over real connections."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from service import Service, serving
from test_layers import loaded_after

pytest.importorskip("fastapi", reason="pip install 'slotfill[serve]'")

TEXTS = (
    "fly from Paris to Oslo",
    "",
    "hello there",
    "leave New York for Lima please",
    "到 Oslo 😀",
)
PREDICT = "/runs/run/predict"


@pytest.fixture(scope="module")
def service(trained):
    with serving(trained) as running:
        yield running


def test_predictions_are_those_of_the_command(service, trained, cli):
    lines = cli("predict", trained, *TEXTS, "--nbest", 3).out.splitlines()
    assert service.predict(*TEXTS, nbest=3) == list(map(json.loads, lines))
    (first,) = service.predict(TEXTS[0])
    assert [slot["value"] for slot in first["slots"]] == ["Paris", "Oslo"]
    assert "readings" not in first
    assert service.predict() == []


def test_concurrent_requests_get_their_own_answers(service):
    texts = [f"fly from Paris to Oslo {number}" for number in range(200)]
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(service.predict, texts))
    assert [answer["text"] for (answer,) in answers] == texts
    _, metrics = service.send("GET", "/metrics")
    (batches,) = re.findall(r'slotfill_batch_texts_count\{run="run"\} (\S+)', metrics)
    (tagged,) = re.findall(r'slotfill_batch_texts_sum\{run="run"\} (\S+)', metrics)
    assert float(tagged) >= 200 > float(batches), "some are predicted together"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (
            "/runs/rnu/predict",
            {"texts": []},
            404,
            "no run 'rnu'; did you mean 'run'? (allowed: run)",
        ),
        ("/predicts", {}, 404, "Not Found"),
        ("/runs", {}, 405, "Method Not Allowed"),
        (PREDICT, b"[", 422, "the body is not JSON: Expecting value"),
        (PREDICT, b"\xff", 400, "There was an error parsing the body"),
        (PREDICT, [], 422, "the body must be a JSON object, with the header Content-Type"),
        (PREDICT, {}, 422, "texts: Field required"),
        (PREDICT, {"texts": "fly"}, 422, "texts: Input should be a valid list"),
        (PREDICT, {"texts": ["fly", 3]}, 422, "texts.1: Input should be a valid string"),
        (PREDICT, {"texts": [], "nbest": 101}, 422, "nbest: Input should be less than or equal to"),
        (PREDICT, {"texts": ["a\ud800"]}, 422, "text 0: a surrogate without its other half"),
        (PREDICT, {"texts": ["", "a" * 10_001]}, 422, "text 1: 10,001 characters; at most 10,000"),
        (PREDICT, {"texts": ["a"] * 257}, 422, "257 texts; at most 256 are allowed in a request"),
        (PREDICT, {"texts": ["a" * 10_000] * 101}, 413, "the body is too large; at most 1,000,000"),
        (PREDICT, b"[" * 100_000, 400, "There was an error parsing the body"),
        (
            "/predict",
            {"tasks": [{"data": {"a": "b"}}]},
            422,
            "the data of a task has no text 'text'",
        ),
        ("/predict", {"tasks": [], "label_config": "<"}, 422, "label_config: not XML"),
    ],
)
def test_a_wrong_request_gets_one_line(path, body, status, message, service):
    found, answer = service.post(path, body)
    assert (found, [*answer]) == (status, ["error"])
    assert answer["error"].startswith(message)
    assert service.predict("hello there"), "the service goes on"


def test_a_body_without_a_length_is_limited_too(service):
    connection = service.connect()
    blocks = iter([b"[" * 100_000] * 11)
    connection.request("POST", PREDICT, blocks, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 413
    connection.close()


def test_a_request_takes_a_limited_time(trained):
    with serving(trained, "--timeout", 0.3) as service:
        host, port = service.address.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(
                b"POST /runs/run/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
            )
            answer = client.makefile("rb").read().decode()  # Until the service closes it.
        assert answer.startswith("HTTP/1.1 503") and "retry-after: 1" in answer
        assert answer.endswith('{"error":"no answer within 0.3 s"}')
        assert service.predict("hello there")


def test_nothing_is_lost_at_overload(trained):
    """Every request is answered, correctly or with 429, and there are both."""

    def ask(number: int) -> int:
        text = f"fly from Paris to Oslo {number}"
        status, answer = service.post(PREDICT, {"texts": [text] * 50})
        if status == 200:
            assert [each["text"] for each in answer["predictions"]] == [text] * 50
        else:
            assert answer == {"error": "too many texts wait; try again in a second"}
        return status

    with serving(trained, "--max-queue", 60) as service, ThreadPoolExecutor(24) as clients:
        statuses = Counter(clients.map(ask, range(240)))
        assert statuses.keys() == {200, 429} and statuses.total() == 240
        _, metrics = service.send("GET", "/metrics")
        for code, count in statuses.items():
            found = f'route="/runs/{{name}}/predict",status="{code}"}} {count}.0'
            assert f"slotfill_requests_total{{{found}" in metrics
        assert 'slotfill_waiting_texts{run="run"} 0.0' in metrics
        assert service.send("GET", "/ready") == (200, '{"status":"ready"}')


def test_a_replaced_run_is_loaded_without_losing_a_request(desk, corpus, cli):
    Path("corpus").unlink()
    shutil.copytree(corpus, "corpus")
    assert cli("train", "tiny.yaml", "--out", "run").code == 0
    done, answers = Event(), []

    def ask() -> None:
        while not done.is_set():
            (answer,) = service.predict("fly from Paris to Oslo")
            answers.append(tuple(slot["name"] for slot in answer["slots"]))

    service = Service("run")
    with ThreadPoolExecutor(4) as clients:
        try:
            asking = [clients.submit(ask) for _ in range(4)]
            for file in Path("corpus").iterdir():
                file.write_text(file.read_text().replace("origin", "start"))
            assert cli("train", "tiny.yaml", "--out", "run", "--force").code == 0
            for _ in range(300):
                if answers[-1] == ("start", "destination"):
                    break
                time.sleep(0.1)
        finally:
            done.set()
    for each in asking:
        each.result()
    assert set(answers) == {("origin", "destination"), ("start", "destination")}
    assert answers.index(("start", "destination")) > 0
    # A folder that is damaged is not used.
    manifest = Path("run/manifest.json")
    manifest.write_text(manifest.read_text().replace("a", "b"))
    time.sleep(3.5)
    (answer,) = service.predict("fly from Paris to Oslo")
    assert [slot["name"] for slot in answer["slots"]] == ["start", "destination"]
    code, err = service.stop()
    lines = err.splitlines()
    assert code == 0 and len(lines) == 2, err
    assert lines[0] == "slotfill: run was replaced, and is loaded again"
    assert lines[1].startswith("slotfill: run/manifest.json: ")
    assert lines[1].endswith("; the run loaded before is kept")


@pytest.mark.parametrize(
    ("number", "code", "err"),
    [(signal.SIGTERM, 0, ""), (signal.SIGINT, 130, "slotfill: stopped\n")],
)
def test_the_end_waits_for_requests(number, code, err, trained):
    service = Service(trained, "--timeout", 60)
    texts = ["fly from Paris to Oslo " * 20] * 256
    with ThreadPoolExecutor(3) as clients:
        asking = [clients.submit(service.predict, *texts) for _ in range(3)]
        while 'waiting_texts{run="run"} 0.0' in service.send("GET", "/metrics")[1]:
            time.sleep(0.01)
        assert service.stop(number) == (code, err)
        assert [len(each.result()) for each in asking] == [256] * 3
    with pytest.raises(ConnectionError):
        service.send("GET", "/health")


def test_several_runs_are_served_by_name(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "旅行 1")
    with serving(trained, tmp_path / "旅行 1") as service:
        _, runs = service.send("GET", "/runs")
        assert [run["name"] for run in json.loads(runs)] == ["run", "旅行 1"]
        assert json.loads(runs)[0] == {
            "name": "run",
            "slots": ["destination", "origin"],
            "intents": [],
        }
        name = "%E6%97%85%E8%A1%8C%201"
        assert service.predict("fly to Oslo", run=name) == service.predict("fly to Oslo")
        assert service.post(f"/label_studio/{name}/setup", {})[0] == 200


def test_label_studio_gets_predictions_by_the_names_of_its_project(service):
    config = (
        '<View><Header value="x"/><Text name="sentence" value="$utterance"/>'
        '<Labels name="ner" toName="sentence"><Label value="origin"/></Labels></View>'
    )
    setup = {"project": "1.1", "schema": config, "hostname": "", "access_token": ""}
    version = {"model_version": "slotfill run"}
    assert service.send("GET", "/health")[0] == 200
    assert service.post("/setup", setup) == (200, version)
    task = {"id": 7, "data": {"utterance": "😀 fly from Paris to New York"}, "annotations": []}
    request = {"tasks": [task], "project": "1.1", "label_config": config, "params": {"context": {}}}
    status, answer = service.post("/predict", request)
    assert status == 200 and answer["model_version"] == version["model_version"]
    (prediction,) = answer["results"]
    origin, destination = prediction["result"]
    assert 0 < origin.pop("score") <= 1 and 0 < prediction["score"] <= 1
    value = {"start": 11, "end": 16, "text": "Paris", "labels": ["origin"]}
    names = {"from_name": "ner", "to_name": "sentence"}
    assert origin == {"id": "1", **names, "type": "labels", "value": value}
    assert destination["value"]["text"] == "New York"


def test_gates_are_shown_as_the_command_inspect_shows_them(service, trained, cli, tmp_path):
    page = tmp_path / "page.html"
    assert cli("inspect", trained, "fly from Paris", "--html", page).code == 0
    found = service.send("GET", "/runs/run/inspect?text=fly%20from%20Paris")
    assert found == (200, page.read_text(encoding="utf-8"))
    for query, status, message in (
        ("text=%20", 422, "there is no word in the sentence"),
        ("text=" + 501 * "a", 422, "text 0: 501 characters; at most 500 are allowed"),
        ("", 422, "text: Field required"),
    ):
        code, answer = service.send("GET", f"/runs/run/inspect?{query}")
        assert code == status and json.loads(answer)["error"].startswith(message)


def test_the_api_is_described_without_other_servers(service):
    _, text = service.send("GET", "/openapi.json")
    paths = json.loads(text)["paths"]
    assert {PREDICT.replace("run/", "{name}/"), "/health", "/ready", "/metrics", "/setup"} <= {
        *paths
    }
    status, page = service.send("GET", "/docs")
    assert status == 200 and all(path in page for path in paths)
    assert not re.search(r"https?:|@import|url\(", page)


def test_wrong_use_is_one_line(trained, cli, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    for words, message in (
        (("missing",), "no run folder missing"),
        ((trained, tmp_path / "run"), "two runs are called run; rename a folder"),
        ((trained, "--host", "no.such.host.invalid"), "--host no.such.host.invalid --port 8000: "),
    ):
        result = cli("serve", *words)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert result.err.startswith(f"slotfill: {message}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = cli("serve", trained, "--port", port)
        assert result.err == (
            f"slotfill: --host 127.0.0.1 --port {port}: Address already in use; choose others\n"
        )


def test_answers_are_sent_at_once():
    from slotfill.serve.server import _listen

    with (
        _listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_bug_is_answered_in_one_line(trained, caplog):
    from slotfill.serve.app import create_app
    from slotfill.serve.limits import Limits
    from slotfill.serve.metrics import Metrics
    from slotfill.serve.served_run import load_runs

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b'{"texts": ["fly"]}'}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def call() -> None:
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": headers}
        await app(scope | {"query_string": b"", "root_path": ""}, receive, send)

    sent: list[dict[str, object]] = []
    runs = load_runs([trained], Limits(), Metrics(), "cpu", "auto")
    app = create_app(runs, Limits(), Metrics())
    del runs["run"].run
    with pytest.raises(AttributeError):  # uvicorn logs it.
        asyncio.run(call())
    assert [sent[0]["status"], sent[1]["body"]] == [
        500,
        b'{"error":"an error of the service, which its log describes"}',
    ]
    (line,) = caplog.messages
    assert line.startswith(f"{PREDICT}: AttributeError: ")


def test_dates_are_relative_to_the_time_of_the_request(trained):
    """A predictor is made for each batch, so that `tomorrow` is not that of the start."""
    from datetime import datetime

    from slotfill.serve.limits import Limits
    from slotfill.serve.metrics import Metrics
    from slotfill.serve.served_run import ServedRun

    run = ServedRun(trained, Limits(), Metrics(), "cpu", "auto")
    asked: list[datetime] = []
    values = run.run.vocab.values
    assert not values.can_resolve

    class Values:
        can_resolve = True
        rules = values.rules

        def resolver(self, now: datetime) -> None:
            asked.append(now)

    run.run.vocab.values = Values()
    for _ in range(2):
        run._tag(["fly to Oslo"], 0)
    assert asked[0] < asked[1]


def test_the_service_starts_without_torch(trained):
    code = f"""
from pathlib import Path
from slotfill.serve.server import create_app, load_runs, Limits, Metrics
runs = load_runs([Path({str(trained)!r})], Limits(), Metrics(), "cpu", "auto")
create_app(runs, Limits(), Metrics())
"""
    assert not {"torch", "onnx", "seqeval"} & loaded_after(code)
