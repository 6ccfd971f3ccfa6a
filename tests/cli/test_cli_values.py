"""Lists of known values, rules, synonyms and resolved values, through the command line."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from conftest import Result

import slotfill


def test_a_run_needs_its_lists_no_more(desk, cli):
    Path("cities.txt").write_text("Taipei\nBuenos Aires\n")
    options = ["embedding=[{name: word, size: 8}, {name: gazetteer, lists: [cities.txt]}]"]
    assert cli("train", "tiny.yaml", *options, "--out", "runs/a").code == 0
    Path("cities.txt").unlink()
    for engine in ("onnx", "torch"):
        done = cli("predict", "runs/a", "--engine", engine, "fly from Oslo to Buenos Aires")
        assert done.code == 0 and '"value": "Buenos Aires"' in done.out


def test_missing_list_is_reported_with_its_line(desk, cli):
    Path("own.yaml").write_text(
        "data: {path: corpus}\nembedding:\n  - word\n"
        "  - name: gazetteer\n    lists: [cities.txt, towns.txt]\n"
    )
    Path("cities.txt").write_text("Taipei\n")
    done = cli("check", "own.yaml")
    assert done.code == 2
    assert done.err == (
        "slotfill: own.yaml:5: embedding.1.lists.1: there is no file towns.txt; did you mean"
        " 'cities.txt'?\n"
    )


RULES = r"""
rules:
  - {slot: flight_number, pattern: "[A-Z]{2}\\d{2,4}"}
  - {slot: origin, list: towns.txt}
  - {slot: destination, pattern: Oslo, action: veto}
"""


def test_rules_of_a_run_are_applied_by_both_engines(desk, cli):
    Path("towns.txt").write_text("Tainan\n")
    config = Path("tiny.yaml")
    config.write_text(config.read_text() + RULES)
    assert cli("train", "tiny.yaml", "--out", "runs/a").code == 0
    Path("towns.txt").unlink()
    text = "take BR25 from tainan to Oslo"
    for engine in ("onnx", "torch"):
        done = cli("predict", "runs/a", "--engine", engine, "--format", "jsonl", text)
        slots = [(s["name"], s["value"], s["confidence"]) for s in json.loads(done.out)["slots"]]
        assert slots == [("flight_number", "BR25", 1), ("origin", "tainan", 1)]
    assert cli("predict", "runs/a", "--no-confidence", "--format", "brackets", text).out == (
        "take [BR25](flight_number) from [tainan](origin) to Oslo\n"
    )


def test_rules_count_in_scores(desk, cli):
    """A rule that labels everything wrong gives an F1 of 0."""
    rule = "rules=[{slot: wrong, pattern: '\\w+'}]"
    assert cli("train", "tiny.yaml", rule, "--out", "runs/a").code == 0
    assert json.loads(cli("evaluate", "runs/a", "--json").out)["overall"]["f1"] == 0


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{slot: a, pattern: "(b"}', "0.pattern: not a regular expression: missing ), unterminated"
         " subpattern at character 1"),
        ("{slot: a, pattern: b, list: c.txt}", "0.list: there is no file c.txt"),
        ("{slot: a}", "0: needs either a pattern or a list, and has neither"),
        ("{slot: a, pattern: x, list: tiny.yaml}",
         "0: needs either a pattern or a list, and has both"),
        ("{slot: a, pattern: ''}", "0: the pattern is empty; it would match everywhere"),
        ("{slot: a, pattern: b, action: drop}", "0.action: unknown value 'drop' (allowed: fill,"
         " veto)"),
        ("{slot: a, patern: b}", "0.patern: unknown key; did you mean 'pattern'? (allowed: action,"
         " list, pattern, slot)"),
        ("{slot: O, pattern: b}", "0.slot: not the name of a slot: 'O'"),
        ('{slot: "", pattern: b}', "0.slot: not the name of a slot: ''"),
        ("{slot: ' a', pattern: b}", "0.slot: not the name of a slot: ' a'"),
        ("{slot: a, pattern: 'x(?P<val>.)'}", "0.pattern: the group of the value is called value,"
         " found 'val'"),
        ("{pattern: b}", "0.slot: is needed and not given"),
    ],
)  # fmt: skip
def test_wrong_rules_are_reported_with_their_line(rule, message, desk, cli):
    config = Path("tiny.yaml")
    lines = config.read_text().count("\n")
    config.write_text(f"{config.read_text()}rules:\n  - {rule}\n")
    done = cli("check", "tiny.yaml")
    assert done.code == 2
    assert f"slotfill: tiny.yaml:{lines + 2}: rules.{message}\n" in done.err


def test_rule_for_a_slot_that_nothing_has_is_reported(desk, cli):
    config = Path("tiny.yaml")
    rules = "rules: [{slot: orign, pattern: b}, {slot: x, pattern: b, action: veto}]\n"
    config.write_text(config.read_text() + rules)
    done = cli("check", "tiny.yaml")
    assert done.code == 0
    output = " ".join((done.out + done.err).split())
    assert "rules.0.slot: no training sentence has a slot 'orign'; did you mean 'origin'?" in output
    assert "rules.1.slot: no training sentence has a slot 'x'" in output


RESOLVED = """
synonyms:
  origin: {Taipei: [TPE, Taipeh], New York: [NYC]}
  destination: cities.csv
