"""What a request may cost, and the answers to one that costs more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slotfill.errors import format_count
from slotfill.serve.batcher import cost_of

RETRY = {"Retry-After": "1"}
"""When a request that was refused for lack of capacity may be sent again, in seconds."""

_CLOSE = {"Connection": "close"}
"""The rest of a body that is too large, or slow to arrive, is not waited for."""

_LINGER = 2.0
"""Seconds for which the rest of a body is read and dropped, so that its client sees the answer."""


@dataclass(frozen=True)
class Limits:
    """The most that a request may cost; one that exceeds a limit gets the status beside it."""

    body: int = 1_000_000
    """Bytes of its body (413)."""
    characters: int = 10_000
    """Characters of a text (422)."""
    texts: int = 256
    """Number of its texts (422)."""
    tasks: int = 1000
    """Number of its tasks of Label Studio, which sends all that are selected at once (422)."""
    cost: int = 100_000
    """Characters of all its texts, times 1 + the number of readings (422)."""
    queue: int = 1000
    """Number of texts that wait for a run when it arrives (429)."""
    seconds: float = 10.0
    """Time from its first byte to the answer (503), and to the end of its body (408)."""

    def check_texts(self, texts: Sequence[str], nbest: int = 0) -> None:
        """Raise HTTPException if the texts are too many, too long or not Unicode."""
        _check_number(len(texts), "text", self.texts)
        for index, text in enumerate(texts):
            if problem := self.find_problem(text):
                raise HTTPException(422, f"text {index}: {problem}")
        self._check_cost(texts, nbest)

    def check_tasks(self, texts: Sequence[str]) -> list[str]:
        """Return those of the texts of tasks that can be predicted.

        Raises HTTPException if the tasks are too many, or these texts too long in all.
        """
        _check_number(len(texts), "task", self.tasks)
        usable = [text for text in texts if not self.find_problem(text)]
        self._check_cost(usable)
        return usable

    def _check_cost(self, texts: Sequence[str], nbest: int = 0) -> None:
        if sum(cost_of(text, nbest) for text in texts) > self.cost:
            found = format_count(sum(map(len, texts)), "character")
            allowed = f"at most {self.cost // (1 + nbest):,} are allowed"
            condition = f" with nbest {nbest}" if nbest else ""
            message = f"{found} in all texts; {allowed}{condition}: divide the request"
            raise HTTPException(422, message)

    def find_problem(self, text: str) -> str | None:
        """Return what is wrong with a text, if anything."""
        if len(text) > self.characters:
            found = format_count(len(text), "character")
            return f"{found}; at most {self.characters:,} are allowed"
        if text.encode(errors="ignore").decode() != text:  # JSON can escape half a character.
            return "a surrogate without its other half"
        return None


def _check_number(number: int, noun: str, allowed: int) -> None:
    """Raise HTTPException if a request has more than the allowed number of something."""
    if number > allowed:
        found = format_count(number, noun)
        raise HTTPException(422, f"{found}; at most {allowed:,} are allowed in a request")


def error_response(
    status: int, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return an error as one line of JSON, in which half of a surrogate pair is escaped."""
    line = " ".join(message.encode(errors="backslashreplace").decode().split())
    return JSONResponse({"error": line}, status, headers)


class LimitedRequests:
    """ASGI middleware that limits the body and the time of each request."""

    def __init__(self, app: ASGIApp, limits: Limits, on_cut: Callable[[], object]) -> None:
        """Pass requests within `limits` to `app`; report those that the end of the service cuts."""
        self.app = app
        self.limits = limits
        self.on_cut = on_cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with 408, 413 or 503 if it exceeds a limit."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = 0
        is_reading = has_body = is_too_large = is_answered = False
        allowed = f"at most {self.limits.body:,} bytes are allowed"
        too_large = HTTPException(413, f"the body is too large; {allowed}", _CLOSE)

        async def receive_limited() -> Message:
            nonlocal size, is_reading, has_body, is_too_large
            is_reading = not has_body
            message = await receive()
            is_reading, has_body = False, not message.get("more_body")
            size += len(message.get("body", b""))
            if size > self.limits.body:
                is_too_large = True
                raise too_large
            return message

        async def send_noted(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            if is_too_large and message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                with anyio.move_on_after(_LINGER):
                    while (await receive()).get("more_body"):
                        pass
                message = {"type": "http.response.body"}
            await send(message)

        seconds = self.limits.seconds
        try:
            with anyio.move_on_after(seconds) as time:
                # The parser has checked that it is a number.
                if int(Headers(scope=scope).get("content-length", 0)) > self.limits.body:
                    is_too_large = True
                    response = error_response(413, too_large.detail, _CLOSE)
                    await response(scope, receive, send_noted)
                else:
                    await self.app(scope, receive_limited, send_noted)
        except asyncio.CancelledError:
            self.on_cut()
            if not is_answered:
                await error_response(503, "the service has ended", _CLOSE)(scope, receive, send)
            return
        if time.cancelled_caught and not is_answered:
            if is_reading:
                response = error_response(408, f"no complete body within {seconds:g} s", _CLOSE)
            else:
                response = error_response(503, f"no answer within {seconds:g} s", RETRY | _CLOSE)
            await response(scope, receive, send)
