"""Pretrained vectors in a run: stored words, reports, and prediction without the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import write_config
from safetensors.torch import load_file

from slotfill.config.builtin import load_config
from slotfill.config.registry import EMBEDDINGS
from slotfill.data.batching import make_batch
from slotfill.data.indexers import PretrainedIndexer
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError
from slotfill.runs.load import load_run

TEXTS = ["leave Oslo for Boston please", "fly from Lisbon to new york", "ARRIVE Tokyo", "xyzzy"]
KNOWN = ["the", "to", "leave", "fly", "Tokyo", "paris", "boston", "Lisbon", "hello", "from"]


def write_vectors(path: Path, words: list[str] = KNOWN, size: int = 6) -> Path:
    rows = np.random.default_rng(4).normal(size=(len(words), size))
    lines = (
        f"{word} {' '.join(f'{x:.4f}' for x in row)}\n"
        for word, row in zip(words, rows, strict=True)
    )
    path.write_text("".join(lines), encoding="utf-8")
    return path


def embedding(tokens, path, training=("leave", "Paris", "to", "Rome"), **options):
    vocab = Vocab(dict.fromkeys(training, 1), ["O"], "iob2")
    part = EMBEDDINGS.build({"name": "pretrained", "path": str(path), **options}, vocab)
    (ids,) = part.indexer.index([tokens])
    import torch

    return part, part(torch.from_numpy(ids))[0].detach().numpy()


def read_rows(path: Path) -> dict[str, np.ndarray]:
    rows = (line.split(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {word: np.array(numbers, np.float32) for word, *numbers in rows}


@pytest.mark.parametrize("tune", [False, True])
def test_words_have_the_vectors_of_the_file(tune, tmp_path):
    path = write_vectors(tmp_path / "vectors.txt")
    rows = read_rows(path)
    part, actual = embedding(
        ["leave", "Paris", "PARIS", "paris", "Tokyo", "tokyo", "Rome"], path, trainable=tune
    )
    mean = np.mean(list(rows.values()), axis=0)
    expected = [rows["leave"], *[rows["paris"]] * 3, rows["Tokyo"], mean, mean]
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert sum(p.numel() for p in part.parameters()) == (6 * (2 + 3) if tune else 0), (
        "leave, paris, to are trained"
    )


def test_lowercase_false(tmp_path):
    path = write_vectors(tmp_path / "vectors.txt")
    _, (exact, lower, unknown) = embedding(["paris", "Paris", "Rome"], path, lowercase=False)
    assert np.array_equal(lower, unknown) and not np.array_equal(exact, unknown)


def test_extra_words_have_vectors(tmp_path):
    path = write_vectors(tmp_path / "vectors.txt")
    words = tmp_path / "extra.txt"
    words.write_text("Boston  is not\nLisbon\n", encoding="utf-8")
    for options, kept in [
        ({}, set(KNOWN)),
        ({"max_words": 1}, {"the", "leave", "paris", "to"}),
        (
            {"max_words": 1, "extra_words": str(words)},
            {"the", "leave", "paris", "to", "boston", "Lisbon"},
        ),
        ({"max_words": 1, "lowercase": False}, {"the", "leave", "to"}),
    ]:
        part, _ = embedding(["leave"], path, **options)
        assert set(part.indexer.ids) == kept


def test_coverage_of_types_and_tokens():
    kept = {"words": ["a", "b", "Cc", "d"], "composed": ["Cc"]}
    counts = {"a": 4, "B": 1, "Cc": 2, "x": 3}
    indexer = PretrainedIndexer(kept, counts, file="file", lowercase=True)
    assert indexer.coverage(counts) == {
        "types": {"exact": 0.25, "lowercase": 0.25, "composed": 0.25, "unknown": 0.25},
        "tokens": {"exact": 0.4, "lowercase": 0.1, "composed": 0.2, "unknown": 0.3},
    }
    assert indexer.index([["d", "a", "x"], ["Cc"]])[0].tolist() == [
        [5, 2, 1],
        [4, 0, 0],
    ], "those of training first"


@pytest.mark.parametrize("tune", [False, True])
def test_run_does_not_need_the_file(tune, desk, cli):
    path = write_vectors(desk / "vectors.txt")
    part = (
        f"[{{name: pretrained, path: vectors.txt, trainable: {str(tune).lower()}}},"
        " {name: word, size: 4}]"
    )
    write_config(desk / "own.yaml", embedding=part)
    result = cli("train", "own.yaml", "--out", "run")
    assert result.code == 0, result.err
    lines = [line for line in result.out.splitlines() if not line.startswith("warning: ")]
    assert lines[0] == "vectors.txt: 10 words kept"
    assert lines[1].startswith("  train: share of words (of tokens) as written ") and lines[
        2
    ].startswith("  valid: ")
    coverage = json.loads((desk / "run" / "scores.json").read_text())["coverage"][str(path)]
    assert coverage["kept"] == 10 and sum(coverage["train"]["tokens"].values()) == pytest.approx(1)
    path.unlink()
    torch, onnx = (load_run(desk / "run", engine=engine) for engine in ("torch", "onnx"))
    tokens = [text.split() for text in TEXTS]
    expected = torch.engine.emissions(make_batch(tokens, torch.engine.indexers))
    actual = onnx.engine.emissions(make_batch(tokens, onnx.engine.indexers))
    for torch_row, onnx_row, sentence in zip(expected, actual, tokens, strict=True):
        np.testing.assert_allclose(torch_row[: len(sentence)], onnx_row[: len(sentence)], atol=1e-4)
    answers = [cli("predict", "run", "--engine", engine, *TEXTS) for engine in ("onnx", "torch")]
    assert answers[0].code == 0 and answers[0].out == answers[1].out


def test_only_trainable_vectors_change(desk, cli):
    rows = read_rows(write_vectors(desk / "vectors.txt"))
    for tune in ("true", "false"):
        write_config(
            desk / "own.yaml",
            embedding=f"{{name: pretrained, path: vectors.txt, trainable: {tune}}}",
        )
        assert cli("train", "own.yaml", "--out", "run", "--force").code == 0
        weights = load_file(desk / "run" / "model.safetensors")
        indexer = load_run(desk / "run").vocab.indexer(
            {"kind": "pretrained", "file": str(desk / "vectors.txt"), "lowercase": True}
        )
        for word, place in indexer.ids.items():
            fixed = np.allclose(weights["embeddings.0.vectors"][place], rows[word])
            in_training = place < indexer.num_training_words + 2
            assert fixed == (tune == "false" or not in_training)
            if tune == "true" and in_training:
                assert not np.allclose(weights["embeddings.0.trainable.weight"][place], rows[word])


def test_resume_does_not_need_the_file(desk, monkeypatch):
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    write_vectors(desk / "vectors.txt")
    write_config(
        desk / "own.yaml", embedding="{name: pretrained, path: vectors.txt, trainable: true}"
    )
    _, config = load_config("own.yaml")
    uninterrupted = train(config, RunFolder(Path("uninterrupted")), lambda progress: None)

    def stop(progress):
        if len(progress.history) == 2:
            raise KeyboardInterrupt

    assert train(config, RunFolder(Path("parts")), stop).interrupted
    (desk / "vectors.txt").unlink()
    folder = RunFolder(Path("parts"), resume=True)
    train(folder.config, folder, lambda progress: None)
    for name in ("model.safetensors", "vocab.json"):
        assert (desk / "parts" / name).read_bytes() == (uninterrupted.path / name).read_bytes()


def test_errors_are_one_line(desk, cli):
    write_vectors(desk / "vectors.txt")
    write_vectors(desk / "strange.txt", ["un", "deux"])
    (desk / "latin.txt").write_bytes(b"caf\xe9\n")

    def run_check(**options):
        keys = "".join(f", {key}: {value}" for key, value in options.items())
        write_config(desk / "own.yaml", embedding=f"[{{name: pretrained{keys}}}]")
        result = cli("train", "own.yaml")
        assert all(line.startswith("warning: ") for line in result.out.splitlines())
        assert result.err.count("\n") == 1
        return result.code, result.err.removeprefix("slotfill: ").rstrip()

    assert run_check() == (2, "own.yaml:2: embedding.0.path: is needed and not given")
    expected = (
        "own.yaml:2: embedding.0.path: there is no file vector.txt; did you mean 'vectors.txt'?"
    )
    assert run_check(path="vector.txt") == (2, expected)
    code, line = run_check(path="strange.txt")
    assert (
        code == 3
        and line.startswith(f"{desk}/strange.txt: has none of the ")
        and "training sentences" in line
    )
    code, line = run_check(path="vectors.txt", kind="word2vec")
    assert code == 3 and line.startswith(f"{desk}/vectors.txt:1: no header")
    code, line = run_check(path="vectors.txt}, {name: pretrained, path: vectors.txt, max_words: 1")
    assert code == 2 and "is listed twice" in line
    code, line = run_check(path="vectors.txt", extra_words="latin.txt")
    assert code == 3 and line.startswith(f"{desk}/latin.txt:1: not UTF-8 (byte 0xe9")
    code, line = run_check(path="vectors.txt", kind="glov")
    assert code == 2 and line.startswith(
        "own.yaml:2: embedding.0.kind: unknown value 'glov'; did you mean 'glove'?"
    )


def test_relative_paths_are_relative_to_the_config(desk):
    (desk / "configs").mkdir()
    write_vectors(desk / "configs" / "vectors.txt")
    write_config(desk / "configs" / "own.yaml", embedding="{name: pretrained, path: vectors.txt}")
    assert load_config("configs/own.yaml")[1].embedding[0]["path"] == str(
        desk / "configs" / "vectors.txt"
    )
    write_vectors(desk / "vectors.txt")
    for override in (
        "embedding.path=vectors.txt",
        "embedding=[{name: pretrained, path: vectors.txt}]",
    ):
        assert load_config("configs/own.yaml", [override])[1].embedding[0]["path"] == str(
            desk / "vectors.txt"
        )


def test_file_without_training_words_is_an_error(tmp_path):
    path = write_vectors(tmp_path / "vectors.txt")
    with pytest.raises(DataError, match="has none of the 2 words of the training sentences"):
        embedding(["x"], path, training=["x", "y"])
    path.write_text("0 5\n")
    with pytest.raises(DataError, match="the file has no words"):
        embedding(["x"], path, training=["x", "y"])