resolve: {slots: {day: date}}
rules: [{slot: day, pattern: tomorrow}]
"""


def test_predictions_have_resolved_values(desk, cli):
    Path("cities.csv").write_text('Oslo,OSL,"the ""Tiger City"""\n\nParis\n')
    config = Path("tiny.yaml")
    config.write_text(config.read_text() + RESOLVED)
    assert cli("train", "tiny.yaml", "--out", "runs/a").code == 0
    Path("cities.csv").unlink()
    text = "fly from new york to OSLO tomorrow"
    for jobs in (1, 2):
        options = ["--now", "2026-12-31", "--jobs", jobs]
        done = cli("predict", "runs/a", *options, "--format", "jsonl", text)
        slots = json.loads(done.out)["slots"]
        assert {slot["name"]: slot.get("resolved") for slot in slots} == {
            "origin": "New York", "destination": "Oslo", "day": "2027-01-01"
        }  # fmt: skip
    tagger = slotfill.load("runs/a", now=datetime(2026, 1, 1))
    assert [slot.resolved for slot in tagger.predict([text])[0].slots] == [
        "New York", "Oslo", "2026-01-02"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("synonyms={city: 3}", "synonyms.city: must be keys and values, found 3"),
        ("synonyms={city: {Oslo: OSL}}", "synonyms.city.Oslo: must be a list, found 'OSL'"),
        ("synonyms={city: x.csv}", "synonyms.city: there is no file x.csv"),
        ("synonyms={city: {A: [x], B: [X]}}",
         "synonyms.city: 'X' stands for both 'A' and 'B'"),
        ("synonyms={city: {'': [x]}}", "synonyms.city: the value is empty, which the synonyms stand"
         " for"),
        ("synonyms={city: {A: [x, ' ']}}", "synonyms.city: a synonym of 'A' is empty"),
        ("synonyms={city: ''}", "synonyms.city: the path is empty"),
        ("resolve={slots: {a: dates}}", "resolve.slots.a: unknown value 'dates'; did you mean"
         " 'date'? (allowed: date, datetime, number, time)"),
        ("resolve={slots: {a: date}, language: xx}", "resolve.language: cannot resolve dates or"
         " numbers of the language 'xx'"),
    ],
)  # fmt: skip
def test_wrong_synonyms_and_kinds_are_reported(override, message, desk, cli):
    done = cli("check", "tiny.yaml", override)
    assert (done.code, done.err) == (2, f"slotfill: command line: {message}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("New York,NYC\nOslo,nyc\n", "2: 'nyc' stands for both 'New York' and 'Oslo'"),
        ("Oslo,,OSL,\n ,NYC\n", "2: the value is empty, which the synonyms stand for"),
        ("Oslo;OSL\n\nRome;ROM\n", "1: separated by semicolons; write commas, as Taipei,TPE"),
        ("\nOslo\tOSL\n", "2: separated by tabs; write commas, as Taipei,TPE"),
    ],
)
def test_wrong_lines_of_a_file_are_reported(content, message, desk, cli):
    Path("cities.csv").write_text(content)
    done = cli("check", "tiny.yaml", "synonyms={city: cities.csv}")
    path = Path("cities.csv").resolve()
    assert (done.code, done.err) == (3, f"slotfill: {path}:{message}\n")


