"""Time from the start of a process to one prediction, for slotfill, its peers and bare imports."""

from __future__ import annotations

import os
import sys
from typing import Any

from fixtures import CORE, get_run, interleave, log, peer_command, peer_model, seconds, summarize

SENTENCE = "leave Taipei on November 2nd"
REPEATS = 11


def measure() -> dict[str, Any]:
    """Return the seconds of each."""
    log("cold start")
    run = get_run("atis")
    commands = {
        "import numpy, onnxruntime": [sys.executable, "-c", "import numpy, onnxruntime"],
        "slotfill": [sys.executable, "-m", "slotfill", "predict", str(run), SENTENCE],
        "slotfill, engine torch": [
            sys.executable,
            "-m",
            "slotfill",
            "predict",
            str(run),
            SENTENCE,
            "--engine",
            "torch",
        ],
        "CRFsuite": peer_command("crfsuite", "answer", peer_model("crfsuite", "atis"), SENTENCE),
        "spaCy": peer_command("spacy_ner", "answer", peer_model("spacy_ner", "atis"), SENTENCE),
    }
    pinned = {name: ["taskset", "-c", str(CORE), *command] for name, command in commands.items()}
    options = {"env": os.environ | {"OMP_NUM_THREADS": "1"}}
    times = interleave(
        {
            name: lambda command=command: seconds(command, **options)
            for name, command in pinned.items()
        },
        REPEATS,
    )
    return {name: summarize(values) for name, values in times.items()}
