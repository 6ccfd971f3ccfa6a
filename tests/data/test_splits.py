"""The splits of a corpus: the held-out sentences, and problems that show between splits."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotfill.config.sections import DataConfig
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.split_findings import check_splits
from slotfill.data.splits import (
    MIN_VALID_LABELS,
    evaluation_split,
    holdout_share,
    ranks_epochs,
    read_split,
    split_names,
)
from slotfill.data.stratification import draw_holdout
from slotfill.errors import DataError, UsageError


def write(path: str, names: list[str]) -> None:
    """Write a sentence a line: `names` are the slots of each, joined by spaces."""
    lines = [
        " ".join([f"number {number}", *(f"[x]({name})" for name in row.split())])
        for number, row in enumerate(names)
    ]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_a_file_given_for_a_split_counts_whole():
    """Only of `data.path` the splits are selected that the file names."""
    path = Path(__file__).with_name("massive") / "en-US.jsonl"
    sizes = [
        len(read_split(DataConfig(path=str(path)), split).sentences) for split in ("train", "test")
    ]
    whole = len(path.read_text(encoding="utf-8").splitlines())
    assert all(0 < size < whole for size in sizes)
    assert len(read_split(DataConfig(train=str(path), holdout=0), "train").sentences) == whole
    given = DataConfig(train=str(path), test=str(path))
    assert len(read_split(given, "test").sentences) == whole


def labelled(*names: str, intent: str | None = None) -> list[Sentence]:
    """Return a sentence for each of `names`, which are its slots, joined by spaces."""
    rows = [name.split() for name in names]
    return [
        Sentence.from_tokens(
            ["x"] * max(len(row), 1), [Slot(name, i, i + 1) for i, name in enumerate(row)], intent
        )
        for row in rows
    ]


def list_names(sentences: list[Sentence]) -> set[str]:
    return {slot.name for sentence in sentences for slot in sentence.slots or ()}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("rows", "holdout", "shared"),
    [
        # None of the 12 sentences with a slot was among the 4 that were held out.
        (["city"] * 12 + [""] * 28, 0.1, {"city"}),
        (["city"] * 2 + [""] * 98, 0.1, {"city"}),
        (["city"] * 10 + ["day"] * 2 + ["hour day"] + ["hour"] + [""] * 86, 0.1,
         {"city", "day", "hour"}),
        ([f"name{i // 2}" for i in range(20)], 0.5, {f"name{i}" for i in range(10)}),
        # A name that only one sentence has stays in train, with what else the sentence has.
        (["city once"] + ["city"] * 9 + [""] * 10, 0.1, {"city"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", range(5))
def test_holdout_and_train_share_every_slot_name_that_two_sentences_have(
    here, rows, holdout, shared, order
):
    random.Random(order).shuffle(rows)
    write("a.brackets", rows)
    data = DataConfig(path="a.brackets", holdout=holdout)
    train, valid = (read_split(data, split).sentences for split in ("train", "valid"))
    assert list_names(valid) == shared
    assert list_names(train) == list_names(train) | shared
    assert len(valid) == round(len(rows) * holdout)
    assert len({sentence.text for sentence in [*train, *valid]}) == len(rows)
    assert read_split(data, "valid").sentences == valid


def test_holdout_and_train_share_every_intent(here):
    lines = [f'{{"text": "x {i}", "slots": [], "intent": "{"rare" if i < 2 else "often"}"}}'
             for i in range(40)]  # fmt: skip
    Path("a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = DataConfig(path="a.jsonl")
    for split in ("train", "valid"):
        sentences = read_split(data, split, intents=True).sentences
        assert {sentence.intent for sentence in sentences} == {"rare", "often"}


@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=10, max_size=60), st.floats(0.1, 0.5))
def test_every_slot_name_of_the_holdout_occurs_in_train(rows, holdout):
    sentences = labelled(*(" ".join(sorted(row)) for row in rows))
    size = round(len(rows) * holdout)
    held = draw_holdout(sentences, size)
    assert len(held) == size
    repeated = {
        name for name, count in Counter(n for row in rows for n in row).items() if count > 1
    }
    train = list_names([s for i, s in enumerate(sentences) if i not in held])
    # Where every sentence has a name that no other has, some of them must be held out.
    free = [row for row in rows if row <= repeated]
    if len(free) - len(repeated) >= size:
        assert train == {name for row in rows for name in row}


def test_holdout_of_0_trains_on_all_sentences(here):
    write("a.brackets", ["city"] * 20)
    data = DataConfig(path="a.brackets", holdout=0)
    assert len(read_split(data, "train").sentences) == 20
    assert split_names(data) == ["train"]
    for ask in (lambda: read_split(data, "valid"), lambda: evaluation_split(data)):
        with pytest.raises(UsageError, match="valid"):
            ask()
    with_test = data.model_copy(update={"test": "a.brackets"})
    assert evaluation_split(with_test) == "test"
    assert len(read_split(with_test, "test").sentences) == 20


@pytest.mark.parametrize(
    ("slots", "options", "share"),
    [
        (MIN_VALID_LABELS * 10, {"test": "a.brackets"}, 0.1),
        (MIN_VALID_LABELS * 10 - 1, {"test": "a.brackets"}, 0),
        (MIN_VALID_LABELS * 10 - 1, {"test": "a.brackets", "holdout": 0.2}, 0.2),
        (20, {}, 0.1),
        (20, {"valid": "a.brackets"}, 0),
        (20, {"valid": "a.brackets", "holdout": 0.2}, 0),
    ],
)
def test_small_corpus_holds_out_sentences_only_without_a_test_split(here, slots, options, share):
    write("a.brackets", ["city"] * slots)
    data = DataConfig(path="a.brackets", **options)
    assert holdout_share(data) == share
    assert len(read_split(data, "train").sentences) == slots - round(slots * share)
    assert ("valid" in split_names(data)) == (share > 0 or "valid" in options)


def test_splits_may_have_their_format_in_their_content(here):
    for name in ("train.txt", "test", "notes.txt"):
        Path(name).write_text("to O\nRome B-city\n\n", encoding="utf-8")
    assert split_names(DataConfig(path=".")) == ["test", "train"]


def test_train_without_any_slot_is_an_error(here):
    write("a.brackets", [""] * 20)
    with pytest.raises(DataError) as error:
        read_split(DataConfig(path="a.brackets"), "train")
    assert str(error.value) == (
        "a.brackets: none of the 20 training sentences has a slot, so there is nothing to learn;"
        " label the slots in some of them"
    )
    lines = [f'{{"text": "x {i}", "slots": [], "intent": "greet"}}' for i in range(20)]
    Path("a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    read_split(DataConfig(path="a.jsonl"), "train", intents=True)


def test_a_short_conll_file_without_empty_lines_is_an_error(here):
    Path("a.conll").write_text("go\tO\nto\tO\nRome\tB-city\nnow\tO\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_split(DataConfig(path="a.conll"), "train")
    assert str(error.value) == (
        "a.conll: no empty line, so its 4 tokens are one sentence; put an empty line after each"
        " sentence"
    )


MANY = ["drink"] * MIN_VALID_LABELS


@pytest.mark.parametrize(
    ("train", "splits", "findings"),
    [
        (MANY, {"valid": MANY}, []),
        (MANY, {}, []),
        (MANY, {"valid": [""] * 4},
         ["valid: none of its 4 sentences has a slot, so that its F1 is always 0; the last epoch is"
          " kept; set data.valid=FILE, or data.holdout=0 to train on all sentences"]),
        (MANY, {"valid": MANY[:25]},
         ["valid: 25 slots are too few to select an epoch (F1 is uncertain by up to 20 points);"
          " the last epoch is kept"]),
        ([*MANY, "size"], {"valid": [*MANY, "Drink"]},
         ["valid: slot names that train does not have and the model cannot learn: 'Drink' (nearest"
          " in train: 'drink')",
          "train: slot names that valid does not have: 'size'"]),
        (MANY, {"valid": MANY, "test": ["drnk", "a", "b", "c", "d", "e", "f"]},
         ["test: slot names that train does not have and the model cannot learn: 'a', 'b', 'c',"
          " 'd', 'drnk' (nearest in train: 'drink') and 2 more",
          "train: slot names that test does not have: 'drink' (nearest in test: 'drnk')"]),
        # Rare names may be missing by chance, frequent ones may not.
        ([*MANY, *["size"] * 9], {"valid": MANY},
         ["train: slot names that valid does not have: 'size'"]),
        ([*MANY, *["size"] * 4], {"valid": MANY}, []),
    ],
)  # fmt: skip
def test_problems_between_splits_are_named(train, splits, findings):
    corpus = {split: labelled(*names) for split, names in {"train": train, **splits}.items()}
    assert [*map(str, check_splits(corpus, intents=False))] == findings


def test_learned_intents_are_compared_and_counted_as_labels():
    train = labelled(*MANY, intent="order")
    valid = labelled(*[""] * MIN_VALID_LABELS, intent="Order")
    assert not ranks_epochs(valid, intents=False)
    assert ranks_epochs(valid, intents=True)
    found = check_splits({"train": train, "valid": valid}, intents=True)
    assert [*map(str, found)] == [
        "valid: intent names that train does not have and the model cannot learn: 'Order' (nearest"
        " in train: 'order')",
        "train: intent names that valid does not have: 'order' (nearest in valid: 'Order')",
    ]


def test_a_limit_draws_training_sentences_and_no_others(corpus):
    complete = DataConfig(path=str(corpus))
    texts = {
        limit: [
            s.text
            for s in read_split(complete.model_copy(update={"limit": limit}), "train").sentences
        ]
        for limit in (5, 10, 10_000, None)
    }
    assert (len(texts[5]), len(texts[10])) == (5, 10) and texts[10_000] == texts[None]
    assert set(texts[5]) <= set(texts[10]) <= set(texts[None])
    limited = complete.model_copy(update={"limit": 5})
    for split in ("valid", "test"):
        assert read_split(limited, split).sentences == read_split(complete, split).sentences
    alone = DataConfig(train=str(corpus / "train.brackets"), holdout=0.25)
    held = [read_split(alone, "valid").sentences]
    alone.limit = 5
    assert [read_split(alone, "valid").sentences] == held
    train = read_split(alone, "train").sentences
    places = [{each.location for each in part} for part in (train, held[0])]
    assert len(train) == 5 and places[0].isdisjoint(places[1])


def test_a_limit_is_used_by_commands(desk, cli):
    result = cli("train", "tiny.yaml", "train.epochs=1", "data.limit=6", "--out", "run")
    assert (result.code, "data.limit: " in result.out) == (0, False)
    result = cli("check", "tiny.yaml", "data.limit=41")
    message = "data.limit: 41 is more than the 40 training sentences of train; all used"
    assert message in result.out
    assert "data.limit" not in cli("check", "tiny.yaml", "data.limit=40").out
    assert "limit: 6" in (desk / "run" / "config.yaml").read_text()
    for option in (["--folds", "2"], ["--percentages", "50,100"]):
        result = cli("compare", "tiny.yaml", "data.limit=6", *option)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert "data.limit: does not go with --folds and --percentages" in result.err
    assert "data.limit: must be" in cli("train", "tiny.yaml", "data.limit=0").err
