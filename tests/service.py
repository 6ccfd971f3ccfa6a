"""`slotfill serve` as a process of its own, and requests to it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit

from conftest import start

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine, run in another thread: Playwright may use this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


class Service:
    """A service of runs on a free port."""

    def __init__(self, *arguments: object) -> None:
        self.process = start("serve", *arguments, "--port", 0)
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline().decode()
        assert line, self.process.stderr.read().decode()
        (self.url,) = re.findall(r"try at (http://\S+),", line)
        self.address = urlsplit(self.url).netloc

    def connect(self) -> HTTPConnection:
        """Return a new connection."""
        return HTTPConnection(self.address, timeout=60)

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Return the status and the text of an answer; `body` is bytes or JSON."""
        connection = self.connect()
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Return the status and the parsed answer."""
        status, text = self.send("POST", path, body)
        assert "\n" not in text, "an answer is one line"
        return status, json.loads(text)

    def predict(self, *texts: str, run: str = "run", **options: Any) -> list[dict[str, Any]]:
        """Return predictions."""
        status, answer = self.post(f"/runs/{run}/predict", {"texts": texts, **options})
        assert status == 200, answer
        return answer["predictions"]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End the process by a signal; return its exit code and what it wrote to standard error."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err.decode()


@contextmanager
def serving(*arguments: object) -> Iterator[Service]:
    """Run a service, which must end well and write nothing to standard error."""
    service = Service(*arguments)
    try:
        yield service
    except BaseException:
        service.process.kill()
        raise
    assert service.stop() == (0, "")
