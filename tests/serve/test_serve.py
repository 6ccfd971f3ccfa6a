"""`slotfill serve`: predictions, limits, overload, reloading and the end, over real connections."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from service import Service, run_async, serving
from test_layers import loaded_after

from slotfill.data.sentence import Sentence
from slotfill.errors import ConfigError

pytest.importorskip("fastapi", reason="pip install 'slotfill[serve]'")

from uvicorn import Config
from uvicorn.server import ServerState

from slotfill.serve import connections, label_studio
from slotfill.serve.app import create_app
from slotfill.serve.connections import Protocol
from slotfill.serve.limits import Limits
from slotfill.serve.metrics import Metrics
from slotfill.serve.served_run import ServedRun, name_of
from slotfill.serve.server import serve

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
        ("/predicts", {}, 404, "nothing is at '/predicts'; did you mean '/predict'? (allowed: /h"),
        ("/runs", {}, 405, "POST is not possible here (allowed: GET)"),
        (PREDICT, b"[", 422, "the body is not JSON: Expecting value"),
        (PREDICT, b"\xff", 422, "the body is not JSON: it is not UTF-8"),
        (PREDICT, b"1" * 5000, 422, "the body is not JSON: it has a number that is too long"),
        (PREDICT, [], 422, "the body must be a JSON object, with the header Content-Type"),
        (PREDICT, {}, 422, "texts: is needed and not given"),
        (PREDICT, {"texts": "fly"}, 422, "texts: must be a list, found 'fly'"),
        (PREDICT, {"texts": ["fly", 3]}, 422, "texts.1: must be text, found 3"),
        (PREDICT, {"texts": [None]}, 422, "texts.0: must be text, found nothing"),
        (PREDICT, {"texts": [], "nbest": 101}, 422, "nbest: must be at most 100, found 101"),
        (PREDICT, {"texts": [], "nbest": -1}, 422, "nbest: must be at least 0, found -1"),
        (PREDICT, {"texts": [], "nbest": "3"}, 422, "nbest: must be an integer, found '3'"),
        (PREDICT, {"texts": [], "nbest": True}, 422, "nbest: must be an integer, found true"),
        (PREDICT, {"texts": [], "nbest": 2.5}, 422, "nbest: must be an integer, found 2.5"),
        (PREDICT, {"texts": [], "nbset": 3}, 422, "nbset: unknown key; did you mean 'nbest'? (al"),
        (PREDICT, {"txts": ["fly"]}, 422, "txts: unknown key; did you mean 'texts'? (allowed: nb"),
        (PREDICT, {"q": ["fly"]}, 422, "q: unknown key (allowed: nbest, texts)"),
        (PREDICT, {"texts": 3, "q": 1, "z": 2}, 422, "q: unknown key (allowed: nbest, texts)"),
        (PREDICT, {"\ud800": 1}, 422, "\\ud800: unknown key (allowed: nbest, texts)"),
        (PREDICT, {"texts": ["a"], "text\udfff": 1}, 422, "text\\udfff: unknown key; did you mea"),
        (PREDICT, {"texts": "\ud800"}, 422, "texts: must be a list, found '\\ud800'"),
        (PREDICT, {"texts": [], "nbest": "\ud800"}, 422, "nbest: must be an integer, found '\\ud8"),
        (PREDICT, b'"\\ud800"', 422, "the body must be a JSON object, with the header Content-Typ"),
        (PREDICT, {"texts": ["a\ud800"]}, 422, "text 0: a surrogate without its other half"),
        (PREDICT, {"texts": ["", "a" * 10_001]}, 422, "text 1: 10,001 characters; at most 10,000"),
        (PREDICT, {"texts": ["a"] * 257}, 422, "257 texts; at most 256 are allowed in a request"),
        (PREDICT, {"texts": ["a" * 10_000] * 101}, 413, "the body is too large; at most 1,000,000"),
        (PREDICT, b"[" * 100_000, 422, "the body is not JSON: it is nested too deeply"),
        (
            PREDICT,
            {"texts": ["a" * 10_000], "nbest": 10},
            422,
            "10,000 characters in all texts; at most 9,090 are allowed with nbest 10: divide",
        ),
        ("/predict", {}, 422, "tasks: is needed and not given"),
        ("/predict", {"tasks": {}}, 422, "tasks: must be a list, found keys and values"),
        ("/predict", {"tasks": [{}, 3]}, 422, "tasks.1: must be keys and values, found 3"),
        ("/predict", {"tasks": [{"data": []}]}, 422, "tasks.0.data: must be keys and values, foun"),
        ("/predict", {"tasks": [{}] * 1001}, 422, "1,001 tasks; at most 1,000 are allowed in "),
        (
            "/label_studio/run/predict",
            {"tasks": [{"data": {"text": "a" * 9_900}}] * 11},
            422,
            "108,900 characters in all texts; at most 100,000 are allowed: divide the request",
        ),
        ("/predict", {"tasks": [], "label_config": 3}, 422, "label_config: must be text, found 3"),
        ("/predict", {"tasks": [], "label_config": "<"}, 422, "label_config: not XML"),
        ("/setup", {"schema": "\ud800"}, 422, "label_config: not XML: a surrogate without"),
        (
            "/setup",
            {"schema": '<View><HyperText name="t"/><Labels name="l" toName="t"/></View>'},
            422,
            "label_config: no <Text>; other kinds are not supported",
        ),
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
                b"POST /runs/run/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"
            )
            answer = client.makefile("rb").read().decode()  # Until the service closes it.
        assert answer.startswith("HTTP/1.1 408")
        assert answer.endswith('{"error":"no complete body within 0.3 s"}')
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
            time.sleep(0.05)

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
    assert service.stop() == (0, "slotfill: run has changed, and is loaded again\n")


@pytest.fixture
def served(trained, tmp_path, monkeypatch):
    """The run `run` of the current folder, as the service holds it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")
    return ServedRun(Path("run"), Limits(), Metrics(), "cpu", "auto")


