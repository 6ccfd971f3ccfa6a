"""Targets of fuzz.py for `slotfill serve`: bytes of a connection, and requests by its description.

Both run the service in this process, without a socket. The second needs schemathesis.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from slotfill.errors import UsageError
from slotfill.serve import app, served_run
from slotfill.serve.connections import Protocol
from slotfill.serve.limits import Limits
from slotfill.serve.metrics import Metrics

STATUSES = {200, 201, 307, 400, 404, 405, 408, 413, 422, 429, 431, 501, 503}
"""All that the service may answer; 501 is for pages that need torch."""


def make_app(run: Path) -> FastAPI:
    app.HAS_TORCH = served_run.HAS_TORCH = False  # Each page would load the run by torch.
    limits, metrics = Limits(), Metrics()
    return app.create_app(
        served_run.load_runs([run], limits, metrics, "cpu", "onnx"), limits, metrics
    )


def request(method: str, path: str, body: str | bytes = b"", *headers: str) -> bytes:
    """Return the bytes of a request."""
    content = body.encode() if isinstance(body, str) else body
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    if not any(header.startswith("Transfer-Encoding") for header in headers):
        head.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*head, *headers, "", ""]).encode() + content


def example_requests(name: str) -> list[bytes]:
    """Return requests to the run `name`; the service answers the first ones with 200."""
    predict = f"/runs/{name}/predict"
    config = '<View><Text name="t" value="$text"/><Labels name="l" toName="t"/></View>'
    tasks = {"tasks": [{"data": {"text": "fly to Oslo"}}], "label_config": config}
    gzip = ("Content-Encoding: gzip", "Expect: 100-continue")
    pairs = ", ".join(f'"k{number}": 0' for number in range(70_000))
    return [
        request("POST", predict, '{"texts": ["fly from Paris to Oslo", ""], "nbest": 2}'),
        request("POST", "/predict", json.dumps(tasks)),
        request("POST", "/setup", json.dumps({"schema": config})),
        request("POST", "/train") + request("HEAD", "/runs") + request("GET", "/metrics"),
        request("GET", "/docs", "", "Connection: close"),
        request("GET", f"/runs/{name}/inspect?text=fly%20to%20Oslo&x=%ff"),
        request("POST", predict, '2\r\n{"\r\n0\r\n\r\n', "Transfer-Encoding: chunked"),
        request("POST", predict, b"\x1f\x8b\x08\0\0", *gzip),
        request("POST", predict, '{"texts": ["a\\ud800"], "nbest": NaN, "nbest": 1e400}'),
        request("POST", predict, '{"\\ud800": [1]}'),
        request("POST", "/predict", '{"tasks": [{"\\ud800": 1, "data": {"text": "\\udc00"}}]}'),
        request("POST", "/setup", '{"schema": "\\ud800"}'),
        request("POST", "/setup", "{\"schema\": \"<?xml version='1.0' encoding='x'?><a/>\"}"),
        request("POST", "/setup", json.dumps({"schema": "<a>" * 50_000})),
        request("POST", predict, "{" + pairs + "}"),
        request("POST", predict, '{"texts": ' + "[" * 50_000),
        request("POST", predict, '{"texts": []}')[:-5],
        request("OPTIONS", "*"),
        request("GET", "//evil.example/%2e%2e/runs/"),
        b"GET /\xff\0 HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\n",
    ]


class _Transport(asyncio.Transport):
    """A connection that keeps what is sent over it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def open_service(app: FastAPI) -> Callable[[bytes], bytes]:
    """Return what sends bytes over a new connection, and returns the bytes of the answers."""
    loop = asyncio.new_event_loop()
    config = uvicorn.Config(app, http=Protocol, ws="none", log_config=None, access_log=False)
    config.load()

    async def exchange(data: bytes) -> bytes:
        transport, state = _Transport(), ServerState()
        protocol = Protocol(config, state, {}, loop)
        protocol.connection_made(transport)
        for start in range(0, len(data), 1 << 16):
            if not transport.closed:
                protocol.data_received(data[start : start + (1 << 16)])
            await asyncio.sleep(0)
        while state.tasks:
            for _ in range(20):
                await asyncio.sleep(0)
            if protocol.cycle.more_body:  # The client has gone.
                break
            if state.tasks:
                done, _ = await asyncio.wait(state.tasks, timeout=20)
                assert done, "no answer"
        protocol.connection_lost(None)
        if state.tasks:
            _, late = await asyncio.wait(state.tasks, timeout=20)
            assert not late, "a request without a client does not end"
        return bytes(transport.sent)

    return lambda data: loop.run_until_complete(exchange(data))


