"""Files are written completely or not at all, and never replaced; encodings are suggested."""

from __future__ import annotations

import io
import os
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from slotfill.errors import DataError, UsageError
from slotfill.files import (
    check_new_file,
    read_lines,
    write_atomically,
    write_in_folder,
)
from slotfill.text_lines import LineTooLongError, decode_lines


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


def test_pipes_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        for force in (False, True):
            with pytest.raises(UsageError, match="a device, pipe or socket"):
                check_new_file(path, force=force)
        with pytest.raises(UsageError, match="a device, pipe or socket"):
            write_atomically(path, "text")
    assert pipe.is_fifo() and {each.name for each in tmp_path.iterdir()} == {"pipe", "link"}


@pytest.mark.parametrize(
    "command",
    [
        "pack {run} --out {pipe} --force",
        "card {run} --out {pipe} --force",
        "evaluate {run} --report {pipe} --force",
        "evaluate {run} --errors {pipe} --force",
        "data corpus/train.brackets --html {pipe} --force",
        "init corpus/train.brackets --out {pipe} --force",
        "inspect {run} hello --html {pipe} --force",
        "probe --figure {pipe} --force",
        "convert corpus/train.brackets {pipe} --to conll",
        "predict {run} --input texts.csv --text-column text --out {pipe}",
    ],
)
def test_commands_do_not_replace_pipes(command, trained, desk, cli):
    suffixes = {"predict": ".csv", "probe": ".svg", "inspect": ".html"}
    pipe = desk / f"pipe{suffixes.get(command.split()[0], '')}"
    os.mkfifo(pipe)
    (desk / "texts.csv").write_text("text\nhello\n")
    result = cli(*command.format(run=trained, pipe=pipe).split())
    assert (result.code, result.err.count("\n")) == (2, 1) and str(pipe) in result.err, result
    assert pipe.is_fifo()


def test_the_file_of_a_link_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    link.symlink_to(Path("folder", "target"))
    for content in ("new", "again"):  # First the link leads nowhere.
        check_new_file(link, force=True)
        write_atomically(link, content)
        assert link.is_symlink() and target.read_text() == content
    with pytest.raises(UsageError, match="already exists"):
        check_new_file(link, force=False)
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "link"}
    assert [*target.parent.iterdir()] == [target]
    link.unlink()
    link.symlink_to(tmp_path / "nowhere" / "file")
    with pytest.raises(UsageError, match="there is no such folder"):
        check_new_file(link, force=True)


def test_a_file_that_slotfill_names_is_not_written_through_a_link(tmp_path):
    target = tmp_path / "mine"
    target.write_text("mine")
    for leads_to in (target, tmp_path / "nowhere"):
        (tmp_path / "scores.json").symlink_to(leads_to)
        with pytest.raises(UsageError, match=r"scores\.json: is a link, through which"):
            write_in_folder(tmp_path / "scores.json", "new")
        (tmp_path / "scores.json").unlink()
    # The temporary file has a name that can be guessed.
    (tmp_path / f"scores.json.{os.getpid()}.new").symlink_to(target)
    write_in_folder(tmp_path / "scores.json", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "mine": "mine",
        "scores.json": "new",
    }


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


class _Endless(io.RawIOBase):
    """A file that repeats some bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.taken = content, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        size = len(buffer) // len(self.content) * len(self.content)
        buffer[:size] = self.content * (size // len(self.content))
        self.taken += size
        return size


@pytest.mark.parametrize("errors", ["strict", "replace", "skip"])
def test_a_line_that_never_ends_is_an_error(errors):
    endless = _Endless(b"a")
    with pytest.raises(DataError) as raised:
        list(decode_lines(io.BufferedReader(endless), "x", errors, max_characters=1000))
    problem = "a line of more than 1,000 characters; give one sentence a line"
    assert str(raised.value) == f"x:1: {problem}"
    assert endless.taken < 100_000


def test_lines_that_end_in_cr_are_read_as_they_come():
    endless = _Endless(b"to\r")
    lines = decode_lines(io.BufferedReader(endless), "x", max_characters=1000)
    assert list(islice(lines, 5000)) == [(number, "to") for number in range(1, 5001)]
    assert endless.taken < 1_000_000
    too_long = decode_lines(io.BytesIO(b"to\r" + b"a" * 5000 + b"\rOslo"), "x", max_characters=10)
    with pytest.raises(LineTooLongError, match=r"^x:2: a line of more than 10 characters"):
        list(too_long)


@pytest.mark.parametrize("errors", ["strict", "skip"])
def test_a_cr_in_a_line_that_never_ends_makes_it_not_be_kept(errors):
    endless = _Endless(b"a")
    endless.readinto = _begin_with(b"a\r", endless.readinto)
    with pytest.raises(LineTooLongError, match=r"^x:2: a line of more than 1,000 characters"):
        list(decode_lines(io.BufferedReader(endless), "x", errors, max_characters=1000))
    assert endless.taken < 1_000_000


def test_an_lf_among_lines_that_end_in_cr_is_an_error():
    file = io.BytesIO(b"a\r" * 600_000 + b"b\n")
    with pytest.raises(DataError, match=r"^x:600001: an LF, though lines end in CR"):
        list(decode_lines(file, "x"))


def _begin_with(content, read):
    """Return a method that reads `content`, and then what `read` reads."""
    parts = [content]

    def readinto(buffer):
        if not parts:
            return read(buffer)
        begin = parts.pop()
        buffer[: len(begin)] = begin
        return len(begin)

    return readinto


def test_a_line_one_character_too_long_is_an_error():
    with pytest.raises(LineTooLongError, match=r"^x:2: a line of more than 10 characters; give"):
        list(decode_lines(io.BytesIO(b"to\n" + b"a" * 11 + b"\n"), "x", max_characters=10))


def test_a_cr_makes_no_longer_line_be_kept():
    file = io.BytesIO(b"to\na\r" + b"a" * 10_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"^x:2: a CR at column 2, though lines end in LF; replace"):
        list(decode_lines(file, "x", max_characters=1000))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_long_line_that_is_not_utf_8_is_skipped_without_keeping_it():
    content = b"to\n" + b"\xff" * 10_000_000 + b"\nOslo"
    file = io.BytesIO(content)
    tracemalloc.start()
    lines = list(decode_lines(file, "x", "skip", max_characters=1000))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert lines == [(1, "to"), (3, "Oslo")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_up_to_the_limit_are_read(end, mark):
    lines = ["\U0001f600" * 10, "", "a" * 10, "last"]
    for last in ("", end):
        content = (mark + end.join(lines) + last).encode()
        found = decode_lines(io.BytesIO(content), "x", max_characters=10)
        assert [line for _, line in found] == lines
