"""Connections: how many there may be, for how long without a request, and how much they hold."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from functools import cache
from http import HTTPStatus
from time import monotonic
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 65_536
"""Bytes of the head of a request, and of the trailers or the line of a chunk in its body (431)."""

HEAD_SECONDS = 10.0
"""Time in which a connection must send the head of a request, or it is closed."""

READ_SECONDS = 60.0
"""Time in which a client must read an answer, or its connection is closed."""

_PIECE = 1024
"""Bytes that are parsed at a time; the requests in a piece wait for each other."""

_MAX_CONNECTIONS = 4096
_RESERVED_FILES = 64
"""How many files can be open beside the connections."""

_REPORT_INTERVAL = 60.0
"""Seconds between two lines on connections that cannot be accepted."""

logger = logging.getLogger(__name__)


class _Flow(FlowControl):
    """Pauses a connection as long as it has sent more than is parsed."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Start with nothing received."""
        super().__init__(transport)
        self.unparsed = bytearray()

    def resume_reading(self) -> None:
        """Read on, unless there is more to parse."""
        if not self.unparsed:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """HTTP connections, of a limited number, that are closed unless they send requests.

    What follows a request is parsed when that is answered. So a client that sends many without
    reading their answers has to wait.
    """

    flow: _Flow

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Refuse a connection that is too many."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._head_size = 0
        self._unread: asyncio.TimerHandle | None = None
        transport.set_write_buffer_limits(0)  # `pause_writing` when anything cannot be sent.
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)
        if len(self.connections) > max_connections():
            self._refuse(503, "too many connections")

    def data_received(self, data: bytes) -> None:
        """Parse `data` as soon as the requests before are answered."""
        self.flow.unparsed += data
        self._parse()

    def _parse(self) -> None:
        unparsed = self.flow.unparsed
        while unparsed and not self._is_answering() and not self.transport.is_closing():
            piece = bytes(unparsed[:_PIECE])
            del unparsed[:_PIECE]
            self._head_size += len(piece)
            super().data_received(piece)
            if self._head_size > MAX_HEAD and not self.transport.is_closing():
                self._refuse(431, f"the head is too large; at most {MAX_HEAD:,} bytes are allowed")
        if unparsed:
            self.flow.pause_reading()

    def _is_answering(self) -> bool:
        """Return whether a request has arrived that is not answered."""
        if self.pipeline or self.cycle is None:
            return bool(self.pipeline)
        return not (self.cycle.more_body or self.cycle.response_complete)

    def on_headers_complete(self) -> None:
        """Wait no longer for the head of a request."""
        self._deadline.cancel()
        self._head_size = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count only what is not the body."""
        self._head_size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Start to count the next head."""
        self._head_size = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Take the next request, or wait for it."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)
        if not self.transport.is_closing():
            self._parse()
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Wait until the client reads."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, since the client has read."""
        self._forget_unread()
        super().resume_writing()

    def _forget_unread(self) -> None:
        if self._unread:
            self._unread.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        self._deadline.cancel()
        self._forget_unread()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP as every error."""
        self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        body = json.dumps({"error": message}, separators=(",", ":"))
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write((head + body).encode())
        self.transport.close()


@cache
def max_connections() -> int:
    """Return how many connections may be open, of the files that this process may open."""
    try:
        import resource
    except ImportError:  # Windows.
        return _MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(1, min(_MAX_CONNECTIONS, files - _RESERVED_FILES))


def report_problems(loop: asyncio.AbstractEventLoop) -> None:
    """Report connections that cannot be accepted in a line now and then, not each with its trace.

    When there are more connections at once than files may be opened, asyncio tries as many times
    as the queue of the socket is long, and again each second.
    """
    reported = -math.inf

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal reported
        if not str(context["message"]).startswith("socket.accept()"):
            loop.default_exception_handler(context)
        elif monotonic() > reported + _REPORT_INTERVAL:
            reported = monotonic()
            logger.error("too many connections: %s", context["exception"].strerror)

    loop.set_exception_handler(handle)