def test_a_value_in_quotes_may_have_semicolons(desk, cli):
    Path("bands.csv").write_text('"Rock; Pop"\n"Jazz; Blues"\n')
    assert cli("check", "tiny.yaml", "synonyms={city: bands.csv}").code == 0


def test_values_of_a_run_are_replaced_without_training(desk, cli):
    Path("rules.yaml").write_text("rules: [{slot: word, pattern: please}]\n")
    assert cli("train", "tiny.yaml", "--out", "runs/a").code == 0
    before = Path("runs/a/model.safetensors").read_bytes()
    assert cli("values", "runs/a", "rules.yaml").code == 0
    predicted = cli("predict", "runs/a", "--format", "brackets", "please").out
    assert predicted == "[please](word)\n"
    wrong = cli("values", "runs/a", "rules.yaml", "rules=[{slot: a, list: no.txt}]")
    assert wrong.code == 2 and "no.txt: no such file" in wrong.err
    assert cli("predict", "runs/a", "--format", "brackets", "please").out == predicted
    for setting in ("rules=[{slot: a, list: /dev/zero}]", "synonyms={a: /dev/zero}"):
        endless = cli("values", "runs/a", "tiny.yaml", setting)
        assert endless == Result(
            3, "", "slotfill: /dev/zero: not a regular file; copy its content into one\n"
        )
    nothing = cli("values", "runs/a", "tiny.yaml")
    assert nothing.code == 2 and nothing.err.count("\n") == 1
    assert cli("predict", "runs/a", "--format", "brackets", "please").out == predicted
    assert cli("values", "runs/a", "tiny.yaml", "rules=[]").code == 0
    assert cli("predict", "runs/a", "--format", "brackets", "please").out == "please\n"
    assert Path("runs/a/model.safetensors").read_bytes() == before


def test_misspelt_slots_of_values_are_reported(desk, cli):
    settings = [
        "rules=[{slot: orign, pattern: b}, {slot: gate, pattern: b}]",
        "synonyms={destinaton: {Oslo: [OSL]}, gate: {B: [b]}}",
        "resolve={slots: {gat: date, origin: date}}",
    ]
    assert cli("train", "tiny.yaml", "--out", "runs/a").code == 0
    for command in (["values", "runs/a"], ["check"], ["train", "--out", "runs/b"]):
        done = cli(*command, "tiny.yaml", *settings)
        output = " ".join((done.out + done.err).split())
        assert done.code == 0
        for key, slot, near in [
            ("rules.0.slot", "orign", "origin"),
            ("synonyms.destinaton", "destinaton", "destination"),
            ("resolve.slots.gat", "gat", "gate"),
        ]:
            assert (
                f"warning: {key}: no training sentence has a slot '{slot}'; did you mean" in output
            )
            assert f"did you mean '{near}'?" in output
        assert output.count("no training sentence") == 3


def test_slot_of_a_rule_that_files_cannot_have_is_reported(desk, cli):
    done = cli("check", "tiny.yaml", "rules=[{slot: 'a (b', pattern: b}]")
    assert "rules.0.slot: the slot 'a (b' has a space or a bracket" in done.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": the file has no values"),
        (" ,\n\n", ": the file has no values"),
        ('Oslo,OSL\nRome,"the city\n', ":2: not a line of CSV: unexpected end of data"),
    ],
)
def test_synonyms_that_are_no_csv_are_reported(content, message, desk, cli):
    Path("cities.csv").write_text(content)
    done = cli("check", "tiny.yaml", "synonyms={origin: cities.csv}")
    assert done.code == 3 and done.err.count("\n") == 1
    assert f"cities.csv{message}" in done.err


def test_no_more_than_20_errors_or_warnings_are_listed(desk, cli):
    thresholds = ", ".join(f"a{index}: 0.5" for index in range(1023))
    done = cli("check", "tiny.yaml", f"thresholds={{{thresholds}}}")
    *errors, last = done.err.splitlines()
    assert (done.code, len(errors), last) == (2, 20, "slotfill: and 1,003 more errors")
    rules = ", ".join(f"{{slot: a{index}, pattern: x, action: veto}}" for index in range(30))
    done = cli("check", "tiny.yaml", f"rules=[{rules}]")
    warnings = [line for line in done.out.splitlines() if "warning: " in line]
    assert (done.code, len(warnings)) == (0, 21)
    assert warnings[-1].startswith("tiny.yaml: warning: and ")
