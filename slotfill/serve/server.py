"""The HTTP server: a socket, uvicorn, and an end that loses no request."""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from slotfill.errors import UsageError, format_count
from slotfill.runs.device import EngineName
from slotfill.serve.app import create_app
from slotfill.serve.connections import Protocol
from slotfill.serve.limits import Limits
from slotfill.serve.metrics import Metrics
from slotfill.serve.served_run import load_runs

logger = logging.getLogger(__name__)


def serve(
    paths: Sequence[Path],
    host: str,
    port: int,
    limits: Limits,
    on_start: Callable[[str, list[str]], object],
    device: str = "cpu",
    engine: EngineName = "auto",
) -> None:
    """Serve the runs `paths` until SIGTERM or SIGINT, then finish the requests within their time.

    If a request is not finished, the process ends at once, with exit code 1.

    Args:
        port: 0 is a free one.
        on_start: Called with the URL and the names of the runs when connections are accepted.

    Raises:
        UsageError: The address cannot be used, or two runs have the same name.
        KeyboardInterrupt: It was ended by SIGINT.
    """
    metrics = Metrics()
    runs = load_runs(paths, limits, metrics, device, engine)
    app = create_app(runs, limits, metrics, host)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(limits.seconds) + 1,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # What it logs is in the answers.
    # uvicorn ends with the signal that ended it, to which this is the handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with _listen(host, port) as listener:
        # What is loaded stays. Looking for garbage among it would stop all requests for 40 ms.
        gc.collect()
        gc.freeze()
        shown = f"[{host}]" if ":" in host else host
        on_start(f"http://{shown}:{listener.getsockname()[1]}", list(runs))
        try:
            _Server(config).run(sockets=[listener])
        finally:
            if metrics.cut or any(run.batcher.is_computing for run in runs.values()):
                # An ordinary end would wait for the threads.
                if metrics.cut:
                    logger.error("%s not answered in time", format_count(metrics.cut, "request"))
                sys.stdout.flush()
                os._exit(1 if metrics.cut else 0)


class _Server(uvicorn.Server):
    """A server whose second signal cuts the requests that are not answered."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal; from Python 3.12 on, uvicorn would still wait for the connections."""
        super().handle_exit(sig, frame)
        if self.force_exit:
            for task in self.server_state.tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises UsageError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise UsageError(f"--host {host} --port {port}: {reason}; choose others") from None
    # For connections too. asyncio sets it only for a socket whose protocol was given by number,
    # and without it the body of an answer waits 40 ms for the client to confirm the head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
