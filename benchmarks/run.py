"""Measure slotfill's speed beside its peers on this machine.

    python benchmarks/run.py [PART ...]          prediction cold_start training cells growth;
                                                     all by default
    python benchmarks/run.py growth.prediction   a part of growth: training prediction start-up

The peers are installed into a separate environment; models are trained first and stored in
build/benchmarks. The results are written to benchmarks/speed.json, where parts that are not
measured keep their values; `python scripts/make_speed_docs.py` then writes docs/speed.md. Nothing
else should be running; all parts take about an hour.
"""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

from slotfill.runs.environment import environment

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from measured import BILSTM_CRF, record

TARGET = Path(__file__).with_name("speed.json")
PARTS = ("prediction", "cold_start", "training", "cells", "growth")


def main(parts: list[str]) -> None:
    """Measure `parts` and write their figures as each is done."""
    if unknown := {part.partition(".")[0] for part in parts} - set(PARTS):
        sys.exit(f"no part {min(unknown)}; there are: {', '.join(PARTS)}")
    for part in parts or PARTS:
        part, _, section = part.partition(".")
        figures = importlib.import_module(part).measure(*filter(None, [section]))
        speed = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.is_file() else {}
        speed[part] = (speed.get(part, {}) if section else {}) | figures
        today = datetime.now(timezone.utc).date().isoformat()
        speed["dates"] = speed.get("dates", {}) | {part: today}
        speed["environment"] = environment() | {"command": None}
        TARGET.write_text(json.dumps(speed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not parts:
        depends = (*BILSTM_CRF, "slotfill/runs", "benchmarks/*.py")
        record("docs/speed.md", "python benchmarks/run.py", *depends)


if __name__ == "__main__":
    main(sys.argv[1:])
