"""ASGI middleware for requests of any kind."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from slotfill.serve.limits import error_response


class HeadAsGet:
    """Lets HEAD take the routes of GET; the server leaves out the body."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass requests to `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)


class KnownHosts:
    """Refuses requests to other names than those of the service.

    A page from elsewhere may have a name that leads to this machine (DNS rebinding), and could then
    read what the service answers.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        """Pass requests to one of `hosts`, at any port, to `app`."""
        self.app = app
        self._pattern = re.compile(rf"({'|'.join(map(re.escape, hosts))})(:\d*)?", re.IGNORECASE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 400."""
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if not self._pattern.fullmatch(host):
                message = f"this service is not at {host!a}; it is called localhost"
                await error_response(400, message)(scope, receive, send)
                return
        await self.app(scope, receive, send)
