"""The two lecture pages have the same commands and outputs, and their text agrees with them."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "lecture.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def lecture():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import make_lecture
    yield make_lecture
    for name in ("make_lecture", "make_systems_docs", "system_claims", "measured"):
        sys.modules.pop(name, None)


def outputs(command: str) -> list[str]:
    """Return the lines of the output below the block in which `command` is."""
    (text,) = re.findall(
        rf"^{re.escape(command)}[^`]*```\n+<!-- output.*?-->\n```text\n(.*?)```", TEXT, re.M | re.S
    )
    return text.splitlines()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]


def recalls(command: str) -> list[tuple[float, float]]:
    """Return the recall of destination and origin in each table of an output."""
    rows = [cells(line) for line in outputs(command)]
    found = {
        role: [float(row[2]) for row in rows if row and row[0] == role]
        for role in ("destination", "origin")
    }
    return list(zip(found["destination"], found["origin"], strict=True))


def probed(command: str) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return the two tables of a probe, split over lines: by cell, then by row."""
    right, left = {}, {}
    names, rows = [], []
    for line in [*outputs(command), "┃ end ┃"]:
        if "┃" in line:
            rows.append(cells(line))
        elif line.startswith("┡") or "│" in line:
            if line.startswith("┡"):
                names, rows = (
                    [" ".join(filter(None, column)) for column in zip(*rows, strict=True)],
                    [],
                )
            else:
                first, *values = cells(line)
                table = right if first.endswith("back") else left
                for name, value in zip(names[1:], values, strict=True):
                    table.setdefault(name, {})[first.removesuffix(" back")] = float(
                        value.partition(" ")[0]
                    )
    return right, left


def test_pages_have_the_same_commands_and_results(lecture):
    assert lecture.difference() == ""


def test_differences_between_pages_are_detected(lecture, tmp_path, monkeypatch):
    other = tmp_path / "other.md"
    for changed in (
        TEXT.replace("slotfill evaluate", "slotfill predict", 1),
        TEXT.replace("torch.ones(2, 2)", "torch.ones(2, 3)", 1),
        TEXT.replace("verdict: gru lstm", "verdict: mut1 lstm", 1),
        TEXT[:9999],
    ):
        other.write_text(changed, encoding="utf-8")
        monkeypatch.setattr(
            lecture, "PAGES", [replace(lecture.ENGLISH, path=path) for path in (PAGE, other)]
        )
        assert lecture.difference()


def test_markers_are_closed(lecture):
    for page in lecture.PAGES:
        text = page.path.read_text(encoding="utf-8")
        assert text.count("<!-- end -->") == len(
            re.findall(
                r"<!-- (?:output|table|verdict|summary|difference|gradients|recalls|environment)",
                text,
            )
        )
        assert not re.search(r"-->(?:\s|\.\.\.|\(docs.*?\))*<!-- end -->", text)


def test_pictures_exist_and_are_small(lecture):
    texts = [page.path.read_text(encoding="utf-8") for page in lecture.PAGES]
    names = {name for text in texts for name in re.findall(r"!\[[^\]]+\]\((lecture/[^)]+)\)", text)}
    files = {path for path in (PAGE.parent / "lecture").rglob("*") if path.is_file()}
    assert {PAGE.parent / name for name in names} == files
    assert all(path.stat().st_size < 200_000 for path in files)


def test_words_of_chinese_pictures_are_chinese():
    for path in (PAGE.parent / "lecture" / "zh-TW").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        words = re.findall(r"<!-- (.*?) -->|>([^<>]+)</text>", text)
        english = {word for pair in words for word in pair if re.search("[A-Za-z]{2}", word)}
        # Numbers with exponents, and systems.
        assert all(re.search(r"^(\$|elman|lstm|gru)|[一-鿿]", word) for word in english), english


def test_worked_examples_of_the_page():
    by_hand = re.findall(r"```python\n.*?<!-- output -->\n```text\n(.*?)```", TEXT, re.S)
    order, lstm = by_hand[1].splitlines(), by_hand[2].splitlines()
    assert order[0] == "[[1, 1], [1, 1], [2, 2]] -> [[4, 4], [12, 12], [32, 32]]"
    assert len({line.partition("->")[2] for line in order}) == 3
    assert [int(value) for value in lstm[-1].split()[1:]] == [0, 0, 0, 0, 0, 7, 0, 0, 6]


def test_feedforward_encoder_fails_on_pairs():
    forgetful, elman = recalls("slotfill evaluate runs/feedforward --split pairs")
    assert sum(forgetful) <= 100 < 190 < sum(elman)


