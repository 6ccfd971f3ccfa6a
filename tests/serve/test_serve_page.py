"""docs/serve.md is correct: its requests give the answers that it shows, its table the limits."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from service import serving
from test_docs import ROOT, assert_same_output, blocks, read_rows

pytest.importorskip("fastapi", reason="pip install 'slotfill[serve]'")

PAGE = ROOT / "docs" / "serve.md"


def test_requests_give_the_answers_of_the_page(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for info, text in blocks(ROOT / "docs" / "predict.md"):
        if info.split()[1:]:
            Path(info.split()[1]).write_text(text, encoding="utf-8")
    assert cli("train", "home.yaml").code == 0
    shown = [text for info, text in blocks(PAGE) if info == "console"]
    assert len(shown) == 3
    with serving("runs/home") as service:
        for text in shown:
            command, answer = text.removeprefix("$ ").rstrip("\n").split("\n")
            words = shlex.split(command)
            assert words[0] == "curl" and words[1].startswith("http://127.0.0.1:8000/")
            body = words[-1].encode() if "-d" in words else None
            _, found = service.send("POST" if body else "GET", urlsplit(words[1]).path, body)
            assert_same_output(found, answer)
            json.loads(answer)


def test_the_limits_of_the_page_are_those_of_the_command_and_the_service():
    import typer.main

    from slotfill.cli.main import app
    from slotfill.serve.connections import MAX_HEAD
    from slotfill.serve.limits import Limits

    command = typer.main.get_command(app).commands["serve"]
    options = {option: each.default for each in command.params for option in each.opts}
    limits = Limits()
    values = [
        MAX_HEAD,
        limits.body,
        limits.characters,
        limits.texts,
        limits.tasks,
        limits.cost,
        limits.queue,
        limits.seconds,
    ]
    rows = read_rows("docs/serve.md", "limit")
    for (_, option, default, _), value in zip(rows, values, strict=True):
        assert float(default.replace(",", "")) == value
        assert not option or options[option.strip("`")] == value
