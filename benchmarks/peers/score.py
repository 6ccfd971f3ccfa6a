"""F1 of the slots that a peer, or slotfill, has written, as slotfill counts its own.

    python benchmarks/peers/score.py GOLD WRITTEN.jsonl        prints JSON: f1, sentences, slots

GOLD is a test set as slotfill reads one: shared/data/atis/test,
shared/data/mit_restaurant/test.conll. Written lines beyond those of GOLD are its lines again, and
passed over. Run by slotfill's Python.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slotfill.data.corpus import read_sentences
from slotfill.evaluation.metrics import slot_f1


def score(gold: Path, written: Path) -> dict[str, Any]:
    """Return the F1 in percent of the JSON lines `written` for the sentences of `gold`."""
    expected = read_sentences(gold, tokenizer="whitespace").sentences
    with TemporaryDirectory() as room, written.open(encoding="utf-8") as lines:
        first = Path(room, "first.jsonl")
        first.write_text("".join(islice(lines, len(expected))), encoding="utf-8")
        predicted = read_sentences(first, tokenizer="whitespace").sentences
    for expected_sentence, prediction in zip(expected, predicted, strict=True):
        if expected_sentence.tokens != prediction.tokens:
            sys.exit(
                f"{written}: found the sentence {prediction.text!r}, where {gold} has"
                f" {expected_sentence.text!r}"
            )
    f1 = slot_f1(expected, [sentence.slots or [] for sentence in predicted])
    return {
        "f1": f1,
        "sentences": len(expected),
        "slots": sum(len(sentence.slots or ()) for sentence in expected),
    }


if __name__ == "__main__":
    print(json.dumps(score(Path(sys.argv[1]), Path(sys.argv[2]))))