def look(served) -> None:
    """Look at the files of a run until they have not changed for a while."""
    for _ in range(3):
        run_async(served._reload_if_changed())


def test_damage_is_noticed_once_and_the_run_kept(served, trained, caplog, monkeypatch):
    before = served.run
    for damage, message in (
        (lambda: os.truncate("run/model.safetensors", 100), "run/model.safetensors: damaged"),
        (lambda: os.truncate("run/model.onnx", 100), "run/model.onnx: damaged"),
        (lambda: Path("run/model.onnx").unlink(), "run/model.onnx: missing"),
        (lambda: Path("run/manifest.json").unlink(), "run: not a complete run"),
        (lambda: shutil.rmtree("run"), "no run folder run"),
    ):
        damage()
        caplog.clear()
        look(served)
        look(served)
        (found,) = caplog.messages
        assert found.startswith(message) and found.endswith("; the run loaded before is kept")
        assert served.run is before
    caplog.clear()
    shutil.copytree(trained, "run")
    with monkeypatch.context() as patch:
        patch.setattr(served, "_load", lambda: 1 / 0)
        look(served)
    (message,) = caplog.messages
    assert message.startswith("run failed with ZeroDivisionError: division by zero; the run loaded")
    caplog.clear()
    Path("run/model.onnx").touch()
    look(served)
    assert caplog.messages == ["run has changed, and is loaded again"]
    assert served.run is not before


def test_a_packed_run_has_the_name_of_its_folder_and_is_loaded_again(served, cli, tmp_path):
    assert cli("pack", "run", "--out", "run.zip").code == 0
    packed = ServedRun(Path("run.zip"), Limits(), Metrics(), "cpu", "auto")
    assert packed.name == served.name == "run"
    assert served.has_heat_maps and not packed.has_heat_maps
    before = packed.run
    look(packed)
    assert packed.run is before
    Path(shutil.copy("run.zip", "other.zip")).replace("run.zip")
    look(packed)
    assert packed.run is not before
    # What pip installs from a wheel.
    Path("home").mkdir()
    Path("home/__init__.py").touch()
    assert name_of(Path("run.zip").rename("home/run.zip")) == "home"


@pytest.mark.parametrize(
    ("number", "code", "err"),
    [(signal.SIGTERM, 0, ""), (signal.SIGINT, 130, "slotfill: stopped\n")],
)
def test_the_end_waits_for_requests(number, code, err, trained):
    service = Service(trained, "--timeout", 60)
    texts = ["fly from Paris to Oslo " * 16] * 256
    with ThreadPoolExecutor(3) as clients:
        asking = [clients.submit(service.predict, *texts) for _ in range(3)]
        while 'waiting_texts{run="run"} 0.0' in service.send("GET", "/metrics")[1]:
            time.sleep(0.01)
        assert service.stop(number) == (code, err)
        assert [len(each.result()) for each in asking] == [256] * 3
    with pytest.raises(ConnectionError):
        service.send("GET", "/health")


