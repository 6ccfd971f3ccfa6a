"""What `/metrics` tells Prometheus."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The figures of a service."""

    def __init__(self) -> None:
        """Start all figures at 0."""
        registry = CollectorRegistry()
        self.requests = Counter(
            "slotfill_requests", "Answered requests", ("route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "slotfill_request_seconds",
            "Time from a request to its answer",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "slotfill_batch_texts", "Texts of a batch", ("run",), buckets=_SIZES, registry=registry
        )
        self.waiting = Gauge("slotfill_waiting_texts", "Waiting texts", ("run",), registry=registry)
        self.reloads = Counter(
            "slotfill_reloads", "Times a replaced run was loaded", ("run",), registry=registry
        )
        self.cut = 0
        """Number of requests that were not answered before the end of the service."""
        self._registry = registry

    def count_cut(self) -> None:
        """Count a request that the end of the service cuts."""
        self.cut += 1

    def render(self) -> bytes:
        """Return the figures in the text format of Prometheus."""
        return generate_latest(self._registry)


class MeasuredRequests:
    """ASGI middleware that counts and times requests by route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Record the requests to `app` in `metrics`."""
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            # The path of an unknown route could be anything, and each would be a figure.
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.requests.labels(route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)
