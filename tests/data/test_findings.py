"""Warnings of `check`: likely problems in valid sentences."""

from __future__ import annotations

from time import process_time

import pytest

from slotfill.config.sections import DataConfig
from slotfill.data.corpus import ReadResult, read_sentences
from slotfill.data.findings import find_problems, sort_by_place
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.split_findings import check_splits
from slotfill.data.splits import read_split, split_names
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError


def findings(folder, files, **keys):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    data = DataConfig(path=str(folder), **keys)
    results = {split: read_split(data, split) for split in split_names(data)}
    return [
        finding.message.replace(str(folder), "@")
        for finding in find_problems(results)
        if not finding.is_usual
    ]


TRAIN = "".join(f"fly to [City{index}](city)\n" for index in range(20))


def test_a_clean_corpus_has_no_findings(tmp_path):
    files = {"train.md": TRAIN, "valid.md": "go to [Oslo](city)\n"}
    assert findings(tmp_path, files) == []


@pytest.mark.parametrize("split", ["valid", "test", "weather", "2026"])
def test_names_of_every_split_are_compared_with_those_of_train(split, tmp_path):
    (tmp_path / "train.md").write_text(TRAIN)
    (tmp_path / f"{split}.md").write_text("go to [Oslo](town)\n")
    data = DataConfig(path=str(tmp_path), holdout=0)
    splits = {each: read_split(data, each).sentences for each in split_names(data)}
    found = [each.message for each in check_splits(splits, intents=False) if each.kind == "names"]
    assert found == [
        f"{split}: slot names that train does not have and the model cannot learn: 'town'",
        f"train: slot names that {split} does not have: 'city'",
    ]


def test_overlap_of_train_and_test_is_reported(tmp_path):
    files = {"train.md": TRAIN, "valid.md": "go\n", "test.md": "a\nfly to [City3](city)\n"}
    assert findings(tmp_path, files) == [
        "test: 1 of 2 sentences is also in train, the first at @/test.md:2"
    ]


def test_duplicate_sentences_are_reported(tmp_path):
    files = {"train.md": TRAIN * 5, "valid.md": "go\n"}
    assert findings(tmp_path, files) == ["train: 80 of 100 sentences repeat another one"]


def test_inconsistent_labels_are_reported(tmp_path):
    files = {"train.md": TRAIN + "fly to [City1](town)\nfly to City1\n", "valid.md": "go\n"}
    assert findings(tmp_path, files) == [
        "train: the same text has different labels at @/train.md:2 and @/train.md:21"
    ]


@pytest.mark.parametrize(
    ("rare", "frequent", "similar"),
    [
        ("ammount", "amount", True),
        ("amuont", "amount", True),
        ("amont", "amount", True),
        ("Amount", "amount", True),
        ("stoploc", "toloc", False),
        ("city1", "city2", False),
        ("date", "time", False),
        ("in", "on", False),
    ],
)
def test_rare_slot_name_similar_to_a_frequent_one_is_reported(rare, frequent, similar, tmp_path):
    train = TRAIN.replace("city", frequent) + "pay [one](" + rare + ")\n"
    counts = f"slot '{rare}' (train 1) is almost named like '{frequent}' (train 20)"
    expected = f"@/train.md:21: {counts}; rename it"
    found = findings(tmp_path, {"train.md": train, "valid.md": "go\n"})
    assert found == ([f"{expected} if they are the same"] if similar else [])


@pytest.mark.parametrize(("count", "similar"), [(2, False), (3, True)])
def test_a_misspelt_name_is_a_third_as_frequent_at_most(count, similar, tmp_path):
    train = "pay [one](amount)\n" * count + "pay [two](ammount) now\n"
    found = findings(tmp_path, {"train.md": train, "valid.md": "go\n"})
    assert any("almost named like" in each for each in found) == similar


def test_thousands_of_slot_names_are_compared_in_seconds():
    names = [f"{index:b}".translate({48: "a", 49: "b"}) for index in range(1 << 12, 1 << 13)]
    slots = [Slot(name, 0, 1) for name in [*names * 3, "abcabc", names[0].upper()]]
    sentences = [Sentence.from_tokens(["x"], [slot], location="f:1") for slot in slots]
    start = process_time()
    found = find_problems({"train": ReadResult(sentences, Tokenizer("words"), [], [])})
    assert process_time() - start < 5
    (similar,) = [finding for finding in found if finding.kind == "similar-names"]
    assert "slot 'BAAAAAAAAAAAA' (1) is almost named like 'baaaaaaaaaaaa' (3)" in similar.message


