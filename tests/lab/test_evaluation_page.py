"""docs/evaluation.md names the keys, types and limits that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from slotfill.evaluation.errors import ERROR_TYPES
from slotfill.lab.report.page import MAX_SENTENCES, SCHEMES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_line_of_errors_has_the_keys_of_errors(tmp_path, monkeypatch, cli, trained):
    monkeypatch.chdir(tmp_path)
    Path("wrong.brackets").write_text("arrive [Lima](origin)\n", encoding="utf-8")
    assert cli("evaluate", trained, "--data", "wrong.brackets", "--errors", "out").code == 0
    (example,) = (text for info, _, text in BLOCK.findall(PAGE) if info == "json")
    shown, written = (json.loads(each) for each in (example, Path("out").read_text()))
    assert list(shown) == list(written) and list(shown["gold"]) == list(written["gold"])


def test_the_page_names_types_schemes_and_the_limit():
    assert all(f"`{name}`" in PAGE for name in (*ERROR_TYPES, *SCHEMES))
    assert f"the {MAX_SENTENCES:,} most confident" in PAGE
