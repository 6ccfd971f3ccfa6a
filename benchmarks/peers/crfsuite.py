"""CRFsuite as a slot tagger: a linear-chain CRF with hand-written features, trained by L-BFGS.

    PYTHON benchmarks/peers/crfsuite.py train CORPUS MODEL      prints JSON: seconds, ...
    PYTHON benchmarks/peers/crfsuite.py predict MODEL           a worker: see worker.py
    PYTHON benchmarks/peers/crfsuite.py answer MODEL SENTENCE   from start to prediction

PYTHON is that of the environment created by environment.py. c1 and c2 were selected on valid; they
are the best of those tried on ATIS, SNIPS and MIT Restaurant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pycrfsuite
from worker import Span, corpus, main, spans

SETTINGS = {"c1": 0.1, "c2": 0.1, "max_iterations": 200}


@lru_cache(maxsize=65536)
def word_features(word: str) -> tuple[tuple[bytes, ...], bytes]:
    """Return the features of a word by itself, and the word in lower case."""
    lower = word.lower()
    shape = "".join(
        "d" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word
    )
    brief = re.sub(r"(.)\1+", r"\1", shape)
    names = [f"w={lower}", f"shape={shape}", f"brief={brief}"]
    for size in range(1, min(4, len(lower)) + 1):
        names += [f"p{size}={lower[:size]}", f"s{size}={lower[-size:]}"]
    if "d" in shape:
        names.append("digit")
    return tuple(feature.encode() for feature in names), lower.encode()


def features(words: list[str]) -> list[list[bytes]]:
    """Return the features of each word: itself, two neighbours on each side, and word pairs."""
    known = [word_features(word) for word in words]
    w = [b"<<", b"<", *(lower for _, lower in known), b">", b">>"]
    return [
        [
            *own,
            b"-2=" + w[at],
            b"-1=" + w[at + 1],
            b"+1=" + w[at + 3],
            b"+2=" + w[at + 4],
            b"-1,0=" + w[at + 1] + b" " + w[at + 2],
            b"0,+1=" + w[at + 2] + b" " + w[at + 3],
            b"-2,-1=" + w[at] + b" " + w[at + 1],
            b"+1,+2=" + w[at + 3] + b" " + w[at + 4],
            b"-1,+1=" + w[at + 1] + b" " + w[at + 3],
        ]
        for at, (own, _) in enumerate(known)
    ]


def train(folder: Path, model: Path) -> dict[str, Any]:
    """Train on the training sentences of the corpus `folder` and save to `model`."""
    trainer = pycrfsuite.Trainer("lbfgs", SETTINGS, verbose=False)
    for words, tags in corpus(folder, "train"):
        trainer.append(features(words), tags)
    trainer.train(str(model))
    return {"peer": "CRFsuite", **SETTINGS, "iterations": trainer.logparser.last_iteration["num"]}


class Tagger:
    """A model at work."""

    def __init__(self, model: Path) -> None:
        self.tagger = pycrfsuite.Tagger()
        self.tagger.open(str(model))

    def __call__(self, texts: Iterable[str]) -> Iterator[tuple[str, list[str], list[Span]]]:
        for text in texts:
            words = text.split()
            yield text, words, spans(self.tagger.tag(features(words)))


if __name__ == "__main__":
    main(train, Tagger)
