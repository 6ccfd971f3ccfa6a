"""Time each cell's loop over time against torch's own nn.LSTM, forward and backward, side by side.

    python benchmarks/cells.py [--repeats 15] [--hidden-size 128 --hidden-size 200] [--device cuda]

Both directions, batches of 32 sentences of 20 tokens, input size equal to hidden size, one thread.
Repeats of all cells are interleaved; a ratio is that of two medians. Writes benchmarks/cells.json,
with the machine and the date. On a GPU it writes cells-cuda.json, and cells run as in training:
by cuDNN, or with a compiled step. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slotfill.config.registry import CELLS
from slotfill.model.recurrence import compile_steps, run_cell
from slotfill.runs.environment import environment

TARGET = Path(__file__).with_suffix(".json")
BATCH, TIME = 32, 20
LSTM_VARIANTS: dict[str, dict[str, Any]] = {
    "peepholes": {"peepholes": "all"},
    "coupled": {"coupled": True},
    "coupled, peepholes": {"coupled": True, "peepholes": "all"},
    "no input gate": {"input_gate": False},
    "no forget gate": {"forget_gate": False},
    "no output gate": {"output_gate": False},
    "no input activation": {"input_activation": "linear"},
    "no output activation": {"output_activation": "linear"},
    "relevance gate": {"relevance_gate": True},
    "gate recurrence": {"gate_recurrence": True},
}
GRU_VARIANTS: dict[str, dict[str, Any]] = {
    "reset before": {"reset": "before"},
    "update gate alone": {"reset": "none"},
}


def parts() -> dict[str, dict[str, Any]]:
    """Return every registered cell and the variants of LSTM and GRU, by the name in the tables."""
    cells: dict[str, dict[str, Any]] = {name: {"name": name} for name in CELLS.names()}
    for cell, variants in (("lstm", LSTM_VARIANTS), ("gru", GRU_VARIANTS)):
        cells |= {f"{cell}: {what}": {"name": cell, **keys} for what, keys in variants.items()}
    return dict(sorted(cells.items()))


def training_step(forward: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a function that runs `forward` and the backward pass of its sum."""
    return lambda: forward().sum().backward()


def measure(
    sizes: Sequence[int] = (128, 200), repeats: int = 15, device: str = "cpu"
) -> dict[str, Any]:
    """Return the figures of each hidden size."""
    torch.set_num_threads(1)
    return {str(hidden): measure_size(hidden, repeats, device) for hidden in sizes}


def saved_megabytes(forward: Callable[[], Tensor]) -> float:
    """Return the megabytes that `forward` saves for backward, with parameters and inputs."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    del result
    return sum(sizes.values()) / 1e6


def measure_size(hidden: int, repeats: int, device: str) -> dict[str, Any]:
    """Return time, ratios, number of parameters and memory of torch's LSTM and of each cell."""
    torch.manual_seed(1)
    x = torch.randn(2, TIME, BATCH, hidden, device=device).requires_grad_()
    torch_lstm = nn.LSTM(hidden, hidden, bidirectional=True).to(device)
    cells = {
        name: CELLS.build(part, hidden, hidden, 2).to(device) for name, part in parts().items()
    }
    if device != "cpu":
        for cell in cells.values():
            compile_steps(cell)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    forwards: dict[str, Callable[[], Tensor]] = {"torch nn.LSTM": lambda: torch_lstm(x[0])[0]}
    forwards |= {name: lambda cell=cell: run_cell(cell, x)[0] for name, cell in cells.items()}
    steps = {name: training_step(forward) for name, forward in forwards.items()}
    sizes = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in ({"torch nn.LSTM": torch_lstm} | cells).items()
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 2):
        for name, step in steps.items():
            wait()
            start = time.perf_counter()
            step()
            wait()
            if turn >= 2:
                times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    return {
        name: {
            "milliseconds": round(median, 2),
            "of torch nn.LSTM": round(median / medians["torch nn.LSTM"], 3),
            "of our lstm": round(median / medians["lstm"], 3),
            "parameters": sizes[name],
            "memory_mb": round(saved_megabytes(forwards[name]), 2),
        }
        for name, median in medians.items()
    }


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--hidden-size", type=int, action="append", help="may be repeated; 128 and 200 by default"
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    figures = measure(args.hidden_size or (128, 200), args.repeats, args.device)
    result = {
        "device": args.device, "batch": BATCH, "steps": TIME, "directions": 2,
        "repeats": args.repeats, "hidden size": figures,
        "environment": environment() | {"command": None},
    }  # fmt: skip
    target = TARGET if args.device == "cpu" else TARGET.with_stem(f"{TARGET.stem}-{args.device}")
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for hidden, rows in figures.items():
        print(f"{hidden} hidden")
        for name, row in rows.items():
            print(
                f"  {name:28} {row['milliseconds']:8.2f} ms  {row['of torch nn.LSTM']:6.2f} of"
                f" torch's  {row['of our lstm']:6.2f} of our lstm's  {row['parameters']:9,}"
                " parameters"
            )


if __name__ == "__main__":
    main()
