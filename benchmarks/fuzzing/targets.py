"""All targets, and those for texts, tags and the files of a run."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

from fuzzing import formats, service
from fuzzing.base import Target, accepts
from slotfill.config.registry import FORMATS
from slotfill.config.validate import parse_config
from slotfill.data.batching import make_batch
from slotfill.data.corpus import read_texts
from slotfill.data.detection import writable_formats
from slotfill.data.schemes import SCHEMES, slots_to_tags, tags_to_slots
from slotfill.data.sentence import Slot
from slotfill.data.static_table import BUILTIN_TABLE, StaticTable
from slotfill.data.tokenizers import TOKENIZERS, Tokenizer, is_empty
from slotfill.data.word_vectors import read_vectors
from slotfill.inference import onnx_engine
from slotfill.inference.onnx_engine import ONNX, OnnxEngine
from slotfill.runs.load import (
    load_run,
    parse_calibration,
    parse_values,
    parse_vocab,
    read_history,
)
from slotfill.runs.manifest import RunFiles
from slotfill.runs.predict import Predictor

ROOT = Path(__file__).resolve().parents[2]


def make_targets(run: Path) -> dict[str, Target]:
    """Return the targets by name; `run` is a small trained run."""
    contents = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    vocab = parse_vocab(contents["vocab.json"], run)
    predictor = Predictor(load_run(run))
    table = _small_table()
    rules: dict[str, Any] = {
        "rules": [
            {"slot": "city", "action": "fill", "pattern": "to (?P<value>[a-z]+)"},
            {"slot": "city", "action": "veto", "phrases": ["new york", "oslo"]},
        ],
        "synonyms": {"city": {"oslo": "Oslo"}},
        "resolve": {"slots": {"city": "date"}, "language": "en", "date_order": "DMY"},
    }
    lines = b"fly to New York\nleave Oslo\n\xe5\x8f\xb0\xe5\x8c\x97 \xf0\x9f\x9b\xab\n"
    return {
        **{f"format-{name}": formats.make_target(name) for name in FORMATS.names()},
        "format-detected": Target(formats.read_detected, formats.list_examples()),
        "texts": Target(formats.read_any_texts, [lines, b"\xff\xfea\0b\0", b'{"text": "a"}\n']),
        "config": Target(
            lambda data, _: parse_config(_text(data), "c.yaml"),
            [path.read_bytes() for path in sorted((ROOT / "configs").rglob("*.yaml"))[:30]],
        ),
        "overrides": Target(
            lambda data, _: parse_config("", "c.yaml", _text(data).split("\n")),
            [
                b"encoder.hidden_size=200\ntrain.epochs=3\nembedding=[word, {name: char_cnn}]",
                b"data.path=x\nencoder.cell={name: lstm, peepholes: true}\nthresholds.a=0.5",
                b"train={seed: 2}\nencoder.0.layers=2\ntune.train.epochs=[1, 2]\nintent=null",
            ],
            max_size=1024,
        ),
        "tokenizer": Target(_tokenize, [b"1:St. John's (9am) a@b.c $5", b"2:\xe5\x8f\xb0\xcc\x81"]),
        "schemes": Target(_convert_tags, [b"iob2 bioes B-a I-a O B-b", b"bioes iob1 B-a E-a S-a"]),
        "vocab": Target(partial(_use_vocab, contents), [contents["vocab.json"]], max_size=1 << 15),
        "calibration": Target(
            lambda data, _: parse_calibration(data, run), [contents["calibration.json"]]
        ),
        "values": Target(partial(_use_values, vocab.tokenizer), [json.dumps(rules).encode()]),
        "manifest": Target(partial(_open, "manifest.json"), [contents["manifest.json"]]),
        "history": Target(partial(_read_history, contents), [contents["history.csv"]]),
        "packed": Target(partial(_open, ""), [_pack(run)], max_size=1 << 17),
        **{
            name: Target(
                partial(_use_onnx, contents, vocab, name), [contents[name]], max_size=1 << 17
            )
            for name in ONNX
        },
        "safetensors": Target(_load_tensors, [contents["model.safetensors"]], max_size=1 << 16),
        "vectors": Target(
            _read_vectors,
            [
                b"2 3\nfly 1 2 3\nto 4 5e-3 6\n",
                b"fly 1 2\nto 3 4\n",
                b"1 2\nfly \0\0\x80?\0\0\0@\n",
            ],
        ),
        "static-table": Target(_read_table, [table], max_size=1 << 14),
        "resolve": Target(
            _resolve,
            [b"date:tomorrow at 5 pm", b"time:half past 5", b"number:two"],
            max_size=512,
        ),
        "predict": Target(
            partial(_predict, predictor),
            [lines, b"leave Oslo for Paris, please\r\n"],
            max_size=256,
        ),
        "http": Target(
            partial(service.connect, run),
            service.example_requests(run.name),
            max_size=1 << 13,
            started=False,
        ),
        "openapi": Target(
            partial(service.ask_by_description, run),
            [bytes(range(256)) * 8, bytes(2048), *(bytes([each]) * 600 for each in (1, 7, 255))],
            started=False,
        ),
    }


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _tokenize(data: bytes, _: Path) -> None:
    number, _colon, text = _text(data).partition(":")
    name = list(TOKENIZERS)[len(number) % len(TOKENIZERS)]
    tokenizer = Tokenizer(name, "NFC" if len(text) % 2 else "none")
    sentence = tokenizer.tokenize(text)
    spans = [text[start:end] for start, end in sentence.offsets]
    rest = "".join(spans)
    assert all(is_empty(each) or each in rest for each in text)
    edges = [edge for span in sentence.offsets for edge in span]
    assert edges == sorted(edges) and all(spans)
    restored = Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert restored.tokenize(text).tokens == sentence.tokens


def _convert_tags(data: bytes, _: Path) -> None:
    first, second, *tags = (*_text(data).split(), "", "")
    old, new = (list(SCHEMES)[len(each) % len(SCHEMES)] for each in (first, second))
    try:
        slots = tags_to_slots(tags[:-2], old)
    except ValueError:
        return
    converted = slots_to_tags(slots, len(tags) - 2, new)
    assert tags_to_slots(converted, new) == slots


def _use_vocab(contents: dict[str, bytes], data: bytes, folder: Path) -> None:
    vocab = parse_vocab(data, folder)
    engine = OnnxEngine(contents, vocab, folder)
    for path in engine.predict(make_batch([["leave", "Oslo"]], engine.indexers))[0]:
        vocab.tags_to_slots(path)
    assert parse_vocab(json.dumps(vocab.to_json()).encode(), folder).to_json() == vocab.to_json()


def _use_values(tokenizer: Tokenizer, data: bytes, folder: Path) -> None:
    values = parse_values(data, folder)
    sentence = tokenizer.tokenize("from Oslo to New York")
    sentence.slots = [Slot("city", 1, 2)]
    values.rules.apply(sentence, sentence.slots, [0.5])
    with suppress(ValueError):  # Of a language that is not known.
        values.resolver(datetime(2026, 1, 1)).resolve(sentence)


def _resolve(data: bytes, _: Path) -> None:
    kind, _colon, text = _text(data).partition(":")
    kind = {"date": "date", "time": "time"}.get(kind, "number")
    languages = ("en", "de", "zh", "fr")
    settings = {"slots": {"x": kind}, "language": languages[len(text) % len(languages)]}
    content = {"rules": [], "synonyms": {}, "resolve": settings}
    values = parse_values(json.dumps(content).encode(), Path())
    sentence = Tokenizer().tokenize(text)
    sentence.slots = [Slot("x", 0, len(sentence.tokens))] if sentence.tokens else []
    values.resolver(datetime(2026, 1, 1)).resolve(sentence)


def _open(name: str, data: bytes, folder: Path) -> None:
    path = folder / "run"
    if name:
        path.mkdir()
    (path / name if name else path).write_bytes(data)
    files = RunFiles(path)
    for each in ("config.yaml", "vocab.json", *ONNX):
        if files.has(each):
            accepts(files.__getitem__, each)


class _Files(dict[str, bytes]):
    path = Path("run")


def _read_history(contents: dict[str, bytes], data: bytes, folder: Path) -> None:
    read_history(_Files(contents | {"history.csv": data}))  # type: ignore[arg-type]


# The file that is not mutated is loaded once.
_load_session = lru_cache(2)(onnx_engine._Session)


def _use_onnx(contents: dict[str, bytes], vocab: Any, name: str, data: bytes, folder: Path) -> None:
    onnx_engine._Session = _load_session  # type: ignore[assignment, misc]
    engine = OnnxEngine(contents | {name: data}, vocab, folder)
    engine.predict(make_batch([["leave", "Oslo"], ["x"]], engine.indexers))


def _load_tensors(data: bytes, folder: Path) -> None:
    from slotfill.runs.load import parse_tensors

    parse_tensors(data, folder / "model.safetensors")


def _pack(run: Path) -> bytes:
    from slotfill.runs.pack import pack_run

    return pack_run(run)


def _read_vectors(data: bytes, folder: Path) -> None:
    path = folder / "vectors"
    path.write_bytes(data)
    for kind in ("auto", "glove", "word2vec", "word2vec_binary"):
        accepts(read_vectors, path, ["fly", "Oslo"], len(data) % 3, True, kind)


def _small_table() -> bytes:
    table, file = StaticTable.read(BUILTIN_TABLE), BytesIO()
    StaticTable(table.pieces[:50], table.vectors[:50, :8], table.scale, True).write(file)  # type: ignore[arg-type]
    return file.getvalue()


def _read_table(data: bytes, folder: Path) -> None:
    path = folder / "table.npz"
    path.write_bytes(data)
    StaticTable.read(path)


def _predict(predictor: Predictor, data: bytes, folder: Path) -> None:
    path = folder / "input"
    path.write_bytes(data)
    texts = list(predictor.check_lengths(read_texts(path, "text", errors="replace")))
    names = writable_formats()
    format = names[len(data) // 2 % len(names)] if len(data) % 2 else "jsonl"
    rendered = "".join(predictor.render_stream(texts, format))
    rendered.encode()
    if format != "jsonl":
        return
    answered = [json.loads(row)["text"] for row in rendered.split("\n")[:-1]]
    assert answered == [text.text for text in texts], "a line is not answered"
