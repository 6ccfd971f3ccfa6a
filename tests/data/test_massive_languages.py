"""Files of MASSIVE in six languages train and predict, with the splits that they name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slotfill.data.alignment import align
from slotfill.data.corpus import read_examples, read_sentences
from slotfill.data.tokenizers import Tokenizer

FILES = sorted(Path(__file__).with_name("massive").glob("*.jsonl"))
LOCALES = [file.stem for file in FILES]


def test_languages():
    assert LOCALES == ["ar-SA", "de-DE", "en-US", "ja-JP", "th-TH", "zh-CN"]


@pytest.mark.parametrize("file", FILES, ids=LOCALES)
def test_texts_and_slots_are_those_of_the_file(file):
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    sentences = read_sentences(file).sentences
    for row, sentence in zip(rows, sentences, strict=True):
        assert (sentence.text, sentence.intent) == (row["utt"], row["intent"])
        marked = "".join(
            f"[{name} : {part}]" if name else part for part, name in sentence.split_by_slot()
        )
        assert marked == row["annot_utt"]
        kinds = [issue.kind for issue in sentence.issues]
        assert kinds == ["extra", "left out"]  # Other keys, and its split.


def test_a_folder_of_languages_names_the_files_to_choose_from(cli):
    folder = FILES[0].parent
    result = cli("check", f"data.path={folder}")
    assert result.code == 2
    assert result.err.endswith(
        "massive, which has ar-SA, de-DE, en-US, ja-JP, th-TH, zh-CN; call one of them train, or"
        f" give one: {os.path.relpath(FILES[0])}\n"
    )


@pytest.mark.parametrize("file", FILES, ids=LOCALES)
def test_splits_train_and_predict(file, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checked = cli("check", f"data.path={file}")
    for split, size in (("train", 8), ("valid", 2), ("test", 2)):
        assert f"{file.stem}: {split}: {size} sentences" in checked.out
    trained = cli("train", f"data.path={file}", "embedding=word", "train.epochs=1", "--out", "run")
    assert trained.code == 0, trained.err
    assert "test: 2 sentences" in trained.out
    assert cli("evaluate", "run", "--split", "valid").code == 0
    predicted = cli("predict", "run", "--input", file, "--input-format", "massive")
    assert predicted.code == 0, predicted.err
    predictions = [json.loads(line) for line in predicted.out.splitlines()]
    assert [each["text"] for each in predictions] == [each.text for each in read_examples(file)]
    for prediction in predictions:
        for slot in prediction["slots"]:
            assert prediction["text"][slot["start"] : slot["end"]] == slot["value"]


@pytest.mark.parametrize("file", FILES, ids=LOCALES)
def test_slots_of_other_sentences_are_tokens_of_the_default_tokenizer(file):
    examples = read_examples(file)
    for fold in range(6):
        learned = Tokenizer.fit(
            "words", "NFC", [e for i, e in enumerate(examples) if i % 6 != fold]
        )
        align(examples[fold::6], learned, "error", keep_tokens=False)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=LOCALES)
def test_the_defaults_learn_the_training_sentences(file, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("train", f"data.path={file}", "--out", "run").code == 0
    scores = cli("evaluate", "run", "--split", "train", "--json")
    assert json.loads(scores.out)["overall"]["f1"] == 100