def test_a_second_signal_cuts_requests_and_ends_with_an_error(trained):
    service = Service(trained, "--timeout", 60)
    body = {"texts": ["a " * 5000] * 10}
    with ThreadPoolExecutor(8) as clients:
        asking = [clients.submit(service.post, PREDICT, body) for _ in range(8)]
        while 'waiting_texts{run="run"} 0.0' in service.send("GET", "/metrics")[1]:
            time.sleep(0.01)
        service.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        code, err = service.stop(signal.SIGINT)
        answers = [each.result() for each in asking]
    cut = [answer for status, answer in answers if status == 503]
    assert cut and all(answer == {"error": "the service has ended"} for answer in cut)
    assert code == 1
    assert re.fullmatch(rf"slotfill: {len(cut)} requests? not answered in time\n", err)


def test_several_runs_are_served_by_name(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "旅行 1")
    with serving(trained, tmp_path / "旅行 1") as service:
        _, runs = service.send("GET", "/runs")
        assert [run["name"] for run in json.loads(runs)] == ["run", "旅行 1"]
        assert json.loads(runs)[0] == {
            "name": "run",
            "slots": ["destination", "origin"],
            "intents": [],
            "heat_maps": True,
        }
        name = "%E6%97%85%E8%A1%8C%201"
        assert service.predict("fly to Oslo", run=name) == service.predict("fly to Oslo")
        assert service.post(f"/label_studio/{name}/setup", {})[0] == 200


LABELS = (
    '<View><Header value="x"/><Text name="sentence" value="$utterance"/>'
    '<Labels name="ner" toName="sentence">'
    '<Label value="From" alias="origin"/><Label value="destination"/></Labels></View>'
)


def test_label_studio_gets_predictions_by_the_names_of_its_project(service):
    config = LABELS
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


def test_label_studio_gets_what_its_project_can_hold(service):
    """Tasks without a text have no result, unknown labels are left out, and nothing is trained."""
    text = {"utterance": "fly from Paris to Oslo"}
    tasks = [
        {"data": data} for data in (text, {}, {"utterance": ["a"]}, {"utterance": "a" * 10001})
    ]
    request = {"tasks": [*tasks, {}] * 60, "label_config": LABELS.replace("destination", "to")}
    status, answer = service.post("/predict", request)
    labels = [[each["value"]["labels"] for each in found["result"]] for found in answer["results"]]
    assert status == 200 and labels == [[["origin"]], [], [], [], []] * 60
    for own in (LABELS.replace("</View>", "<Choices/></View>"), "<View/>", None):
        status, answer = service.post("/predict", {"tasks": tasks[:1], "label_config": own})
        assert status == 200
    key = {"data": {"text": text["utterance"]}}
    status, answer = service.post("/predict", {"tasks": [key], "label_config": None})
    assert len(answer["results"][0]["result"]) == 2
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 1}}
    assert service.post("/webhook", event) == (201, {"status": "ignored"})
    assert service.post("/train", {"annotations": [], "project": "1.1"}) == (201, {})


def test_other_requests_are_answered_while_predictions_are_written(served, monkeypatch):
    async def run() -> None:
        tasks = [{"data": {"text": "fly to Oslo"}}] * 1000
        body = json.dumps({"tasks": tasks}).encode()
        asking = asyncio.create_task(call_app(served, Metrics(), "/predict", body))
        while not began.is_set():
            await asyncio.sleep(0.001)
        assert (await call_app(served, Metrics(), "/health"))[0] == 200
        done.set()
        status, answer = await asking
        assert status == 200 and len(json.loads(answer)["results"]) == 1000

    def wait_and_render(sentence: Sentence, *, scheme: str) -> str:
        began.set()
        assert done.wait(10)
        return render(sentence, scheme=scheme)

    began, done, render = Event(), Event(), label_studio._FORMAT.render
    monkeypatch.setattr(label_studio._FORMAT, "render", wait_and_render)
    run_async(run())