def test_bidirectional_encoder_helps():
    lines = outputs("slotfill train lab/elman-forward")
    assert len({re.sub(r" is where.*", "", line) for line in lines[:2]}) == 1
    assert lines[2:] == [
        "[Taipei](origin) is where I leave from",
        "[Taipei](destination) is where I want to arrive",
    ]


def test_memory_of_cells():
    right, left = probed('slotfill probe --cells "elman, {name: elman, activation: relu}')
    tanh, relu, linear = (
        right["elman"],
        right["elman activation=relu"],
        right["elman activation=linear"],
    )
    lstm, wide, gru = right["lstm"], right["lstm forget_bias=3"], right["gru"]
    assert tanh["10"] > 95 > tanh["20"] and tanh["50"] < 60
    assert min(gru.values()) > 95 and min(wide.values()) > 95
    assert lstm["50"] < 60 and lstm["100"] < 60
    assert relu["50"] > 95 and linear["50"] > 95 and 55 < max(relu["100"], linear["100"]) < 95
    assert 100 * left["elman"]["100"] < left["lstm"]["100"] < left["lstm"]["1"] / 10
    assert left["lstm forget_bias=3"]["100"] > left["lstm forget_bias=3"]["1"] / 10
    assert (
        max(left["gru"]["100"], left["elman activation=relu"]["100"]) < left["elman"]["100"] / 100
    )
    assert max(left["elman"]["100, trained"], left["lstm"]["100, trained"]) < 1e-6
    assert min(left["gru"]["100, trained"], left["lstm forget_bias=3"]["100, trained"]) > 1e-4
    assert 1e3 < left["lstm"]["100, x 4"] < left["elman"]["100, x 4"] / 1e6


def test_no_cell_forgets_if_trained_on_all_distances():
    rows = [cells(line)[1:] for line in outputs("slotfill probe --mixed") if "│" in line]
    assert len(rows) == 6
    assert min(float(cell.partition(" ")[0]) for row in rows for cell in row) > 95


def test_attention_attends_to_the_verb_and_ignores_order():
    lines = [line.split() for line in outputs("slotfill train lab/attention")]
    after, alone = (float(line[1]) for line in lines if line and line[0] == "Taipei")
    assert after > 0.5 and alone > 0.5
    ((destination, origin),) = recalls("slotfill evaluate runs/attention-alone --split pairs")
    assert min(destination, origin) > 90
    *_, one, other, third, fourth = outputs("slotfill evaluate runs/attention-alone --split pairs")
    assert (
        re.findall(r"\((\w+)\)", one + other)[0::2] == re.findall(r"\((\w+)\)", one + other)[1::2]
    )
    assert re.findall(r"\((\w+)\)", third + fourth) == ["origin", "destination"] * 2


def test_tables_and_verdicts_are_those_of_the_figures(lecture):
    for page in lecture.PAGES:
        assert lecture.fill_page(page, run=False) == page.path.read_text(encoding="utf-8")


def found(difference, margin=0.5, p_corrected=0.01):
    interval = (difference - margin, difference + margin)
    return {"difference": difference, "interval": interval, "p": 0.01, "p_corrected": p_corrected}


UNTESTED = {"difference": 9.0, "interval": None, "p": None}


def lab_of(systems, differences):
    """Return a lab with the difference of gru from lstm on corpora; on those with None, no gru."""
    lab = object.__new__(systems.Lab)
    lab.all, lab.first = {"corpora": dict.fromkeys(differences)}, "lstm"
    lab.configs = {
        "gru": {
            "corpora": {
                corpus: {"splits": {"test": {"mean": 90.0, "difference_from_first": each}}}
                for corpus, each in differences.items()
                if each
            }
        }
    }
    lab.claims = {("gru", "lstm", corpus): each for corpus, each in differences.items() if each}
    return lab


