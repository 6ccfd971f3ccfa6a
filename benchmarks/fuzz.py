"""Fuzzing: random input for everything that reads what a user or a stranger has written.

    python benchmarks/fuzz.py                              # list the targets
    python benchmarks/fuzz.py vocab config --seconds 60    # fuzz these, or all
    python benchmarks/fuzz.py all --inputs 1000000         # until each has had so many in all
    python benchmarks/fuzz.py vocab --reproduce FILE       # one input, with its traceback

A target may accept an input or refuse it with errors of one line each. Anything else is a finding:
another exception, more than a second of computing, or what was written is not read back the same.
Inputs are mutations of examples, kept if they reach new code (Atheris, pip install atheris; Linux
only). The next run goes on with what is kept, in build/fuzz/corpus, and with another seed;
build/fuzz has each finding. benchmarks/fuzz.json adds up the inputs of all runs and the seconds
of CPU that they took, and has the inputs per second of the last one.
tests/test_fuzz.py runs every target on its examples and on the inputs in tests/fuzz.
"""

from __future__ import annotations

import argparse
import ast
import gc
import json
import logging
import os
import platform
import random
import re
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from measured import record

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_suffix(".json")
SEPARATOR = b"\n=====\n"
"""Between the files of a format of several files."""

FUZZING = __name__ == "__main__" and "--reproduce" not in sys.argv and len(sys.argv) > 1

if FUZZING:
    import atheris


def instrumented() -> Any:
    """Within the block, imported modules of slotfill report the code that they run."""
    return atheris.instrument_imports(include=["slotfill"]) if FUZZING else nullcontext()


with instrumented():
    import fuzz_service

    from slotfill.config.registry import FORMATS
    from slotfill.config.validate import parse_config
    from slotfill.data.batching import make_batch
    from slotfill.data.convert import convert_file
    from slotfill.data.corpus import read_sentences, read_texts
    from slotfill.data.detection import writable_formats
    from slotfill.data.formats.base import Format
    from slotfill.data.schemes import SCHEMES, slots_to_tags, tags_to_slots
    from slotfill.data.sentence import Sentence, Slot
    from slotfill.data.static_table import BUILTIN_TABLE, StaticTable
    from slotfill.data.tokenizers import TOKENIZERS, Tokenizer, is_empty
    from slotfill.data.word_vectors import read_vectors
    from slotfill.errors import SlotfillError
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


@dataclass
class Target:
    """What is fuzzed."""

    run: Callable[[bytes, Path], object]
    """Uses an input, within an empty folder."""
    seeds: list[bytes]
    """Inputs that are accepted, which mutations begin with."""
    max_size: int = field(default=4096, kw_only=True)
    started: bool = field(default=True, kw_only=True)
    """Whether `run` is what uses an input; otherwise it returns that, in the process of its own."""

    make_seeds: Callable[[], list[bytes]] = field(default=list, kw_only=True)
    """Returns more seeds, which take long to make."""

    def start(self) -> None:
        """Make `run` what uses an input."""
        if not self.started:
            self.run, self.started = self.run(), True  # type: ignore[call-arg]


