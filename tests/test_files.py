"""Files the lab writes: nothing of the user's is replaced by surprise, and none is half there."""

from __future__ import annotations

from pathlib import Path

import pytest

from slotfill.errors import UsageError
from slotfill.files import check_new_file, write_atomically


def test_only_what_may_be_replaced(tmp_path):
    there = tmp_path / "a.json"
    there.write_text("mine")
    with pytest.raises(
        UsageError, match="is there already; replace it with --force, or give another"
    ):
        check_new_file(there, force=False)
    check_new_file(there, force=True)
    check_new_file(tmp_path / "b.json", force=False)
    with pytest.raises(UsageError, match="is a folder"):
        check_new_file(tmp_path, force=True)
    with pytest.raises(UsageError, match="there is no such folder"):
        check_new_file(tmp_path / "nowhere" / "a.json", force=True)


def test_text_and_bytes(tmp_path):
    for content in ("台北", b"\x00"):
        write_atomically(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == (
            content if isinstance(content, bytes) else content.encode()
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_whole_or_not_at_all(tmp_path, monkeypatch):
    kept = tmp_path / "a.svg"
    kept.write_text("mine")

    def stopped(self, content):
        with self.open("wb") as file:
            file.write(content[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(kept, "<svg/>")
    assert (kept.read_text(), list(tmp_path.iterdir())) == ("mine", [kept])