def test_gates_are_shown_as_the_command_inspect_shows_them(service, trained, cli, tmp_path):
    page = tmp_path / "page.html"
    assert cli("inspect", trained, "fly from Paris", "--html", page).code == 0
    found = service.send("GET", "/runs/run/inspect?text=fly%20from%20Paris")
    assert found == (200, page.read_text(encoding="utf-8"))
    for query, status, message in (
        ("text=%20", 422, "there is no word in the sentence"),
        ("text=" + 501 * "a", 422, "text 0: 501 characters; at most 500 are allowed"),
        ("txt=fly", 422, "text: is needed and not given"),
    ):
        code, answer = service.send("GET", f"/runs/run/inspect?{query}")
        assert code == status and json.loads(answer)["error"].startswith(message)


def test_messages_do_not_name_files_of_the_service(served, caplog):
    def fail(texts: list[str], nbest: int) -> list[Sentence]:
        raise ConfigError("/home/me/tokenizer.py: no offsets")

    Path("run").rename("secret")
    found = call(served, "/runs/run/inspect", query=b"text=fly")
    assert found == (503, b'{"error":"run cannot be loaded; the log says why"}')
    served.batcher.tag_batch = fail
    status, answer = call(served, PREDICT, b'{"texts": ["fly"]}')
    assert (status, b"/home" in answer) == (422, False)
    assert "secret" in caplog.messages[0] and "/home/me" in caplog.messages[1]


def test_a_request_that_ends_with_the_service_is_counted(served):
    async def run() -> None:
        task = asyncio.create_task(call_app(served, metrics, PREDICT, b'{"texts": ["fly"]}'))
        while not served.batcher.is_computing:
            await asyncio.sleep(0.001)
        task.cancel()
        assert await task == (503, b'{"error":"the service has ended"}')

    def tag(texts: list[str], nbest: int) -> list[Sentence]:
        time.sleep(0.1)
        return []

    metrics = Metrics()
    served.batcher.tag_batch = tag
    run_async(run())
    assert metrics.cut == 1


def test_the_service_is_not_ready_while_requests_wait_for_long(served):
    async def is_ready() -> bool:
        return (await call_app(served, Metrics(), "/ready"))[0] == 200

    async def run() -> None:
        body = b'{"texts": ["fly to Oslo"]}'
        asking = asyncio.create_task(call_app(served, Metrics(), PREDICT, body))
        while not served.batcher.is_computing:
            await asyncio.sleep(0.001)
        assert await is_ready()
        served.batcher._batch[0][0].arrived -= Limits().seconds / 2
        assert not await is_ready()
        done.set()
        assert (await asking)[0] == 200
        assert await is_ready()

    def wait_and_tag(texts: list[str], nbest: int) -> list[Sentence]:
        done.wait()
        return tag(texts, nbest)

    done, tag = Event(), served.batcher.tag_batch
    served.batcher.tag_batch = wait_and_tag
    run_async(run())


async def call_app(
    served: ServedRun,
    metrics: Metrics,
    path: str,
    body: bytes = b"",
    query: bytes = b"",
) -> tuple[int, bytes]:
    """Return the status and the body of an answer, without a connection."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    sent: list[dict[str, object]] = []
    app = create_app({served.name: served}, Limits(), metrics)
    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path,
        "headers": [(b"content-type", b"application/json")],
        "query_string": query,
        "root_path": "",
    }
    with suppress(AttributeError):  # The bug; FastAPI raises it again after the answer.
        await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def call(served: ServedRun, path: str, body: bytes = b"", query: bytes = b"") -> tuple[int, bytes]:
    """Return what `call_app` returns."""
    return run_async(call_app(served, Metrics(), path, body, query))


CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


class Transport(asyncio.Transport):
    """A connection without a socket, which keeps what is sent over it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_paused = self.is_closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


def make_protocol(app: Any) -> Protocol:
    """Return a connection to `app`."""
    return Protocol(Config(app, ws="none", log_config=None), ServerState(), {})


async def send_ok(send: Callable[[dict[str, Any]], Awaitable[None]], body: bytes) -> None:
    """Answer a request."""
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def accept_all(scope: object, receive: Any, send: Any) -> None:
    """Read the body of a request, and answer it."""
    while (await receive()).get("more_body"):
        pass
    await send_ok(send, b"")


