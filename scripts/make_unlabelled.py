"""Train on 100 sentences without and with unlabelled ones; write docs/unlabelled_text.md.

    python scripts/make_unlabelled.py                         every corpus, seeds 1 to 3
    python scripts/make_unlabelled.py --only atis --seeds 1
    python scripts/make_unlabelled.py --page                  the page alone, from the runs

The labelled sentences are those of scripts/make_defaults.py, the unlabelled ones all others of the
training split, as text. Results are kept in runs/unlabelled and not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from make_defaults import SHARED, read_corpus, write
from make_results import CORPORA, ROOT, machine, spread, table
from measured import BILSTM_CRF, record

from slotfill.config.builtin import load_config
from slotfill.data.splits import read_split
from slotfill.evaluation.evaluate import evaluate
from slotfill.runs.environment import environment
from slotfill.runs.train import build_trainer

RESULTS = ROOT / "runs" / "unlabelled"
PAGE = ROOT / "docs" / "unlabelled_text.md"
TEXT = Path(__file__).with_name("unlabelled_text.md")
WAYS = {"": [], "+language-model": ["train.language_model_weight=0.1"]}
SEEDS = (1, 2, 3)


def write_text(corpus: str) -> tuple[Path, Path]:
    """Write the sentences of a corpus; return the config and the file of unlabelled ones."""
    folder = write(f"{corpus}-100")
    labelled = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    known = {" ".join(json.loads(line)["tokens"]) for line in labelled}
    sentences = [" ".join(each.tokens) for each in read_corpus(SHARED / corpus, "train")]
    text = folder / "text.txt"
    lines = [f"{sentence}\n" for sentence in sentences if sentence not in known]
    text.write_text("".join(lines), encoding="utf-8")
    return folder / "config.yaml", text


def train(corpus: str, way: str, seed: int) -> None:
    """Train one corpus in one way with one seed, and score each round, unless that is done.

    The first round is a training without self-training, bit for bit.
    """
    file = RESULTS / f"{corpus}{way}-seed{seed}.json"
    if file.exists():
        return
    print(f"training {file.stem}", flush=True)
    config_file, text = write_text(corpus)
    settings = [f"train.text={text}", f"train.seed={seed}", *WAYS[way]]
    _, config = load_config(str(config_file), settings, need_data=True)
    splits = {split: read_split(config.data, split).sentences for split in ("train", "test")}
    trainer = build_trainer(config, splits)
    f1, seconds = [0.0, 0.0], [0.0, 0.0]
    for epoch in trainer.train():
        seconds[epoch.round] += epoch.seconds
        if trainer.finished:
            with trainer.ema_weights():
                trainer.model.eval()
                result = evaluate(trainer.model, trainer.vocab, splits["test"])
                f1[epoch.round] = result.overall.f1
    confidences = [each.confidence.reading for each in trainer.predicted if each.confidence]
    found = {
        "f1": f1,
        "seconds": seconds,
        "sentences": len(confidences),
        "confidence": statistics.mean(confidences),
        "environment": environment(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def read(corpus: str, way: str) -> list[dict[str, Any]]:
    """Return the results of all seeds."""
    files = [RESULTS / f"{corpus}{way}-seed{seed}.json" for seed in SEEDS]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def rows() -> list[list[str]]:
    """Return a row for each corpus and way: F1 of both rounds, and the gains of equal seeds."""
    found = []
    for corpus, name in CORPORA.items():
        for way, title in zip(WAYS, ("", ", language model"), strict=True):
            if results := read(corpus, way):
                before, after = zip(*(result["f1"] for result in results), strict=True)
                gains = [new - old for old, new in zip(before, after, strict=True)]
                found.append(
                    [
                        f"{name}{title}",
                        f"{results[0]['sentences']:,}",
                        str(len(results)),
                        spread(list(before)),
                        spread(list(after)),
                        f"{statistics.mean(gains):+.2f}",
                        ", ".join(f"{gain:+.1f}" for gain in gains),
                    ]
                )
    return found


def page() -> str:
    """Return docs/unlabelled_text.md: scripts/unlabelled_text.md with the figures."""
    files = RESULTS.glob("*.json")
    about = [json.loads(file.read_text(encoding="utf-8"))["environment"] for file in files]
    where = f"{machine(about[0])}, {max(each['finished'] for each in about)[:10]}."
    head = ["", "text", "seeds", "test F1 of 100 sentences", "with text", "gain", "of each seed"]
    text = TEXT.read_text(encoding="utf-8")
    return text.replace("FIGURES", f"{table(head, rows())}\n\n{where}")


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=list(CORPORA), help="train this alone; may be repeated"
    )
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="train so many seeds")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    for seed in () if args.page else SEEDS[: args.seeds]:
        for way in WAYS:
            for corpus in args.only or CORPORA:
                train(corpus, way, seed)
    PAGE.write_text(page(), encoding="utf-8")
    if not args.page:
        record("docs/unlabelled_text.md", "python scripts/make_unlabelled.py", *BILSTM_CRF)
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