def check(target: Target, data: bytes, folder: Path) -> bool:
    """Run a target on an input; return whether it is accepted, and raise what is a finding."""
    target.start()
    try:
        return accepts(target.run, data, folder)
    finally:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def accepts(action: Callable[..., object], *arguments: Any) -> bool:
    """Return whether an action raises no error; raises what is no error of the user in one line."""
    try:
        action(*arguments)
    except SlotfillError as error:
        for message in error.messages:
            assert message.strip(), "an empty message"
            assert "\n" not in message, f"a message of several lines: {message!r}"
        return False
    return True


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
        "resolve": {"slots": {}, "language": "en"},
    }
    lines = b"fly to New York\nleave Oslo\n\xe5\x8f\xb0\xe5\x8c\x97 \xf0\x9f\x9b\xab\n"
    return {
        **{f"format-{name}": _format_target(name) for name in FORMATS.names()},
        "format-detected": Target(_read_detected, _format_examples()),
        "texts": Target(_read_any_texts, [lines, b"\xff\xfea\0b\0", b'{"text": "a"}\n']),
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
        "resolve": Target(_resolve, [b"date:tomorrow at 5 pm", b"time:half past 5", b"number:two"]),
        "predict": Target(
            partial(_predict, predictor), [lines, b"leave Oslo for Paris please\r\n"]
        ),
        "http": Target(
            partial(fuzz_service.connect, run),
            fuzz_service.example_requests(run.name),
            max_size=1 << 13,
            started=False,
        ),
        "openapi": Target(
            partial(fuzz_service.ask_by_description, run),
            [bytes(range(256)) * 8, bytes(2048), *(bytes([each]) * 600 for each in (1, 7, 255))],
            started=False,
        ),
    }


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


# Formats.


def _format_examples() -> list[bytes]:
    """Return the examples in the documentation of the formats of one text."""
    return [each for name in FORMATS.names() for each in _documented(name)]


def _documented(name: str) -> list[bytes]:
    doc = ast.get_docstring(FORMATS.part(name).tree, clean=False) or ""  # Keeps tabs.
    blocks = re.findall(r"(?:^    .*\n|^\n)+", doc, re.M)
    texts = [dedent(block).strip("\n") + "\n" for block in blocks if block.strip()]
    if name in _FILES:
        return [SEPARATOR.join(text.encode() for text in texts)]
    return [text.encode() for text in texts]


def _sample(part: Format) -> list[Sentence]:
    """Return two sentences that the format can hold."""
    intents = ("flight", "a") if part.holds_intents else ("", "")
    return [
        Sentence.from_tokens(["fly", "to", "New", "York"], [Slot("city", 2, 4)], intents[0]),
        Sentence.from_tokens(["台北", "(a)", "#"], [Slot("x", 0, 1), Slot("y", 1, 2)], intents[1]),
    ]


def _format_target(name: str) -> Target:
    seeds = _documented(name)
    if name in writable_formats():
        with TemporaryDirectory() as folder:
            path = Path(folder, "x")
            part = FORMATS.build(name)
            part.write(path, _sample(part), scheme="iob2")
            files = [path / file for file in _FILES.get(name, ())] or [path]
            seeds.append(SEPARATOR.join(file.read_bytes() for file in files))
    more = _doc_bins if name == "docbin" else list
    return Target(partial(_read_format, name), seeds, max_size=1 << 13, make_seeds=more)


