"""Word-piece vectors: composition, the table and the script that makes it, and runs."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from part_cases import FILES
from safetensors.numpy import save_file

from slotfill.config.models import DEFAULT_EMBEDDING, Config
from slotfill.config.registry import EMBEDDINGS
from slotfill.data.indexers import PieceIndexer
from slotfill.data.static_table import BUILTIN_TABLE, StaticTable, resolve_embedding
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_static_table.py"
TABLE = StaticTable.read(Path(FILES["static"]["path"]))
BUILTIN = StaticTable.read(BUILTIN_TABLE)


def make_indexer(table: StaticTable = TABLE) -> PieceIndexer:
    return PieceIndexer(table.to_json(), file="table.npz")


def embed(tokens: list[str], **options: Any) -> np.ndarray:
    part = EMBEDDINGS.build({"name": "static", **options}, Vocab({"a": 1}, ["O"], "iob2"))
    return part(*map(torch.from_numpy, part.indexer.index([tokens])))[0].numpy()


def split_into_parts(token: str) -> list[str]:
    """Runs of letters and digits; any other character is a part, as is a Chinese one."""
    parts: list[str] = []
    in_word = False
    for character in token:
        is_word = character.isalnum() and not unicodedata.name(character, "").startswith("CJK")
        if in_word and is_word:
            parts[-1] += character
        elif not character.isspace():
            parts.append(character)
        in_word = is_word
    return parts


def split_by_brute_force(part: str, table: StaticTable) -> list[str]:
    """WordPiece: of all pieces that the rest begins with, the longest; `[UNK]` if there is none."""
    pieces: list[str] = []
    rest = part
    while rest:
        mark = "##" if pieces else ""
        fitting = [p for p in table.pieces[1:] if (mark + rest).startswith(p) and p != mark]
        fitting = [p for p in fitting if p.startswith("##") == bool(mark)]
        if not fitting or len(part) > 100:
            return ["[UNK]"]
        pieces.append(max(fitting, key=len))
        rest = rest[len(pieces[-1]) - len(mark) :]
    return pieces


def compose_by_brute_force(token: str, table: StaticTable) -> np.ndarray:
    letters = unicodedata.normalize("NFD", token.lower())
    token = "".join(x for x in letters if unicodedata.category(x) != "Mn") or token
    pieces = [p for part in split_into_parts(token) for p in split_by_brute_force(part, table)]
    rows = [table.vectors[table.pieces.index(p)] * table.scale / k for k, p in enumerate(pieces, 1)]
    return np.sum(rows, axis=0) / sum(1 / k for k in range(1, len(pieces) + 1))


@settings(max_examples=50, derandomize=True)
@given(st.lists(st.text("taipeé leavxX7:時11Ne-_", min_size=1).map(lambda t: f"a{t}"), min_size=1))
def test_vectors_are_those_of_brute_force(tokens):
    expected = [compose_by_brute_force(token, TABLE) for token in tokens]
    np.testing.assert_allclose(embed(tokens, **FILES["static"]), expected, atol=1e-5)


def test_builtin_vectors_are_those_of_brute_force():
    tokens = ["restaurant", "Gutierrez", "11:30", "p.m.", "ñandú", "unheard-of", "台北101", "🛫"]
    expected = [compose_by_brute_force(token, BUILTIN) for token in tokens]
    np.testing.assert_allclose(embed(tokens), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("token", "pieces"),
    [
        ("Taipei", ["tai", "##pei"]),
        ("TAIPÉI", ["tai", "##pei"]),
        ("a:7", ["a", ":", "7"]),
        ("時時", ["時", "時"]),
        ("tai🛫", ["tai", "[UNK]"]),
        ("leaver", ["[UNK]"]),
        ("x" * 100, ["x", *["##x"] * 99]),
        ("x" * 101, ["[UNK]"]),
        ("", []),
        ("\u200d", ["[UNK]"]),
        ("\u0301", ["[UNK]"]),
    ],
)
def test_pieces(token, pieces):
    found = make_indexer().piece_ids(token)
    assert [TABLE.pieces[index - 1] for index in found] == pieces


def test_builtin_table_relates_similar_words():
    monday, tuesday, coffee, pizza = embed(["Monday", "tuesday", "coffee", "pizza"])
    assert monday @ tuesday > 2 * abs(monday @ coffee)
    assert coffee @ pizza > 2 * abs(coffee @ tuesday)
    assert (BUILTIN_TABLE.parent / "NOTICE.md").is_file()


def test_coverage_counts_complete_words():
    found = make_indexer().coverage({"leave": 3, "Taipei": 1, "tokyo": 1})
    assert found["types"] == pytest.approx(
        {"exact": 1 / 3, "lowercase": 0, "composed": 1 / 3, "unknown": 1 / 3}
    )
    assert found["tokens"]["exact"] == 0.6


def test_run_predicts_without_the_table_and_torch_gives_the_same(cli, desk):
    table = shutil.copy(FILES["static"]["path"], "table.npz")
    parts = f"embedding=[{{name: static, path: {table}}}]"
    result = cli("train", "tiny.yaml", parts, "train.epochs=1", "--out", "run")
    assert "table.npz: 13 words kept" in result.out and "from subwords" in result.out
    Path(table).unlink()
    words = ["leave Taipei at 7", "éxx 時 🛫"]
    outputs = [
        cli("predict", "run", *words, "--format", "jsonl", "--engine", engine).out
        for engine in ("onnx", "torch")
    ]
    assert outputs[0] == outputs[1] and len(outputs[0].splitlines()) == 2


@pytest.mark.parametrize("content", [b"", b"word 1 2 3\n", b"PK\3\4", b"\x93NUMPY"])
def test_other_files_are_named(content, tmp_path):
    (tmp_path / "table.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"table\.npz: not a table of scripts/make_static_table"):
        StaticTable.read(tmp_path / "table.npz")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz: cannot be read: No such file"):
        StaticTable.read(tmp_path / "none.npz")


def write_encoder(folder: Path, vocab: Any, **model: Any) -> np.ndarray:
    """Write an encoder with drawn vectors, and return these."""
    folder.mkdir()
    vectors = np.random.default_rng(5).normal(size=(len(vocab), 6)).astype(np.float32)
    tokenizer = {
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "added_tokens": [{"id": 0, "content": "[PAD]"}, {"id": 1, "content": "[UNK]"}],
        "model": {"vocab": vocab, **model},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    other = np.zeros((2, 6), np.float32)
    save_file(
        {"embeddings.position": other, "embeddings.word": vectors}, folder / "model.safetensors"
    )
    return vectors


@pytest.fixture
def make_table(monkeypatch):
    def call(source: Path, out: Path, *options: str) -> StaticTable:
        arguments = [str(SCRIPT), str(source), "--out", str(out), *options]
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return StaticTable.read(out)

    return call


def test_script_keeps_distances_of_an_encoder(make_table, tmp_path):
    names = ["[PAD]", "[UNK]", "[unused0]", "go", "##es", "台"]
    vocab = {piece: index for index, piece in enumerate(names)}
    vectors = write_encoder(tmp_path / "wordpiece", vocab, unk_token="[UNK]")
    table = make_table(tmp_path / "wordpiece", tmp_path / "a.npz", "--size", "6")
    assert (table.pieces, table.lowercase) == (["[UNK]", "go", "##es", "台"], True)

    def distances(rows: np.ndarray) -> np.ndarray:
        return np.linalg.norm(rows[:, None] - rows[None], axis=2)

    ratio = distances(table.vectors * table.scale)[0, 1:] / distances(vectors[[1, 3, 4, 5]])[0, 1:]
    np.testing.assert_allclose(ratio, ratio[0], rtol=0.02)
    make_table(tmp_path / "wordpiece", tmp_path / "b.npz", "--size", "6")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_script_reads_unigram_pieces_and_text_files(make_table, tmp_path):
    pieces = [[piece, 0.0] for piece in ("<pad>", "<unk>", "▁go", "es", "▁")]
    write_encoder(tmp_path / "unigram", pieces, unk_id=1)
    table = make_table(tmp_path / "unigram", tmp_path / "a.npz", "--size", "3")
    assert table.pieces == ["[UNK]", "go", "##es"] and table.vectors.shape == (3, 3)
    (tmp_path / "glove.txt").write_text("go 1 0 2\nbus 0 1 1\nrare 3 3 3\n", encoding="utf-8")
    table = make_table(
        tmp_path / "glove.txt", tmp_path / "b.npz", "--size", "2", "--words", "2", "--lowercase"
    )
    assert (table.pieces, table.lowercase) == (["[UNK]", "go", "bus"], True)
    assert make_indexer(table).piece_ids("Goes Bus") == [1, 3]


def test_script_merges_words_that_differ_in_case_or_accents(make_table, tmp_path):
    lines = ["the 1 0 2", "Zürich 0 1 1", "The 9 9 9", "zurich 5 5 5", "go 3 0 1"]
    source = tmp_path / "glove.txt"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = make_table(source, tmp_path / "a.npz", "--size", "3", "--lowercase")
    assert table.pieces == ["[UNK]", "the", "zurich", "go"]
    for form in ("Zürich", "ZURICH", "zürich"):
        assert make_indexer(table).piece_ids(form) == [3]
    # The vectors are those of the first forms.
    source.write_text("the 1 0 2\nzurich 0 1 1\ngo 3 0 1\n", encoding="utf-8")
    expected = make_table(source, tmp_path / "b.npz", "--size", "3", "--lowercase")
    np.testing.assert_array_equal(table.vectors, expected.vectors)


def test_script_cuts_the_pieces_of_an_encoder_before_it_computes_layers(tmp_path):
    vocab = {name: index for index, name in enumerate(["[PAD]", "[UNK]", "go", "##es", "bus"])}
    write_encoder(tmp_path / "encoder", vocab, unk_token="[UNK]")
    script = runpy.run_path(str(SCRIPT))
    read_encoder = script["read_encoder"]
    computed = []

    def compute_states(folder: Path, ids: list[int]) -> np.ndarray:
        computed.extend(ids)
        return np.zeros((len(ids), 2))

    read_encoder.__globals__["compute_states"] = compute_states
    pieces, _, _ = read_encoder(tmp_path / "encoder", 2, layers=True)
    assert (pieces, computed) == (["[UNK]", "go", "##es"], [1, 2, 3])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["glov.txt"], 2, "glov.txt: no such file or folder; did you mean 'glove.txt'?"),
        (["glove.txt", "--size", "4"], 2, "--size 4: glove.txt: its vectors have only 3 dim"),
        (["glove.txt", "--layers"], 2, "--layers: glove.txt is a file, which has no layers"),
        (["glove.txt", "--size", "0"], 2, "argument --size: 0 is less than 1"),
        (["glove.txt", "--words", "-1"], 2, "argument --words: -1 is less than 1"),
        (["glove.txt", "--words", "x"], 2, "argument --words: invalid positive value: 'x'"),
        (["glove.txt", "--out", "no/a.npz"], 2, "--out no/a.npz: there is no folder no"),
        (["glove.txt", "--out", "a.txt"], 2, "--out a.txt: must end in .npz"),
        (["glove.txt", "--out", "old.npz"], 2, "old.npz: exists, and nothing is overwritten"),
        (["weights", "--lowercase"], 2, "--lowercase: weights is a folder, whose tokenizer.json"),
        (["equal.txt", "--size", "2"], 3, "equal.txt: its vectors are all equal, or not finite"),
        (["empty.txt"], 3, "empty.txt: empty"),
        (["empty"], 2, "empty: has no tokenizer.json and no model.safetensors; must be a folder"),
        (["half"], 2, "half: has no model.safetensors; must be a folder with tokenizer.json and"),
        (["cut"], 3, "cut/tokenizer.json: damaged, or not the tokenizer.json of"),
        (["weights"], 3, "weights/model.safetensors: damaged, or not a safetensors file"),
    ],
)
def test_mistakes_with_the_script_are_one_line(
    make_table, tmp_path, monkeypatch, capsys, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    Path("glove.txt").write_text("go 1 0 2\nbus 0 1 1\nrare 3 3 3\n")
    Path("equal.txt").write_text("go 1 0\nbus 1 0\n")
    Path("empty.txt").touch()
    Path("empty").mkdir()
    for folder in (Path("cut"), Path("half")):
        folder.mkdir()
        (folder / "tokenizer.json").write_text('{"model": {"vocab"')
    Path("cut/model.safetensors").touch()
    Path("old.npz").write_text("old")
    write_encoder(Path("weights"), {"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]")
    Path("weights/model.safetensors").write_bytes(b"cut")
    with pytest.raises(SystemExit) as exit:
        make_table(Path(arguments[0]), Path("a.npz"), *arguments[1:])
    error = capsys.readouterr().err
    assert exit.value.code == code and message in error
    assert len([line for line in error.splitlines() if line.startswith("make_static_table")]) == 1
    assert not Path("a.npz").exists() and not Path("a.txt.npz").exists()
    assert Path("old.npz").read_text() == "old"


ENGLISH = ["show", "me", "the", "flights", "from", "Boston", "to", "Denver", "on", "Monday"]
GERMAN = ["zeige", "mir", "die", "Flüge", "von", "Hamburg", "nach", "Wien", "am", "Montag"]


@pytest.mark.parametrize(
    ("words", "count", "is_added"),
    [(ENGLISH, 1, True), (ENGLISH, 2999, True), (ENGLISH, 3000, False), (GERMAN, 1, False)],
)
def test_default_adds_the_builtin_table_to_few_english_words(words, count, is_added):
    vocab = Vocab(dict.fromkeys(words, count), ["O"], "iob2")
    expected = [*DEFAULT_EMBEDDING, *["static"] * is_added]
    assert resolve_embedding(Config(), vocab) == expected
    chosen = Config.model_validate({"embedding": "word"})
    assert resolve_embedding(chosen, vocab) == chosen.embedding
    # A saved run has what it was trained with, whatever the limits are now.
    if is_added:
        vocab.resources[BUILTIN_TABLE.name] = BUILTIN.to_json()
    vocab.tokens = dict.fromkeys(ENGLISH + GERMAN, 300)
    saved = Vocab.from_json(json.dumps(vocab.to_json()).encode())
    assert resolve_embedding(Config(), saved) == expected


def test_train_says_that_static_vectors_are_added(cli, tmp_path):
    lines = ["flights from [Boston](city) to [Denver](city)\n", "to [Boston](city) please\n"]
    (tmp_path / "train.brackets").write_text("".join(lines), encoding="utf-8")
    words = ["train", f"data.path={tmp_path}", "data.holdout=0", "train.epochs=1"]
    words += ["--out", tmp_path / "run"]
    result = cli(*words)
    assert (
        "static word vectors added, which have 100% of the training words and compose the rest;"
        " without: embedding=[word, char_cnn, ngrams]\n"
    ) in result.out
    assert "to Austin" in cli("predict", tmp_path / "run", "to Austin").out
    again = cli(*words, "--force", "embedding=[word, char_cnn, ngrams]")
    assert again.code == 0 and "static word vectors" not in again.out


def test_words_of_several_pieces_are_predicted_where_training_has_none(make_table, desk, cli):
    """The exported model takes any number of pieces, even if each training word is one."""
    Path("words.txt").write_text("oslo 1 0\nto 0 1\ngo 1 1\n")
    make_table(Path("words.txt"), Path("words.npz"), "--size", "2")
    Path("train.brackets").write_text("go to [oslo](city)\n" * 4)
    part = "embedding={name: static, path: words.npz}"
    words = ["data.path=train.brackets", "data.holdout=0", part, "train.epochs=1"]
    assert cli("train", *words, "encoder.hidden_size=4", "--out", "run").code == 0
    assert cli("predict", "run", "go-to oslo").code == 0
