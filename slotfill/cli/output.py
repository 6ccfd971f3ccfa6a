"""Writing to the terminal: control characters escaped, a closed pipe survived."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import typer

from slotfill.errors import escape


def echo(text: str, *, err: bool = False) -> None:
    """Print one line, escaped. After a broken pipe, the command continues without output."""
    try:
        typer.echo(escape(text), err=err)
    except BrokenPipeError:
        discard_output()


def echo_errors(*messages: str) -> None:
    """Print one line for each message to standard error."""
    for message in messages:
        echo(f"slotfill: {message}", err=True)


class LogHandler(logging.Handler):
    """Prints what the package logs as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of a record."""
        echo_errors(record.getMessage())


def write_data(text: str) -> None:
    """Write lines of data to standard output: exactly, or escaped if it is a terminal."""
    if sys.stdout.isatty():
        text = "\n".join(map(escape, text.split("\n")))
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(value: Any, indent: int | None = None) -> None:
    """Write `value` as JSON to standard output."""
    write_data(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def discard_output() -> None:
    """Redirect standard output to the null device, what Python still buffers included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