def _doc_bins() -> list[bytes]:
    """Return an example of the format `docbin`, which slotfill does not write."""
    import spacy
    from spacy.tokens import Doc, DocBin, Span

    doc = Doc(spacy.blank("en").vocab, words=["fly", "to", "New", "York"])
    doc.ents = [Span(doc, 2, 4, label="city")]
    return [DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE"], docs=[doc]).to_bytes()]


_FILES = {"brat": ("x.txt", "x.ann"), "jointslu": ("seq.in", "seq.out", "label")}
"""The formats of several files."""


def _write_input(name: str, data: bytes, folder: Path) -> Path:
    """Write an input as the file of a format, or as a folder of its files; return its path."""
    path = folder / "input"
    if name not in _FILES:
        path.write_bytes(data)
        return path
    path.mkdir()
    for file, part in zip(_FILES[name], data.split(SEPARATOR), strict=False):
        (path / file).write_bytes(part)
    return path


def _read_format(name: str, data: bytes, folder: Path) -> None:
    path = _write_input(name, data, folder)
    scheme = list(SCHEMES)[len(data) % len(SCHEMES)]
    part = FORMATS.part(name).load()
    scheme = scheme if part.has_tags else "iob2"
    read_sentences(
        path, format=name, scheme=scheme, labelled=False, keep_tokens=True, list_problems=True
    )
    tokenize = ["words", "whitespace", "characters"][len(data) % 3]
    intents = part.needs_intents
    read_sentences(path, format=name, scheme=scheme, tokenizer=tokenize, intents=intents)
    names = writable_formats()
    for target_name in {name if name in names else "jsonl", names[len(data) % len(names)]}:
        accepts(_convert, path, name, target_name, scheme)


def _convert(path: Path, name: str, target_name: str, scheme: str) -> None:
    """Check that what is written in another format is read back the same."""
    target = path.with_name(f"output-{target_name}")
    reading, _ = convert_file(path, target, from_format=name, to_format=target_name, scheme=scheme)
    back = read_sentences(target, format=target_name, labelled=False, keep_tokens=True)
    assert _describe(reading.sentences) == _describe(back.sentences), "not read back the same"


def _describe(sentences: list[Sentence]) -> list[tuple[Any, ...]]:
    """Return what conversion keeps: words, slots and intents, in any order of the sentences."""
    rows = []
    for sentence in sentences:
        slots = [
            (slot.name, "".join(sentence.value(slot).split())) for slot in sentence.slots or ()
        ]
        rows.append(("".join(sentence.text.split()), slots, sentence.intent or ""))
    return sorted(rows)


def _read_detected(data: bytes, folder: Path) -> None:
    suffixes = ("", ".json", ".jsonl", ".txt", ".csv", ".yml", ".md", ".conll", ".tsv", ".ann")
    path = folder / f"input{suffixes[len(data) % len(suffixes)]}"
    path.write_bytes(data)
    read_sentences(path, labelled=False, list_problems=True)


def _read_any_texts(data: bytes, folder: Path) -> None:
    path = folder / "input"
    path.write_bytes(data)
    for errors in ("replace", "skip", "strict"):
        for example in read_texts(path, "text", errors=errors):
            example.text.encode()
    list(read_texts(path))


# Text, tags, and files of a run.


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


def _use_onnx(contents: dict[str, bytes], vocab: Any, name: str, data: bytes, folder: Path) -> None:
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
    format = names[len(data) % len(names)]
    "".join(predictor.render_stream(texts, format)).encode()
    rows = "".join(predictor.render_stream(texts, "jsonl")).split("\n")
    answered = [json.loads(row)["text"] for row in rows[:-1]]
    assert answered == [text.text for text in texts], "a line is not answered"


# Mutations, and the loop.

_TOKENS = (
    *(char.encode() for char in "\"'[]{}():,\\\n\r\t #-|>\0\x7f\x85\xa0\ufeff\u2028\u202e\u0301🛫"),
    *(b"\xff", b"&a", b"*a", b"!!", b"\x1b[31m", b"-DOCSTART-", b"B-x", b"O", b"?"),
    *(b"0", b"-1", b"1e400", b"NaN", b"null", b"true", b"9" * 5000),
)
_WINDOW = 4096
_VALUES = (None, True, -1, 2**70, 0.5, 1e308, "", "x", "\0", "\ud800", [], {}, [[]], ["a", "a"])


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Return `data` with an entry of JSON replaced, or a few tokens replaced, moved or added."""
    if draw.random() < 0.5:
        try:
            value = json.loads(data)
            return json.dumps(_mutate_json(value, draw), ensure_ascii=draw.random() < 0.5).encode(
                errors="surrogatepass"
            )
        except (ValueError, RecursionError):
            pass
    start = draw.randrange(max(1, len(data) - _WINDOW))  # To split a large file takes long.
    end = start + _WINDOW
    pieces = re.split(rb"(\W)", data[start:end])
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(pieces) + 1)
        length = draw.choice((0, 0, 1, 1, 2, 10))
        token = draw.choice((*_TOKENS, b"", draw.choice(pieces)))
        pieces[at : at + length] = [token] * draw.choice((1, 1, 1, 2, 100))
    return data[:start] + b"".join(pieces) + data[end:]


def _mutate_json(value: Any, draw: random.Random) -> Any:
    if isinstance(value, (dict, list)) and value and draw.random() < 0.8:
        key = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        if draw.random() < 0.1:
            del value[key]
        elif isinstance(value, dict) and draw.random() < 0.1:
            value[draw.choice(("", "x", "text", "\ud800", "name"))] = value.pop(key)
        else:
            value[key] = _mutate_json(value[key], draw)
        return value
    if isinstance(value, str) and draw.random() < 0.7:  # Most other values are refused at once.
        at = draw.randrange(len(value) + 1)
        token = draw.choice(_TOKENS).decode(errors="replace")
        return value[:at] + token + value[at + draw.choice((0, 0, 1, 3)) :]
    if isinstance(value, int) and draw.random() < 0.5:
        return value + draw.choice((-1, 1))
    return draw.choice(_VALUES)


@dataclass
class Count:
    """What a worker counts, and writes down now and then."""

    target: str
    run: int
    """The number of this run, which is its seed."""
    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    """Seconds of CPU for all."""
    slowest: float = 0.0
    """Seconds of computing for one input."""
    memory: float = 0.0
    """Megabytes at the most."""
    findings: dict[str, str] = field(default_factory=dict)


def work(target: Target, options: argparse.Namespace, folder: Path, count: Count) -> None:
    """Fuzz one target in this process, which ends here."""
    name, scratch, written = count.target, folder / "scratch", 0.0
    scratch.mkdir()
    logging.disable()
    os.fsync = lambda file: None  # What is written is gone soon.

    def note(data: bytes, problem: str) -> None:
        if problem not in count.findings and len(count.findings) < 20:
            path = options.findings / f"{name}-{sha256(problem.encode()).hexdigest()[:8]}"
            path.write_bytes(data)
            count.findings[problem] = path.name
            print(f"{path}: {problem}", flush=True)

    def test(data: bytes) -> None:
        nonlocal written
        began = time.process_time()
        try:
            count.accepted += check(target, data, scratch)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            problem = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            reason = f": {error}"[:80] if isinstance(error, AssertionError) else ""
            note(data, problem + reason)
        now = time.process_time()
        count.slowest = max(count.slowest, now - began)
        if now - began > 1:
            note(data, "more than a second")
        count.inputs += 1
        if now - written > 0.2 or count.inputs == options.inputs:
            written = now
            count.seconds = now - start
            count.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            (folder / "count.json").write_text(json.dumps(vars(count)))
        if options.seconds and now - start > options.seconds:
            os._exit(0)

    def mutate_input(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % 4 == 0:
            return bytes(atheris.Mutate(data, max_size))
        draw = random.Random(seed)
        if seed % 4 == 1:  # Most of what is kept is refused early.
            data = draw.choice(target.seeds)
        return mutate(data, draw)[:max_size]

    target.seeds += target.make_seeds()
    for seed in (*target.seeds, b"?"):  # What is imported now takes no time later.
        check(target, seed, scratch)
    corpus = options.findings / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"example-{number}").write_bytes(seed)
    arguments = [
        "-timeout=600",
        "-rss_limit_mb=4000",
        f"-max_len={target.max_size}",
        "-print_final_stats=0",
        f"-seed={count.run}",
        f"-artifact_prefix={options.findings}/{name}-died-",
    ]
    if options.inputs:
        arguments.append(f"-runs={options.inputs}")
    gc.freeze()
    start = time.process_time()
    atheris.Setup(
        [sys.argv[0], "-verbosity=0", *arguments, str(corpus)], test, custom_mutator=mutate_input
    )
    atheris.Fuzz()


def fuzz(target: Target, options: argparse.Namespace, count: Count) -> dict[str, Any]:
    """Fuzz one target in a process of its own, a fork of this one; return its counts."""
    with TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        process = os.fork()
        if process == 0:
            try:
                with (folder / "stderr").open("w") as errors:
                    os.dup2(errors.fileno(), 2)
                work(target, options, folder, count)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        _, status = os.waitpid(process, 0)
        file = folder / "count.json"
        counts: dict[str, Any] = json.loads(file.read_text()) if file.exists() else vars(count)
        if status:
            counts["findings"]["the process has died"] = ""
            print(f"{count.target}: has died: {(folder / 'stderr').read_text()[-2000:]}")
        return counts


def train_small_run(folder: Path, seed: int = 1) -> Path:
    """Train a small run of all that can be in its files; return it."""
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    small = ["embedding=[{name: word, size: 4}, {name: ngrams, size: 4}]"]
    small += ["encoder={name: recurrent, hidden_size: 8}", "train={epochs: 1, batch_size: 64}"]
    small.append(f"train.seed={seed}")
    return train(load_config("taipei", small)[1], RunFolder(folder / "run")).path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", help="targets, or all")
    parser.add_argument("--seconds", type=float, help="of CPU for each target; 60 without --inputs")
    parser.add_argument("--inputs", type=int, help="that each target is to have had in all runs")
    parser.add_argument("--findings", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--reproduce", type=Path, help="run one input")
    parser.add_argument("--run", type=Path, help="a small run; one is trained without")
    options = parser.parse_args()
    wanted = options.inputs
    if not wanted and options.seconds is None:
        options.seconds = 60
    options.findings.mkdir(parents=True, exist_ok=True)
    run = options.run or options.findings / "run"
    if not run.exists():
        train_small_run(options.findings)
    targets = make_targets(run)
    if not options.targets:
        print("\n".join(targets))
        return
    names = list(targets) if options.targets == ["all"] else options.targets
    if options.reproduce:
        with TemporaryDirectory(prefix="fuzz-") as folder:
            print(check(targets[names[0]], options.reproduce.read_bytes(), Path(folder)))
        return
    for name in names:
        earlier = read_results()["targets"].get(name, {})
        if wanted:
            options.inputs = wanted - earlier.get("inputs", 0)
            if options.inputs <= 0:
                continue
        counts = fuzz(targets[name], options, Count(name, earlier.get("runs", 0) + 1))
        problems = len(counts["findings"])
        rate = counts["inputs"] / max(counts["seconds"], 1e-3)
        print(
            f"{name}: {counts['inputs']:,} inputs, {rate:,.0f}/s, {problems} findings", flush=True
        )
        _add(name, counts)
    if options.targets == ["all"]:
        depends = ("data", "config", "runs", "inference", "serve")
        folders = [f"slotfill/{package}" for package in depends]
        record("benchmarks/fuzz.json", "python benchmarks/fuzz.py all", *folders)


def read_results() -> dict[str, Any]:
    """Return the results of all earlier runs."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"targets": {}}


def _add(name: str, counts: dict[str, Any]) -> None:
    """Add the counts of a target to those of earlier runs."""
    results = read_results()
    old = results["targets"].get(name, {})
    results["targets"][name] = {
        "runs": counts["run"],
        "inputs": old.get("inputs", 0) + counts["inputs"],
        "accepted": old.get("accepted", 0) + counts["accepted"],
        "seconds": round(old.get("seconds", 0) + counts["seconds"], 1),
        "slowest_seconds": round(max(old.get("slowest_seconds", 0), counts["slowest"]), 2),
        "peak_mb": round(max(old.get("peak_mb", 0), counts["memory"])),
        "findings": len(counts["findings"]),
        "rate": round(counts["inputs"] / max(counts["seconds"], 1e-3)),
    }
    results["date"], results["python"] = date.today().isoformat(), platform.python_version()
    results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    results["atheris"] = version("atheris")
    results["targets"] = dict(sorted(results["targets"].items()))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