def test_two_frequent_similar_names_are_not_reported(tmp_path):
    train = TRAIN + TRAIN.replace("fly", "go").replace("city", "cite")
    assert findings(tmp_path, {"train.md": train, "valid.md": "go\n"}) == []


def test_repaired_tags_are_counted_once_per_split_with_their_lines(tmp_path):
    train = "".join(f"w{index} B-x\nOslo I-to\nnow O\n\n" for index in range(10))
    (tmp_path / "train.conll").write_text(train)
    data = DataConfig(path=str(tmp_path / "train.conll"), holdout=0.2)
    results = {split: read_split(data, split) for split in ("train", "valid")}
    assert [result.repaired_tags for result in results.values()] == [8, 2]
    train, valid = map(str, find_problems(results))
    assert train.startswith("train: tags repaired: 8, at ")
    lines = [int(part.rpartition(":")[2]) for part in valid.split(", ")[1:]]
    assert all(line % 4 == 2 for line in lines)


def test_tokens_that_prediction_splits_are_counted_and_named(tmp_path):
    files = {"train.conll": "St. B-x\nLouis I-x\n\nSt. B-x\nx-y O\n", "valid.conll": "go O\n"}
    assert findings(tmp_path, files) == [
        "train: tokens of the file split further, as in prediction: 3, as 'St.', 'x-y';"
        " data.tokenizer: given keeps the tokens of the files"
    ]
    assert findings(tmp_path, files, tokenizer="given") == []


def test_learned_affixes_are_listed(tmp_path):
    files = {"train.md": TRAIN + "[Oslo](city)'s d'[Elne](city)\n", "valid.md": "go\n"}
    assert findings(tmp_path, files) == [
        "train: slots begin or end inside tokens, so tokens are split at d'|(letter),"
        " (letter)|'s; correct the slots if that is not intended"
    ]


@pytest.mark.parametrize("count", [4, 30])
def test_conll_file_without_empty_lines_is_reported(count, tmp_path):
    files = {"train.conll": "w B-x\n" * count, "valid.conll": "go O\n\n"}
    assert findings(tmp_path, files) == [
        f"@/train.conll: no empty line, so its {count} tokens are one sentence; put an empty line"
        " after each sentence"
    ]


def test_corrected_offsets_and_overlapping_slots_are_listed(tmp_path):
    path = tmp_path / "train.jsonl"
    slots = (
        '{"name": "a", "value": "Rome", "start": 4, "end": 8}, {"name": "b", "start": 3, "end": 5}'
    )
    path.write_text(f'{{"text": "to Rome b", "slots": [{slots}]}}\n', encoding="utf-8")
    found = find_problems({"train": read_sentences(path, misaligned="widen")})
    assert sorted(map(str, found[:2])) == [
        f"train: offsets corrected: 1, at {path}:1: slot 'a' ('Rome'): 4 to 8 read as 3 to 7 (the"
        " nearest occurrence)",
        f"train: overlapping slots left out: 1, at {path}:1: slot 'b' ('Ro') overlaps 'a'"
        " ('Rome'), and is left out",
    ]


def test_misaligned_slots_are_widened_skipped_or_all_listed(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("[Taip](city)ei now\nto [Osl](city)o\n", encoding="utf-8")
    widened = read_sentences(path, misaligned="widen")
    assert [s.slots for s in widened.sentences] == [[Slot("city", 0, 1)], [Slot("city", 1, 2)]]
    assert [issue.location for issue in widened.issues("widen")] == [f"{path}:1", f"{path}:2"]
    skipped = read_sentences(path, misaligned="skip")
    assert [s.slots for s in skipped.sentences] == [[], []]
    assert len(skipped.issues("skip")) == 2
    with pytest.raises(DataError, match=r"\(1 more, listed by slotfill data\)$"):
        read_sentences(path, misaligned="error")
    listed = read_sentences(path, misaligned="error", list_problems=True).list_problems()
    assert [problem.split(": ")[0] for problem in listed] == [f"{path}:1", f"{path}:2"]
    split = read_sentences(path)
    assert [s.tokens for s in split.sentences] == [["Taip", "ei", "now"], ["to", "Osl", "o"]]


def test_errors_are_sorted_by_file_line_and_sentence():
    places = ["a.json:1 (sentence 2)", "a.json:1 (sentence 10)", "a.json:9", "a.json:10", "b:row 3"]
    problems = [f"{place}: not 1: as 2" for place in places]
    assert sort_by_place(reversed(problems)) == problems
