"""Samples of the training sentences of three corpora, for scripts that train on few."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from slotfill.config.sections import DataConfig
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
"""Folder of the corpora."""


def write_sample(corpus: str, number: int, draw: int = 1) -> Path:
    """Write a draw of training sentences and the complete test set; return their folder."""
    folder = ROOT / "build" / "samples" / f"{corpus}-{number}-draw{draw}"
    # Up to 1,000 of as many as these corpora have, the smaller sample begins the larger.
    sentences = random.Random(draw).sample(read_corpus(corpus, "train"), number)
    write_conll(folder / "train.conll", sentences)
    write_conll(folder / "test.conll", read_corpus(corpus, "test"))
    return folder


def read_corpus(corpus: str, split: str) -> list[Sentence]:
    """Return the sentences of a split, tokenized as the file is."""
    data = DataConfig(path=str(SHARED / corpus), tokenizer="whitespace")
    return read_split(data, split).sentences


def write_conll(path: Path, sentences: Iterable[Sentence]) -> Path:
    """Write sentences with their tags, in place of the file if it exists; return its path."""
    blocks = []
    for each in sentences:
        tags = slots_to_tags(each.slots or [], len(each.tokens), "iob2")
        rows = zip(each.tokens, tags, strict=True)
        blocks.append("".join(f"{token}\t{tag}\n" for token, tag in rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path
