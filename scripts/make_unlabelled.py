"""Train on 100 sentences without and with unlabelled ones; write docs/unlabelled_text.md.

    python scripts/make_unlabelled.py                         every corpus, seeds 1 to 3
    python scripts/make_unlabelled.py --only atis --seeds 1
    python scripts/make_unlabelled.py --page                  the page alone, from the runs

The labelled sentences are the first draw of scripts/samples.py, the unlabelled ones all others of
the training split, as text. Results are kept in runs/unlabelled and not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any, cast

from make_results import CORPORA, ROOT, machine, spread, table
from measured import BILSTM_CRF, record
from samples import read_corpus, write_sample

from slotfill.config.builtin import load_config
from slotfill.config.sections import DataConfig
from slotfill.data.splits import read_split
from slotfill.evaluation.evaluate import evaluate
from slotfill.model.ensemble import Model
from slotfill.runs.environment import environment
from slotfill.runs.train import build_trainer

RESULTS = ROOT / "runs" / "unlabelled"
PAGE = ROOT / "docs" / "unlabelled_text.md"
TEXT = Path(__file__).with_name("unlabelled_text.md")
WAYS = {
    "": ["train.text=TEXT"],
    "+longer": ["train.epochs=EPOCHS"],
    "+language-model": ["train.text=TEXT", "train.language_model_weight=0.1"],
}
"""With text; for as many steps without it; and with text and a language model."""

SEEDS = (1, 2, 3)


def write_text(corpus: str) -> tuple[Path, Path]:
    """Write sentences of a corpus; return the folder of labelled ones, the file of the others."""
    folder = write_sample(corpus, 100)
    labelled = read_split(DataConfig(path=str(folder)), "train").sentences
    known = {tuple(sentence.tokens) for sentence in labelled}
    tokens = [sentence.tokens for sentence in read_corpus(corpus, "train")]
    text = folder / "text.txt"
    lines = [" ".join(each) + "\n" for each in tokens if tuple(each) not in known]
    text.write_text("".join(lines), encoding="utf-8")
    return folder, text


def train(corpus: str, way: str, seed: int) -> None:
    """Train one corpus in one way with one seed, and score each round, unless that is done.

    The first round is a training without self-training, bit for bit.
    """
    file = RESULTS / f"{corpus}{way}-seed{seed}.json"
    if file.exists():
        return
    print(f"training {file.stem}", flush=True)
    folder, text = write_text(corpus)
    epochs = 0
    if "EPOCHS" in str(WAYS[way]):
        other = read(corpus, "", seed)
        epochs = math.ceil(sum(other["steps"]) / other["steps_of_epoch"])
    changes = [each.replace("TEXT", str(text)).replace("EPOCHS", str(epochs)) for each in WAYS[way]]
    settings = [f"data.path={folder}", f"train.seed={seed}", *changes]
    _, config = load_config(None, settings, need_data=True)
    splits = {split: read_split(config.data, split).sentences for split in ("train", "test")}
    trainer = build_trainer(config, splits)
    found: dict[str, Any] = {"f1": [], "steps": [], "steps_of_epoch": trainer.steps}
    for _ in trainer.train():
        if trainer.finished:
            with trainer.ema_weights():
                trainer.model.eval()
                result = evaluate(cast(Model, trainer.model), trainer.vocab, splits["test"])
            found["f1"].append(result.overall.f1)
            found["steps"].append(trainer.steps_done - sum(found["steps"]))
    found["sentences"] = len(trainer.predicted)
    found["environment"] = environment()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def read(corpus: str, way: str, seed: int) -> dict[str, Any]:
    """Return the result of a training; nothing if it is missing."""
    file = RESULTS / f"{corpus}{way}-seed{seed}.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found


def rows() -> list[list[str]]:
    """Return a row for each corpus: F1 in each way, and the gain over equally long training."""
    found = []
    for corpus, name in CORPORA.items():
        results = {way: [read(corpus, way, seed) for seed in SEEDS] for way in WAYS}
        pairs = zip(results[""], results["+longer"], strict=True)
        gains = [text["f1"][-1] - longer["f1"][0] for text, longer in pairs if text and longer]
        if gains:
            each_gain = ", ".join(f"{gain:+.1f}" for gain in gains)
            texts = [result for result in results[""] if result]
            scores = [[result["f1"][0] for result in texts]]
            for way in ("+longer", "", "+language-model"):
                scores.append([result["f1"][-1] for result in results[way] if result])
            found.append(
                [
                    name,
                    f"{texts[0]['sentences']:,}",
                    str(len(gains)),
                    *(spread(each) if each else "" for each in scores),
                    f"{statistics.mean(gains):+.2f} ({each_gain})",
                ]
            )
    return found


def page() -> str:
    """Return docs/unlabelled_text.md: scripts/unlabelled_text.md with the figures."""
    files = RESULTS.glob("*.json")
    about = [json.loads(file.read_text(encoding="utf-8"))["environment"] for file in files]
    where = f"{machine(about[0])}, {max(each['finished'] for each in about)[:10]}."
    head = ["", "text", "seeds", "100 sentences", "trained longer", "with text"]
    head += ["and language model", "text - longer"]
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