def connect(run: Path) -> Callable[[bytes, Path], None]:
    """Return what sends its bytes to the service of `run`, and checks the answers."""
    exchange = open_service(make_app(run))

    def send(data: bytes, _: Path) -> None:
        if len(data) % 2:  # Mutations seldom leave the length of a body right.
            head, end, body = data.partition(b"\r\n\r\n")
            data = re.sub(rb"(Content-Length:) \d+", rb"\1 %d" % len(body), head) + end + body
        check_answers(exchange(data))

    return send


def open_session(app: FastAPI) -> Any:
    """Return a session of requests whose requests the service answers in this process."""
    from requests import PreparedRequest, Response, Session
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPResponse

    exchange = open_service(app)

    class Adapter(HTTPAdapter):
        def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
            lines = [
                f"{request.method} {request.path_url} HTTP/1.1",
                "Host: localhost",
                *(f"{name}: {value}" for name, value in request.headers.items()),
            ]
            body = request.body or b""
            content = body.encode() if isinstance(body, str) else body
            sent = exchange("\r\n".join([*lines, "", ""]).encode("latin-1") + content)
            check_answers(sent)
            head, _, answer = sent.partition(b"\r\n\r\n")
            status, *headers = head.decode("latin-1").split("\r\n")
            raw = HTTPResponse(
                BytesIO(answer),
                dict(line.split(": ", 1) for line in headers),
                int(status.split()[1]),
                preload_content=False,
                request_method=request.method,
            )
            return self.build_response(request, raw)

    session = Session()
    session.trust_env = False
    session.mount("http://", Adapter())
    return session


def ask_by_description(run: Path) -> Callable[[bytes, Path], None]:
    """Return what sends a request that its bytes select to `run`, and checks the answer.

    The requests are what schemathesis derives from the description of the service, valid and not.
    Pages of gates are left out, and so is the check that valid requests are accepted: the
    description cannot say which text is a labelling configuration.
    """
    import schemathesis
    from hypothesis import given, settings
    from hypothesis import strategies as st
    from schemathesis.core.failures import Failure, FailureGroup
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    app = make_app(run)
    session = open_session(app)
    description = schemathesis.openapi.from_dict(app.openapi())
    operations = description.exclude(path_regex="inspect$")
    predict = description.include(path_regex="^/runs/.*predict$")
    place = {"name": run.name}
    requests = [
        operations.as_strategy(GenerationMode.POSITIVE),
        operations.as_strategy(GenerationMode.NEGATIVE),
        predict.as_strategy(GenerationMode.POSITIVE, path_parameters=place),
        predict.as_strategy(GenerationMode.NEGATIVE, path_parameters=place),
    ]

    @settings(database=None, deadline=None)
    @given(st.one_of(requests))
    def ask(case: Any) -> None:
        try:
            case.call_and_validate(
                "http://localhost", session, excluded_checks=[positive_data_acceptance]
            )
        except FailureGroup as group:
            (first, *_) = group.exceptions
            title = first.title if isinstance(first, Failure) else repr(first)
            raise AssertionError(f"{case.operation.label}: {title}") from group

    use = ask.hypothesis.fuzz_one_input  # type: ignore[attr-defined]

    def send(data: bytes, _: Path) -> None:
        if use(data) is None:
            raise UsageError("these bytes select no request")

    return send


def check_answers(sent: bytes) -> None:
    """Check that the bytes are HTTP, and each error a line of JSON."""
    sent = sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    while sent:
        head, _, sent = sent.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+$", status)
        assert match, f"no answer of HTTP: {status[:80]!r}"
        assert int(match[1]) in STATUSES, f"status {int(match[1])}"
        headers = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            assert re.fullmatch(rb"[\t -~\x80-\xff]*", value), f"a header {line!r}"
            headers[name.lower()] = value
        length = int(headers.get(b"content-length", b"0"))
        has_body = not sent.startswith(b"HTTP/1.1 ")  # Nothing follows the head for HEAD.
        body, sent = (sent[:length], sent[length:]) if has_body else (b"", sent)
        if int(match[1]) >= 400 and body:
            assert headers[b"content-type"] == b"application/json", "an error that is no JSON"
            (error,) = json.loads(body).values()
            assert error.strip() and "\n" not in error, f"an error of several lines: {error!r}"