def answer_over(content: bytes, app: Any = accept_all) -> bytes:
    """Return what a connection to `app` answers to `content`, which arrives in large blocks."""

    async def run() -> bytes:
        transport, protocol = Transport(), make_protocol(app)
        protocol.connection_made(transport)
        for start in range(0, len(content), 1 << 18):
            while transport.is_paused:
                await asyncio.sleep(0)
            if not transport.is_closed:
                protocol.data_received(content[start : start + (1 << 18)])
        for _ in range(100):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        return transport.sent

    return run_async(run())


def exchange(service: Service, content: bytes) -> str:
    """Return what the service sends for `content` until it closes the connection."""
    host, port = service.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(content)
        return client.makefile("rb").read().decode()


def test_what_is_not_http_is_answered_as_every_error_and_not_logged(service):
    for content in (
        b"FOO / HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"hello\r\n\r\n",
    ):
        answer = exchange(service, content)
        assert answer.startswith("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json")
        assert answer.endswith('\r\n\r\n{"error":"Invalid HTTP request received."}')
    upgrade = b"Host: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    assert exchange(service, b"GET /health HTTP/1.1\r\n" + upgrade).startswith("HTTP/1.1 200")


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(service):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    began = time.monotonic()
    host, port = service.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(head)
        assert client.recv(1000).startswith(b"HTTP/1.1 413")
    assert time.monotonic() < began + 1


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", b"y"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"y"),
        (b"GET /", b"a"),
        (CHUNKED + b"1\r\n[\r\n0\r\n", b"X: y\r\n"),
        (CHUNKED + b"1\r\n[\r\n0\r\nX: ", b"y"),
        (CHUNKED + b"1;", b"y"),
        (b"", b"\r\n"),
    ],
)
def test_a_head_and_trailers_are_of_a_limited_size(start, rest):
    """What more a client sends is not kept; a complete request with such a head is refused."""
    sent = answer_over(start + rest * (200_000 // len(rest)) + b"\r\n\r\n")
    assert sent.startswith(b"HTTP/1.1 431 ") and sent.count(b"HTTP/1.1") == 1
    assert sent.endswith(b'{"error":"the head is too large; at most 65,536 bytes are allowed"}')


def test_large_heads_and_bodies_within_the_limits_are_accepted():
    for head in (
        b"GET / HTTP/1.1\r\nX: " + b"y" * 65_400 + b"\r\n\r\n",
        b"GET /?" + b"y" * 65_400 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"y" * 900_000,
        CHUNKED + b"64\r\n" + b"y" * 100 + b"\r\n" + b"1\r\ny\r\n" * 90_000 + b"0\r\n\r\n",
    ):
        assert answer_over(head * 3).count(b"HTTP/1.1 200 OK") == 3


def test_a_connection_waits_until_its_answers_are_read():
    """Requests that follow each other without a pause are answered in order, few at a time."""

    async def app(scope: dict[str, Any], receive: object, send: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, len(protocol.pipeline))
        await asyncio.sleep(0)
        await send_ok(send, scope["path"].encode())

    async def run() -> None:
        nonlocal protocol
        transport, protocol = Transport(), make_protocol(app)
        protocol.connection_made(transport)
        requests = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(5000))
        protocol.pause_writing()  # The client does not read.
        protocol.data_received(requests)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert transport.is_paused and running == 1 and not transport.sent
        protocol.resume_writing()
        while running < 5000:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert not transport.is_paused
        found = re.findall(rb"\r\n\r\n/(\d+)", transport.sent)
        assert list(map(int, found)) == list(range(5000))
        assert most < 100
        protocol.connection_lost(None)

    running = most = 0
    protocol: Any = None
    run_async(run())


def test_a_connection_whose_client_does_not_read_is_closed(monkeypatch):
    async def app(scope: object, receive: object, send: Any) -> None:
        await send_ok(send, b"y" * 10_000_000)

    async def talk(seconds: float) -> int:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(seconds)
        try:
            return len(await reader.read())
        except ConnectionError:
            return 0
        finally:
            writer.close()

    async def run() -> None:
        nonlocal server
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: make_protocol(app), "127.0.0.1", 0)
        assert await talk(0) > 10_000_000
        monkeypatch.setattr(connections, "READ_SECONDS", 0.2)
        assert await talk(0.4) < 10_000_000
        server.close()

    server: Any = None
    run_async(run())


