"""Training sentences on disk: the same sentences, the same errors and the same run as in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from slotfill.config.builtin import load_config
from slotfill.data.splits import read_split
from slotfill.data.stored import StoredSentences, select
from slotfill.errors import ConfigError, DataError, RunError
from slotfill.runs.train import build_trainer

LINES = (
    "[](go) fly to [New York](city.to)",
    "[](stay) hello\\nthere",
    "到[臺北](city)😀",
    "[](go) [Oslo](city)-bound",
)


def read_both(config, split="train"):
    intents = bool(config.intent)
    results = [read_split(config.data, split, intents=intents, streaming=s) for s in (False, True)]
    assert isinstance(results[1].sentences, StoredSentences)
    return results


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "train.brackets"
    path.write_text("\n".join(LINES * 5), encoding="utf-8")
    return path


def load(file, *overrides):
    return load_config(None, [f"data.train={file}", "data.holdout=0", *overrides])[1]


@pytest.mark.parametrize("words", [(), ("data.limit=7",), ("data.holdout=0.3", "data.limit=7")])
def test_stored_sentences_are_those_of_the_file(file, words):
    config = load(file, *words)
    for split in ("train", "valid") if len(words) == 2 else ("train",):
        in_memory, stored = read_both(config, split)
        assert [*stored.sentences] == [*in_memory.sentences]
        assert stored.tokenizer.to_json() == in_memory.tokenizer.to_json()
    sentences = stored.sentences
    assert sentences[-1] == [*sentences][-1] and [*sentences[1:3]] == [*sentences][1:3]
    assert [*select(sentences, [2, 0, 2])] == select([*sentences], [2, 0, 2])
    assert len(select(sentences, [])) == 0


def test_unknown_labels_and_what_was_repaired_are_stored(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"tokens": ["to", "Rome", "now"], "tags": ["I-a", "O", "?"]}\n'
        '{"text": "to Rome", "slots": [{"name": "a", "value": "Rome", "start": 2, "end": 6}]}\n'
        '{"text": "nothing"}\n'
    )
    in_memory, stored = read_both(load(path))
    assert [*stored.sentences] == in_memory.sentences
    assert stored.sentences[0].unknown == [(2, 3)]
    kinds = ("repaired tag", "corrected offset", "unlabelled")
    assert stored.issues(*kinds) == in_memory.issues(*kinds) and len(stored.issues(*kinds)) == 3


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((*LINES, "[Oslo](city"), ()),
        (("hello", "there"), ()),
        ((*LINES[:2], "no intent", *LINES), ("intent=attention",)),
        ((), ()),
    ],
)
def test_the_errors_of_a_file_are_the_same(file, lines, words):
    file.write_text("\n".join(lines), encoding="utf-8")
    messages = []
    for streaming in (False, True):
        config = load(file, *words)
        with pytest.raises(DataError) as error:
            read_split(config.data, "train", intents=bool(config.intent), streaming=streaming)
        messages.append(error.value.messages)
    assert messages[0] == messages[1]


def test_batches_are_the_same_in_each_process(file):
    words = ("train.batch_size=4", "train.class_balance=0.5", "train.language_model_weight=0.1")
    config = load(file, *words, "embedding={name: word, size: 4}")
    shards = []
    for result in read_both(config):
        batches = build_trainer(config, {"train": result.sentences}).batches
        batches.num_workers = 2
        shards.append([[*batches.shards(3, rank, 1)] for rank in range(2)])
    for own, other in zip(*shards, strict=True):
        assert len(own) == len(other) == 4
        for shard, again in zip(own, other, strict=True):
            assert (shard.sentences, shard.tokens) == (again.sentences, again.tokens)
            for name in ("lengths", "tags", "words", "weights"):
                np.testing.assert_array_equal(
                    getattr(shard.batch, name), getattr(again.batch, name)
                )


def test_the_run_is_the_same(trained, tmp_path, cli):
    config = trained.with_name("tiny.yaml")
    assert cli("train", config, "data.streaming=true", "--out", tmp_path / "run").code == 0
    for name in ("model.safetensors", "vocab.json", "calibration.json"):
        assert (tmp_path / "run" / name).read_bytes() == (trained / name).read_bytes(), name


@pytest.mark.parametrize("key", ["train.text", "train.repeat_threshold", "train.from_run"])
def test_what_needs_the_sentences_in_memory_is_refused(file, key):
    value = 0.5 if key == "train.repeat_threshold" else file
    with pytest.raises(ConfigError, match=f"{key}.*in memory; set data.streaming to false"):
        load(file, "data.streaming=true", f"{key}={value}")


def test_a_full_disk_is_one_line(file, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slotfill.data.stored.TemporaryFile", full)
    where = tempfile.gettempdir()
    with pytest.raises(RunError, match=f"^{where}: .*No space left on device; set TMPDIR"):
        read_both(load(file))
    assert Path(where).is_dir()
