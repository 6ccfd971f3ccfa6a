"""The time to read a sentence with many slots, or other parts, grows with their number alone."""

from __future__ import annotations

import gc
import json
from itertools import repeat
from time import process_time

import pytest

from slotfill.data.detection import build_format


def json_row(**row):
    return {"data.jsonl": json.dumps(row)}


def slots(count, value="ab", first=0, step=0):
    slot = {"name": "x", "value": value}
    starts = range(first, first + count * step, step) if step else repeat(first, count)
    return [{**slot, "start": start, "end": start + 1} for start in starts]


def label_studio(count):
    values = ({**slot, "text": "ab", "labels": ["x"]} for slot in slots(count))
    results = [{"type": "labels", "value": value} for value in values]
    return {"data": {"text": "ab " * count}, "annotations": [{"result": results}]}


def brat(count, first, step):
    starts = (first + index * step for index in range(count))
    rows = (f"T{index}\tx {start} {start + 1}\tab\n" for index, start in enumerate(starts))
    return {"data.txt": f"{'ab ' * count}\n", "data.ann": "".join(rows)}


def values(count):
    """Return values that are all different."""
    return [f"w{index}" for index in range(count)]


def distinct_slots(count):
    """Return the keys of a text of different values, and its slots, all at the start."""
    found = [slots(1, value)[0] for value in values(count)]
    return {"text": " ".join(values(count)), "slots": found}


def gliner2(words):
    return json_row(input=" ".join(words), output={"entities": {"x": words}})


def luis(count):
    starts = range(0, 3 * count, 3)
    entities = [{"entity": "x", "startPos": start, "endPos": start + 1} for start in starts]
    return {
        "luis_schema_version": "7",
        "utterances": [{"text": "ab " * count, "entities": entities}],
    }


def rasa(example):
    return {"data.yml": f"nlu:\n- intent: a\n  examples: |\n    - {example}\n"}


def snips(utterance):
    return {"data.yml": f"type: intent\nname: a\nutterances:\n- '{utterance}'\n"}


CASES = {
    "the same wrong offsets": lambda n: json_row(text="ab " * n, slots=slots(n)),
    "offsets that are wrong by one": lambda n: json_row(text="ab " * n, slots=slots(n, "ab", 1, 3)),
    "offsets of UTF-16": lambda n: json_row(
        text="\U0001f6eb" + "ab " * n, slots=slots(n, "b", 3, 3)
    ),
    "offsets of NFC": lambda n: json_row(text="e\u0301 ab " * n, slots=slots(n, "\xe9", 0, 5)),
    "values that are not in the text": lambda n: json_row(text="ab " * n, slots=slots(n, "xy")),
    "values without offsets": lambda n: json_row(text="ab " * n, slots={"x": ["ab"] * n}),
    "values before the last slot": lambda n: json_row(
        text="ab " + "cd " * n, slots={"x": ["ab"] * n}
    ),
    "wrong offsets of Label Studio": lambda n: {"data.json": json.dumps([label_studio(n)])},
    "offsets that are far away": lambda n: json_row(**distinct_slots(10 * n)),
    "values in another order": lambda n: json_row(
        text=" ".join(values(10 * n)), slots={"x": values(10 * n)[::-1]}
    ),
    "values of GLiNER2": lambda n: gliner2(values(n)),
    "slots of LUIS": lambda n: {"data.json": json.dumps(luis(10 * n))},
    "wrong offsets of brat": lambda n: brat(n, 0, 0),
    "offsets of brat that are wrong by one": lambda n: brat(n, 1, 3),
    "unknown keys": lambda n: json_row(text="ab", **{f"key{i}": 1 for i in range(2 * n)}),
    "slots of one token": lambda n: json_row(tokens=["a"] * 10 * n, tags=["B-x"] * 10 * n),
    "slots that are cut": lambda n: json_row(tokens=["a"] * 10 * n, tags=["?", "I-x"] * 5 * n),
    "brackets of Rasa": lambda n: rasa("[" * 20 * n),
    "names of Rasa": lambda n: rasa("[a](" * 5 * n),
    "values of Rasa": lambda n: rasa("[a](b:" * 5 * n),
    "objects of Rasa": lambda n: rasa("[a]{" * 5 * n),
    "lists of objects of Rasa": lambda n: rasa("[a][{" * 5 * n),
    "comments of Rasa": lambda n: {"data.md": "## intent:a\n- b" + "<!--" * 20 * n},
    "synonyms of Rasa": lambda n: rasa(
        "\n    - ".join(f'[w{i}]{{"entity":"b","value":"c"}}' for i in range(n))
    ),
    "slashes in the name of a slot": lambda n: {"data.brackets": f"[a](b{'/' * 40 * n})\n"},
    "words of Snips": lambda n: snips("[a](b" * 5 * n),
}


@pytest.fixture
def no_garbage_collection():
    """Files are read without it, and its time depends on the objects of all tests."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("case", CASES)
def test_the_time_to_read_is_linear(case, tmp_path):
    def measure(count):
        folder = tmp_path / str(count)
        folder.mkdir(exist_ok=True)
        files = CASES[case](count)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
        path = folder / next(iter(files))
        reader = build_format(path, None)
        start = process_time()
        list(reader.read(path, scheme="iob2"))
        reader.known_values(path)
        return process_time() - start

    # Four times as much takes 4 times as long, or 16 times if it is quadratic.
    tries = (measure(4 * SIZE) < 8 * measure(SIZE) for _ in range(3))
    assert any(tries)


SIZE = 300