def test_requests_must_name_this_machine(service):
    for name, status in (("evil.example", 400), ("localhost:80", 200), ("[::1]:80", 200)):
        head = f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        answer = exchange(service, head.encode())
        assert answer.startswith(f"HTTP/1.1 {status}")
        assert status == 200 or "this service is not at 'evil.example'" in answer


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_request_names_one_host(address, served):
    app = create_app({served.name: served}, Limits(), Metrics(), address)
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    assert answer_over(head + b"\r\n", app).startswith(b"HTTP/1.1 200 ")
    for other in (b"evil.example", b"localhost"):
        answer = answer_over(head + b"Host: " + other + b"\r\n\r\n", app)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b'{"error":"2 headers Host; one is allowed"}')


def test_head_is_as_get_and_pages_have_a_policy(service):
    for path in ("/", "/docs", "/health", "/ready", "/runs", "/metrics"):
        assert service.send("HEAD", path) == (200, "")
    connection = service.connect()
    connection.request("GET", "/")
    policy = connection.getresponse().headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    connection.close()


def test_connections_without_a_request_are_closed_and_of_a_limited_number(monkeypatch):
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("there is no request")

    async def talk(content: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(content)
        found = await reader.read()
        writer.close()
        return found

    async def run() -> None:
        nonlocal address
        loop = asyncio.get_running_loop()
        config, state = Config(app, log_config=None), ServerState()
        server = await loop.create_server(
            lambda: connections.Protocol(config, state, {}), "127.0.0.1", 0
        )
        address = server.sockets[0].getsockname()
        began = time.monotonic()
        idle = [asyncio.create_task(talk(content)) for content in (b"", b"GET / HTTP/1.1\r\nH:")]
        await asyncio.sleep(0.1)
        assert b"503 Service Unavailable" in await talk(b"")
        assert await asyncio.gather(*idle) == [b"", b""]
        assert 0.2 < time.monotonic() - began < 5
        server.close()

    address = ("", 0)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connections, "max_connections", lambda: 2)
    run_async(run())


def test_connections_that_cannot_be_accepted_are_reported_in_one_line(caplog):
    from slotfill.serve.connections import report_problems

    loop = asyncio.new_event_loop()
    report_problems(loop)
    error = OSError(24, "Too many open files")
    for _ in range(2048):
        message = "socket.accept() out of system resource"
        loop.call_exception_handler({"message": message, "exception": error})
    assert caplog.messages == ["too many connections: Too many open files"]
    loop.close()


def test_the_api_is_described_without_other_servers(service):
    _, text = service.send("GET", "/openapi.json")
    paths = json.loads(text)["paths"]
    for operation in (each for methods in paths.values() for each in methods.values()):
        errors = {status for status in operation["responses"] if status >= "4"}
        assert {"400", "408", "413", "431", "503"} <= errors
        assert ("requestBody" in operation) <= ("422" in errors)
        for status in errors:
            content = operation["responses"][status]["content"]
            assert content["application/json"]["schema"]["required"] == ["error"]
    assert {PREDICT.replace("run/", "{name}/"), "/health", "/ready", "/metrics", "/setup"} <= {
        *paths
    }
    status, page = service.send("GET", "/docs")
    assert status == 200 and all(path in page for path in paths)
    assert not re.search(r"https?:|@import|url\(", page)


def test_wrong_use_is_one_line(trained, cli, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(trained, tmp_path / "{x}")
    for words, message in (
        (("missing",), "no run folder missing"),
        ((trained, tmp_path / "run"), "two runs are called run; rename one"),
        ((tmp_path / "{x}",), "the run {x} has braces in its name; rename it"),
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


def test_what_is_loaded_is_not_searched_for_garbage(trained, monkeypatch):
    """Otherwise all requests wait for that now and then."""
    found: list[int] = []
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: found.append(len(gc.get_objects())))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    loaded = len(gc.get_objects())
    try:
        serve([trained], "127.0.0.1", 0, Limits(), lambda *_: None)
    finally:
        gc.unfreeze()
    assert found[0] < loaded / 10


def test_a_bug_is_answered_in_one_line(served, caplog):
    del served.run
    status, answer = call(served, PREDICT, b'{"texts": ["fly"]}')
    assert status == 500
    assert answer == b'{"error":"an error of the service, which its log describes"}'
    (line,) = caplog.messages
    assert line.startswith(f"{PREDICT}: AttributeError: ")


def test_dates_are_relative_to_the_time_of_the_request(trained):
    """A predictor is made for each batch, so that `tomorrow` is not that of the start."""
    from datetime import datetime

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
