"""The command serve."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from slotfill.cli.app import Device, Engine, Trust, check_number, parse_run
from slotfill.cli.output import echo
from slotfill.extras import required_for


def serve(
    runs: Annotated[
        list[Path],
        Argument(
            metavar="RUN...",
            parser=parse_run,
            help="Run folders or packed files; their names are in URLs.",
        ),
    ],
    host: Annotated[
        str, Option(help="Address to listen on; 0.0.0.0 lets other machines connect.")
    ] = "127.0.0.1",
    port: Annotated[
        int, Option(min=0, max=65535, help="Port to listen on; 0 is a free one.")
    ] = 8000,
    max_body: Annotated[int, Option(min=1, help="Most bytes of a request (413).")] = 1_000_000,
    max_characters: Annotated[
        int, Option(min=1, max=20_000, help="Most characters of a text (422).")
    ] = 10_000,
    max_queue: Annotated[
        int, Option(min=1, help="Number of texts that wait from which requests are refused (429).")
    ] = 1000,
    timeout: Annotated[
        float,
        Option(
            min=0.001,
            max=86_400,
            callback=check_number,
            help="Most seconds until a request is answered (503).",
        ),
    ] = 10.0,
    device: Device = "auto",
    engine: Engine = "auto",
    trust: Trust = False,
) -> None:
    """Serve runs over HTTP, with a page to try them at /.

    Requests that arrive together are predicted together. A run that is trained or exported again
    is loaded again, and no request is lost. Ctrl-C and SIGTERM finish what has been accepted.
    """
    with required_for("serve"):
        import fastapi  # noqa: F401

    from slotfill.serve.limits import Limits
    from slotfill.serve.server import serve as run_server

    limits = Limits(body=max_body, characters=max_characters, queue=max_queue, seconds=timeout)

    def report(url: str, names: list[str]) -> None:
        echo(f"{', '.join(names)}: try at {url}, API at {url}/docs; Ctrl-C ends it")

    run_server(runs, host, port, limits, report, device, engine)