@pytest.mark.parametrize(
    ("margin", "on_atis", "on_mit", "expected"),
    [
        (0.0, found(1), found(2), "It holds on all corpora."),
        (
            0.0,
            found(1),
            found(2, p_corrected=0.2),
            "It holds on ATIS; it is not shown on MIT Restaurant.",
        ),
        (0.0, found(-1), found(-2), "The opposite holds on all corpora."),
        (0.0, found(1), found(-2), "It holds on ATIS; the opposite holds on MIT Restaurant."),
        (0.0, found(9, p_corrected=1), found(-9, p_corrected=1), "It is shown on no corpus."),
        (1.0, found(-0.4), found(0.1), "It holds on all corpora."),
        (1.0, found(-3), found(-2), "It holds on no corpus."),
        (
            1.0,
            found(-0.6),
            found(-3),
            "It does not hold on MIT Restaurant; it is not shown on ATIS.",
        ),
        (0.0, UNTESTED, UNTESTED, "It is not tested, which needs two seeds."),
        (1.0, UNTESTED, found(0), "It holds on MIT Restaurant; it is not tested on ATIS."),
        (0.0, None, found(1), "It holds on MIT Restaurant; it is not measured on ATIS."),
        (0.0, None, None, "It is not measured yet."),
    ],
)
def test_verdicts_follow_from_the_tests(lecture, margin, on_atis, on_mit, expected):
    systems = lecture.systems
    lab = lab_of(systems, {"atis": on_atis, "mit_restaurant": on_mit})
    assert systems.verdict(lab, systems.Claim("", "gru", "lstm", margin)) == expected


def test_chinese_verdicts_have_spaces_around_latin_words(lecture):
    systems = lecture.systems
    lab = lab_of(systems, {"atis": found(1), "mit_restaurant": found(2, p_corrected=0.2)})
    text = systems.verdict(lab, systems.Claim("", "gru", "lstm"), systems.CHINESE)
    assert text == "在 ATIS 上成立；在 MIT 餐廳上看不出來。"
    assert "在 ATIS 上是 `gru` (+1.00)" in systems.summarize(lab, ["gru"], systems.CHINESE)


@pytest.mark.parametrize(
    ("on_atis", "on_mit", "expected"),
    [
        (found(1), found(-2), "`gru` (+1.00) on ATIS. Worse: `gru` (-2.00) on MIT Restaurant."),
        (found(1, p_corrected=0.2), None, "none. Worse: none."),
        (UNTESTED, None, "Not tested: `gru`."),
        (None, None, "Not tested: `gru`."),
    ],
)
def test_summaries_claim_only_what_is_tested(lecture, on_atis, on_mit, expected):
    systems = lecture.systems
    lab = lab_of(systems, {"atis": on_atis, "mit_restaurant": on_mit})
    if "Worse" in expected:
        expected = f"Better than `lstm`: {expected}"
    assert systems.summarize(lab, ["gru"]) == expected


def test_figures_of_an_untested_difference_have_no_star(lecture):
    systems = lecture.systems
    assert systems.format_difference(UNTESTED) == "+9.00, not tested"
    assert systems.mark(UNTESTED) == systems.mark(None) == ""
    assert systems.format_difference(found(1)) == "+1.00 [+0.50, +1.50], p = 0.0100"
    assert systems.format_difference({**found(1), "margin": 1.0}) == "+1.00 [+0.50, +1.50]"


@pytest.mark.parametrize(
    ("with_clipping", "without", "expected"),
    [
        ([(9, 8), (2, 3)], [(9, 8), (2, 4)], ("None of the 2", "in none of 1 runs", "in 1 of 2")),
        ([(9, 2), (2, 3)], [(9, 2), (2, 6)], ("None of the 2", "in 1 of 1 runs", "at most.")),
        (
            [(9, 2), (2, 3)],
            [(9, 2), ("inf", "inf")],
            ("1 of 2 runs diverge", "inf times", "0 of 2"),
        ),
    ],
)
def test_what_is_said_of_clipping_follows_from_the_histories(
    lecture, with_clipping, without, expected
):
    runs = [
        [[(float(loss), float(norm)) for loss, norm in run]] for run in (with_clipping, without)
    ]
    english, chinese = (
        lecture.describe_gradients(*runs, 5, words) for words in lecture.GRADIENT_WORDS.values()
    )
    assert all(part in english for part in expected)
    assert re.findall("[0-9.]+|inf", chinese.partition("\n\n")[2].rpartition("|")[0]) == re.findall(
        "[0-9.]+|inf", english.partition("\n\n")[2].rpartition("|")[0]
    )


def test_recalls_are_compared_with_what_is_possible(lecture):
    recalls = {"destination": 90.0, "origin": 8.5}, {"destination": 99.0, "origin": 100.0}
    rows = [
        f"│ {role} │ 1.00 │ {each:.2f} │ 1.00 │" for both in recalls for role, each in both.items()
    ]
    text = lecture.recalls_of("\n".join(rows), chinese=False)
    assert "up to 98.50, which is 1.50 below it" in text and "to 199.00." in text
