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
    """Refuses requests to other names than those of the service, and those that name several.

    A page from elsewhere may have a name that leads to this machine (DNS rebinding), and could then
    read what the service answers. Of several names, a proxy may have checked another than the first
    (RFC 9112, section 3.2).
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        """Pass requests to one of `hosts`, at any port, to `app`; to any host if there are none."""
        self.app = app
        names = "|".join(map(re.escape, hosts))
        self._pattern = re.compile(rf"({names})(:\d*)?" if names else ".*", re.IGNORECASE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 400."""
        if scope["type"] == "http":
            host, *others = Headers(scope=scope).getlist("host") or [""]
            message = None
            if others:
                message = f"{1 + len(others)} headers Host; one is allowed"
            elif not self._pattern.fullmatch(host):
                message = f"this service is not at {host!a}; it is called localhost"
            if message:
                await error_response(400, message)(scope, receive, send)
                return
        await self.app(scope, receive, send)
