"""Training does not depend on the script in which words are written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from conftest import write_config

from slotfill.config.sections import DataConfig
from slotfill.data.schemes import slots_to_tags
from slotfill.data.splits import read_split

FIRST = {"Georgian": "ა", "Devanagari": "ऄ", "Han": "一", "emoji": "🌀"}
"""The character that replaces a; the others follow in the order of Unicode."""

EMBEDDINGS = (
    "[{name: word, size: 8}, {name: char_cnn, size: 4, filters: 6}, {name: ngrams, size: 8}]"
)


def learned(cli, folder, corpus, first):
    """Train on the tiny corpus with other letters; return its history without times."""
    letters = {ord("a") + index: ord(first) + index for index in range(26)}
    (folder / "corpus").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        blocks = []
        for sentence in read_split(DataConfig(path=str(corpus)), split).sentences:
            tags = slots_to_tags(sentence.slots, len(sentence.tokens), "iob2")
            words = [token.lower().translate(letters) for token in sentence.tokens]
            blocks.append(
                "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
            )
        (folder / "corpus" / f"{split}.conll").write_text("\n".join(blocks), encoding="utf-8")
    config = write_config(
        folder / "tiny.yaml",
        data="{path: corpus, tokenizer: given}",
        embedding=EMBEDDINGS,
        train="{epochs: 2, batch_size: 4}",
    )
    result = cli("train", config, "--out", folder / "run")
    assert result.code == 0, result.err
    with Path(folder / "run" / "history.csv").open(encoding="utf-8") as file:
        return [(row["loss"], row["valid_f1"]) for row in csv.DictReader(file)]


_LATIN: list[Any] = []


@pytest.fixture
def latin(cli, corpus, tmp_path):
    """The history of training with Latin letters, trained once."""
    if not _LATIN:
        _LATIN.extend(learned(cli, tmp_path / "Latin", corpus, "a"))
    return _LATIN


@pytest.mark.parametrize("script", FIRST)
def test_other_scripts_train_identically(script, latin, cli, corpus, tmp_path):
    assert len(latin) == 2
    assert learned(cli, tmp_path / script, corpus, FIRST[script]) == latin
    predicted = cli("predict", tmp_path / script / "run", chr(ord(FIRST[script]) + 1) * 4)
    assert predicted.code == 0, predicted.err
