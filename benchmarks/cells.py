"""Time each cell's loop over time against torch's own nn.LSTM, forward and backward, side by side.

    python benchmarks/cells.py [--repeats 15] [--hidden-size 128 --hidden-size 200] [--device cuda]

Both directions, batches of 32 sentences of 20 tokens, input size equal to hidden size, one thread.
Repeats of all cells are interleaved; a ratio is that of two medians. Writes benchmarks/cells.json,
with the machine and the date. On a CPU times are those of the processor, as other processes change
them less. On a GPU it writes cells-cuda.json, and cells run as in training: by cuDNN, or with a
compiled step. Nothing else should be running.

    python benchmarks/cells.py --scans

Time three ways to compute the linear recurrence of `mingru` and the like, in sentences of 12 and of
200 tokens: autograd through the steps, a loop with its own gradient, and a parallel scan. Writes
benchmarks/cells-scans.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slotfill.config.registry import CELLS
from slotfill.model.linear_recurrence import linear_scan, scan_in_loop, scan_in_parallel
from slotfill.model.recurrence import compile_steps, run_cell
from slotfill.runs.environment import environment

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from measured import record

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(__file__).resolve().with_suffix(".json")
BATCH, TIME = 32, 20
SCAN_STEPS, SCAN_SIZE = (12, 200), 128
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
    forwards: dict[str, Callable[[], Tensor]] = {"torch nn.LSTM": lambda: torch_lstm(x[0])[0]}
    forwards |= {name: lambda cell=cell: run_cell(cell, x)[0] for name, cell in cells.items()}
    steps = {name: training_step(forward) for name, forward in forwards.items()}
    sizes = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in ({"torch nn.LSTM": torch_lstm} | cells).items()
    }
    medians = time_steps(steps, repeats, device)
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


def time_steps(
    steps: Mapping[str, Callable[[], None]], repeats: int, device: str
) -> dict[str, float]:
    """Return the median milliseconds of each step, by name; two more turns come first."""
    on_gpu = device.startswith("cuda")
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    clock = time.perf_counter if on_gpu else time.process_time
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 2):
        for name, step in steps.items():
            wait()
            start = clock()
            step()
            wait()
            if turn >= 2:
                times[name].append(1000 * (clock() - start))
    return {name: statistics.median(durations) for name, durations in times.items()}


def measure_scans(repeats: int, device: str) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each way to compute a linear recurrence, by sentence length."""

    def by_autograd(a: Tensor, b: Tensor) -> Tensor:
        c, outputs = torch.zeros_like(b[:, 0]), []
        for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
            c = torch.addcmul(b_t, a_t, c)
            outputs.append(c)
        return torch.stack(outputs, dim=1)

    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "autograd": by_autograd,
        "loop": lambda a, b: linear_scan(a, b, scan_in_loop),
        "parallel": lambda a, b: linear_scan(a, b, scan_in_parallel),
    }
    figures = {}
    for length in SCAN_STEPS:
        torch.manual_seed(1)
        a = torch.rand(2, length, BATCH, SCAN_SIZE, device=device).requires_grad_()
        b = torch.randn(2, length, BATCH, SCAN_SIZE, device=device).requires_grad_()
        steps = {
            name: training_step(lambda way=way, a=a, b=b: way(a, b)) for name, way in ways.items()
        }
        medians = time_steps(steps, repeats, device)
        figures[str(length)] = {name: round(median, 3) for name, median in medians.items()}
    return figures


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--hidden-size", type=int, action="append", help="may be repeated; 128 and 200 by default"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scans", action="store_true", help="only ways to compute a recurrence")
    args = parser.parse_args()
    result = {"device": args.device, "batch": BATCH, "directions": 2, "repeats": args.repeats}
    target = TARGET.with_stem(f"{TARGET.stem}-scans") if args.scans else TARGET
    if args.scans:
        torch.set_num_threads(1)
        result |= {"hidden size": SCAN_SIZE, "steps": measure_scans(args.repeats, args.device)}
    else:
        figures = measure(args.hidden_size or (128, 200), args.repeats, args.device)
        result |= {"steps": TIME, "hidden size": figures}
    result["environment"] = environment() | {"command": None}
    if args.device != "cpu":
        target = target.with_stem(f"{target.stem}-{args.device}")
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    depends = ("slotfill/model/cells", "slotfill/model/*recurrence.py")
    command = "python benchmarks/cells.py" + " --scans" * args.scans
    record(str(target.relative_to(ROOT)), command, *depends)
    if args.scans:
        for steps, row in result["steps"].items():
            print(f"{steps:>4} steps", *(f"{way} {ms:.2f} ms" for way, ms in row.items()), sep="  ")
        return
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
