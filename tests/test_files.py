"""Files are written completely or not at all, and never replaced; encodings are suggested."""

from __future__ import annotations

import os

import pytest

from slotfill.errors import DataError, UsageError
from slotfill.files import check_new_file, read_lines, write_atomically


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


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "帮我查一下明天从北京到上海的航班\n我要两张头等舱的票\n"),
        ("big5", "幫我查一下明天從台北到東京的航班\n我要兩張頭等艙的票\n"),
        ("shift_jis", "明日の東京から大阪までの飛行機を調べてください\nカタカナ\n"),
        ("euc-jp", "明日の東京から大阪までの飛行機を調べてください\nカタカナ\n"),
        ("latin1", "Größe über Österreich\nÄrger in San José\n"),
    ],
)
def test_the_encoding_of_a_file_that_is_not_utf_8_is_suggested(encoding, text, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=f"iconv -t utf-8 -f {encoding}$"):
        list(read_lines(path))
    assert path.read_bytes().decode(encoding) == text


def test_no_encoding_is_suggested_that_would_give_other_letters(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("привет, найди рейс из Москвы\n".encode("cp1251"))
    with pytest.raises(DataError, match=r"iconv -t utf-8 -f ENCODING$"):
        list(read_lines(path))
