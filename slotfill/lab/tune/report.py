"""What a tuning came to: its numbers as what JSON can hold, and those as tables."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from slotfill.lab.tune.search import Search, value_shown, write_best
from slotfill.lab.tune.study import Study
from slotfill.version import FORMAT

SHOWN = 10
"""Rows of the table of the best trials."""

Report = dict[str, Any]


def summarize(search: Search, study: Study) -> Report:
    """Return all that the trials of a study gave, the best first, and write the config of the best."""
    best = write_best(search, study)
    trials = sorted(
        study.finished_trials(),
        key=lambda trial: (-1 if trial.f1 is None else -trial.f1, trial.number),
    )
    return {
        "format": FORMAT,
        "config": search.given,
        "overrides": list(search.overrides),
        "seeds": search.seeds,
        "storage": study.place,
        "best": (
            None
            if best is None
            else {"config": search.best.as_posix(), "trial": best.number, "f1": best.f1}
        ),
        "trials": [asdict(trial) for trial in trials],
        "running": sum(trial.state == "running" for trial in study.trials()),
    }


def tables(report: Report) -> list[tuple[str, list[list[str]]]]:
    """Return the table of the best trials, if there are any."""
    best = [trial for trial in report["trials"] if trial["f1"] is not None][:SHOWN]
    if not best:
        return []
    columns = [
        ["rank", *(str(rank + 1) for rank in range(len(best)))],
        ["trial", *(str(trial["number"]) for trial in best)],
        ["valid F1", *map(_f1, best)],
        ["epochs", *(str(sum(map(len, trial["curves"]))) for trial in best)],
        ["seconds", *(f"{trial['seconds']:.0f}" for trial in best)],
        *(
            [key, *(value_shown(trial["settings"][key]) for trial in best)]
            for key in best[0]["settings"]
        ),
    ]
    return [("The best trials", columns)]


def legend(report: Report) -> list[str]:
    """Return how many trials there are of each kind, and what the table means, a sentence a line."""
    states = [trial["state"] for trial in report["trials"]] + ["running elsewhere"] * report[
        "running"
    ]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    lines = [
        (
            f"{len(states)} trial{'s' * (len(states) != 1)}: {counts}."
            if states
            else "No trial has ended yet."
        )
    ]
    if report["best"]:
        spread = (
            f": mean ± deviation of a sample over {report['seeds']} seeds"
            if report["seeds"] > 1
            else ""
        )
        lines.append(
            f"F1 in percent over whole slots, in the best epoch on valid{spread}. Test was not"
            " read."
        )
    return lines


def _f1(trial: Report) -> str:
    bests = [max(curve) for curve in trial["curves"]]
    return f"{trial['f1']:.2f}" + (f" ± {statistics.stdev(bests):.2f}" if len(bests) > 1 else "")
