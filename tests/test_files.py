"""Files are written completely or not at all, and never replaced without force."""

from __future__ import annotations

import os

import pytest

from slotfill.errors import UsageError
from slotfill.files import check_new_file, write_atomically


def test_existing_files_are_kept_without_force(tmp_path):
    there = tmp_path / "a.json"
    there.write_text("mine")
    with pytest.raises(UsageError, match="already exists; use --force to replace it"):
        check_new_file(there, force=False)
    check_new_file(there, force=True)
    check_new_file(tmp_path / "b.json", force=False)
    with pytest.raises(UsageError, match="is a folder"):
        check_new_file(tmp_path, force=True)
    with pytest.raises(UsageError, match="there is no such folder"):
        check_new_file(tmp_path / "nowhere" / "a.json", force=True)


def test_writes_text_and_bytes(tmp_path):
    for content in ("台北", b"\x00"):
        write_atomically(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == (
            content if isinstance(content, bytes) else content.encode()
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_is_written_completely_or_not_at_all(error, call, tmp_path, monkeypatch):
    existing = tmp_path / "a.svg"
    existing.write_text("mine")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)) as raised:
        write_atomically(existing, "<svg/>")
    assert (existing.read_text(), list(tmp_path.iterdir())) == ("mine", [existing])
    if isinstance(error, OSError):
        assert str(raised.value) == f"[Errno 28] No space left on device: '{existing}'"
