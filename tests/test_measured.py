"""Pages with measured figures: what they depend on, and when they are stale."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def measured(monkeypatch):
    """The script, as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("measured")


@pytest.fixture
def root(tmp_path, monkeypatch, measured):
    """A repository with one package."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("x = 1\n")
    (tmp_path / "data.txt").write_text("one\n")
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "LEDGER", tmp_path / "measured.json")
    return tmp_path


def test_a_page_is_stale_once_what_it_depends_on_changes(root, measured):
    measured.record("docs/a.md", "make a", "package", "data.txt")
    measured.record("docs/b.md", "make b", "data.txt")
    assert list(measured.find_stale_pages()) == []
    code = root / "package" / "code.py"
    code.write_text('"""Say what it is."""\n\nx  =  1  # One.\n')
    assert list(measured.find_stale_pages()) == [], "comments, docstrings and layout"
    code.write_text("x = 2\n")
    (line,) = measured.find_stale_pages()
    assert line.startswith("stale: docs/a.md, measured on 2") and line.endswith(": package; make a")
    code.write_text("x = 1\n")
    (root / "package" / "more.py").write_text("")
    (root / "data.txt").write_text("two\n")
    assert [line.partition(";")[0].split(": ")[2] for line in measured.find_stale_pages()] == [
        "package, data.txt",
        "data.txt",
    ]


def test_figures_of_older_runs_depend_on_the_code_of_their_commit(root, measured):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *words], cwd=root, capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    git("add", "package")
    git("commit", "-qm", "Begin")
    first = git("rev-parse", "HEAD")
    runs = []
    for number, commit in enumerate(("later", f"{first}-dirty")):
        run = root / str(number)
        run.mkdir()
        made = {"finished": f"2026-11-2{9 - number}T", "commits": {"slotfill": commit}}
        (run / "environment.json").write_text(json.dumps(made))
        runs.append(run)
    measured.record("docs/a.md", "make a", "package", runs=runs)
    assert list(measured.find_stale_pages()) == []
    (root / "package" / "code.py").write_text("x = 2\n")
    measured.record("docs/a.md", "make a", "package", runs=runs)
    assert list(measured.find_stale_pages()) == [
        "stale: docs/a.md, measured on 2026-11-28: package; make a"
    ]
    measured.record("docs/a.md", "make a", "package", runs=runs[:1])
    assert len(list(measured.find_stale_pages())) == 1, "a commit that is not here"


def test_every_measured_page_and_all_that_it_depends_on_is_there(measured):
    for page, entry in json.loads(measured.LEDGER.read_text(encoding="utf-8")).items():
        assert (ROOT / page.partition("#")[0]).is_file()
        for pattern in entry["depends"]:
            assert list(ROOT.glob(pattern)), f"{page}: {pattern}"
