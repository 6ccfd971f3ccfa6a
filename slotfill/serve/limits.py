"""What a request may cost, and the answers to one that costs more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slotfill.errors import format_count

RETRY = {"Retry-After": "1"}
"""When a request that was refused for lack of capacity may be sent again, in seconds."""


@dataclass(frozen=True)
class Limits:
    """The most that a request may cost; one that exceeds a limit gets the status beside it."""

    body: int = 1_000_000
    """Bytes of its body (413)."""
    characters: int = 10_000
    """Characters of a text (422)."""
    texts: int = 256
    """Number of its texts (422)."""
    queue: int = 1000
    """Number of texts that wait for a run when it arrives (429)."""
    seconds: float = 10.0
    """Time from its first byte to the answer (503)."""

    def check_texts(self, texts: Sequence[str]) -> None:
        """Raise HTTPException if there are too many texts, or one is too long or not Unicode."""
        if len(texts) > self.texts:
            found = format_count(len(texts), "text")
            raise HTTPException(422, f"{found}; at most {self.texts:,} are allowed in a request")
        for index, text in enumerate(texts):
            if len(text) > self.characters:
                found = format_count(len(text), "character")
                allowed = f"at most {self.characters:,} are allowed"
                raise HTTPException(422, f"text {index}: {found}; {allowed}")
            if text.encode(errors="ignore").decode() != text:  # JSON can escape half a character.
                raise HTTPException(422, f"text {index}: a surrogate without its other half")


def error_response(
    status: int, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return an error as one line of JSON."""
    return JSONResponse({"error": " ".join(message.split())}, status, headers)


class LimitedRequests:
    """ASGI middleware that limits the body and the time of each request."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        """Pass requests within `limits` to `app`."""
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with 413 or 503 if it exceeds a limit."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size, is_answered = 0, False

        async def receive_limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limits.body:
                allowed = f"at most {self.limits.body:,} bytes are allowed"
                raise HTTPException(413, f"the body is too large; {allowed}")
            return message

        async def send_noted(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        with anyio.move_on_after(self.limits.seconds) as time:
            await self.app(scope, receive_limited, send_noted)
        if time.cancelled_caught and not is_answered:
            message = f"no answer within {self.limits.seconds:g} s"
            # The rest of a body that is slow to arrive is not waited for.
            headers = RETRY | {"Connection": "close"}
            await error_response(503, message, headers)(scope, receive, send)
