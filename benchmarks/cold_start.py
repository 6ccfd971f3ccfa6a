"""From the start of a process to its answer to one sentence, side by side with peers and with bare
imports.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from fixtures import CORE, in_turn, middle, peer_command, peer_model, run_of, say, seconds

SENTENCE = "leave Taipei on November 2nd"
REPEATS = 11


def measure() -> dict[str, Any]:
    """Return the seconds of each."""
    say("cold start")
    run = run_of("atis")
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
    times = in_turn(
        {
            name: lambda command=command: seconds(command, **options)
            for name, command in pinned.items()
        },
        REPEATS,
    )
    return {name: middle(found) for name, found in times.items()}
