"""Train with default settings on few and on many sentences, and write docs/defaults.md.

    python scripts/make_defaults.py                      every set, seeds 1 to 3
    python scripts/make_defaults.py --only atis-100 --jobs 2
    python scripts/make_defaults.py --page               the page alone, from the runs that are
    there

The sentences are drawn from the corpora of docs/results.md and from data/, and written to
build/defaults with those of test. Runs are kept in runs/defaults and not trained again.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from make_results import CORPORA, ROOT, machine, slotfill, spread, table
from measured import BILSTM_CRF, record

from slotfill.config.models import DataConfig
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split

ROOM = ROOT / "build" / "defaults"
RUNS = ROOT / "runs" / "defaults"
PAGE = ROOT / "docs" / "defaults.md"
WAYS = {"": [], "+language-model": ["train.language_model_weight=0.1"]}
"""The config as it is, and with what helps most that is not a default."""

Row = dict[str, list[str]]


@dataclass(frozen=True)
class Drawn:
    """Sample of `number` sentences (0: all) of the corpora `of`; `rows` formats a sentence."""

    about: str
    of: Sequence[Path]
    number: int
    seeds: int = 3
    ways: Sequence[str] = tuple(WAYS)
    rows: Callable[[Sentence], Row] = field(default=lambda sentence: tag_tokens(sentence))


def tag_tokens(sentence: Sentence) -> Row:
    """Return a sentence's tokens and their tags."""
    return {
        "tokens": sentence.tokens,
        "tags": slots_to_tags(sentence.slots or [], len(sentence.tokens), "iob2"),
    }


def tag_characters(sentence: Sentence) -> Row:
    """Return the characters of a sentence without spaces, and their tags."""
    row = tag_tokens(sentence)
    letters, tags = [], []
    for token, tag in zip(*row.values(), strict=True):
        letters += token
        tags += [tag] + [tag.replace("B-", "I-")] * (len(token) - 1)
    return {"tokens": letters, "tags": tags}


SHARED = ROOT.parent / "shared" / "data"
SETS = {
    f"{corpus}-{number}": Drawn(f"{name}, {number:,} sentences", [SHARED / corpus], number)
    for corpus, name in CORPORA.items()
    for number in (100, 1000)
} | {
    "taipei_zh-100": Drawn(
        "Booking desk in Chinese, by characters, 100", [ROOT / "data" / "taipei_zh"], 100
    ),
    "snips-1000-characters": Drawn(
        "SNIPS without spaces, by characters, 1,000", [SHARED / "snips"], 1000, rows=tag_characters
    ),
    "all": Drawn(
        "ATIS, SNIPS and MIT Restaurant in one", [SHARED / corpus for corpus in CORPORA], 0, 1, [""]
    ),
}


def write(name: str) -> Path:
    """Write the sentences of a set, the same ones each time, and return their folder."""
    drawn, folder = SETS[name], ROOM / name
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        sentences = [sentence for path in drawn.of for sentence in read_corpus(path, split)]
        if drawn.number and split == "train":
            sentences = random.Random(1).sample(sentences, drawn.number)
        _write(folder / f"{split}.jsonl", map(drawn.rows, sentences))
    (folder / "config.yaml").write_text(
        f"data: {{path: {json.dumps(str(folder))}}}\n", encoding="utf-8"
    )
    return folder


def read_corpus(path: Path, split: str) -> Sequence[Sentence]:
    """Return the sentences of a split, tokenized as the file is."""
    tokenizer = "characters" if path.name.endswith("_zh") else "whitespace"
    return read_split(DataConfig(path=str(path), tokenizer=tokenizer), split).sentences


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.write_text(
        "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8"
    )


def train(job: tuple[str, str, int]) -> None:
    """Train one set in one way with one seed, unless that has been done."""
    name, way, seed = job
    out = RUNS / f"{name}{way}-seed{seed}"
    if not out.exists():
        print(f"training {out.name}", flush=True)
        slotfill(
            "train",
            ROOM / name / "config.yaml",
            *WAYS[way],
            "--seed",
            seed,
            "--out",
            out,
            "--force",
        )


def page(names: Sequence[str]) -> str:
    """Return docs/defaults.md."""
    rows, about = [], None
    for name in names:
        runs_by_way = {way: _scores(name, way) for way in WAYS}
        if not runs_by_way[""]:
            continue
        plain, more = (
            [run["splits"]["test"]["overall"]["f1"] for run in runs]
            for runs in runs_by_way.values()
        )
        seconds = [run["train_seconds"] for run in runs_by_way[""]]
        train_file = ROOM / name / "train.jsonl"
        sentences = sum(1 for _ in train_file.open(encoding="utf-8"))
        rows.append(
            [
                SETS[name].about,
                f"{sentences:,}",
                str(len(plain)),
                spread(plain),
                spread(more) if more else "",
                spread(seconds, 0),
            ]
        )
        about = about or json.loads(
            (RUNS / f"{name}-seed1" / "environment.json").read_text(encoding="utf-8")
        )
    head = ["", "sentences", "seeds", "test F1", "with `train.language_model_weight: 0.1`", "s"]
    return f"""# What the defaults give

This page shows which F1 and training time to expect on a corpus like yours before anything is
tuned. `python scripts/make_defaults.py` writes it from the runs that it trains; do not edit it.

These configs set only the data; all other keys have their defaults. A tenth of the training
sentences is held out to select the epoch if it has at least 200 slots and intents. With fewer, F1
is too noisy to rank the epochs, so the network is trained on all sentences to the end of the
schedule, and the last epoch is kept. Without a test split, a tenth is always held out, so that the
run has a score. F1 counts exact slots of the complete test set; `±` is the sample standard
deviation over the seeds, which share the same training subset. Training times are in seconds, on
one processor with two runs in parallel. The reasons for the defaults are in
[accuracy.md](accuracy.md#the-defaults-and-why).

{table(head, rows)}

{machine(about)}, {about["finished"][:10]}.
"""


def _scores(name: str, way: str) -> list[dict[str, Any]]:
    files = [
        RUNS / f"{name}{way}-seed{seed + 1}" / "scores.json" for seed in range(SETS[name].seeds)
    ]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=list(SETS), help="train this alone; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    if not args.page:
        names = args.only or list(SETS)
        for name in names:
            write(name)
        jobs = [
            (name, way, seed + 1)
            for name in names
            for seed in range(SETS[name].seeds)
            for way in SETS[name].ways
        ]
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(train, jobs))
    PAGE.write_text(page(list(SETS)), encoding="utf-8")
    command = "python scripts/make_defaults.py"
    folders = [path.parent for path in RUNS.rglob("environment.json")]
    record("docs/defaults.md", command, *BILSTM_CRF, "slotfill/config/models.py", runs=folders)
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
