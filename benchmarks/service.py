"""Requests per second and latency of `slotfill serve`, beside spaCy behind the same FastAPI.

    python benchmarks/service.py              all
    python benchmarks/service.py --no-spacy   without spaCy, whose training takes minutes

wrk (apt install wrk) sends ATIS test sentences, one a request, over 1, 8 and 64 connections for
some seconds each. Each service and wrk run on all processors of the machine, which nothing else
should use. Writes benchmarks/service.json and the table of docs/serve.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import fixtures
from fixtures import ROOM, ROOT, get_run, log, peer_model, peers_python
from measured import record

CONNECTIONS = (1, 8, 64)
SECONDS = 10
PORT = 8765
PACKAGES = ("fastapi", "httptools", "uvicorn")
TARGET = Path(__file__).with_name("service.json")
PAGE = ROOT / "docs" / "serve.md"

_SCRIPT = """
local bodies = {}
for line in io.lines("FILE") do
  bodies[#bodies + 1] = '{"texts": ["' .. line:gsub('["\\\\]', '\\\\%0') .. '"]}'
end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local index = 0
request = function()
  index = index % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[index])
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests": %d, "lost": %d, "microseconds": %d, "p50": %d, "p99": %d}',
    summary.requests, lost, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


def measure(url: str) -> dict[str, dict[str, float]]:
    """Return the figures of a service by the number of connections."""
    script = ROOM / "service.lua"
    lines = fixtures.test_lines("atis", 0)
    script.write_text(_SCRIPT.replace("FILE", str(lines)), encoding="utf-8")
    figures = {}
    for connections in CONNECTIONS:
        words = ["-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(script), url]
        subprocess.run(["wrk", *words, "-d1s"], check=True, capture_output=True)
        done = subprocess.run(["wrk", *words], check=True, capture_output=True, text=True)
        answer = json.loads(done.stdout.splitlines()[-1])
        figures[str(connections)] = {
            "requests_per_second": round(1e6 * answer["requests"] / answer["microseconds"]),
            "median_ms": round(answer["p50"] / 1000, 2),
            "p99_ms": round(answer["p99"] / 1000, 2),
            "lost": answer["lost"],
        }
        log(f"{url}, {connections}: {figures[str(connections)]}")
    return figures


@contextmanager
def running(command: list[str], url: str) -> Iterator[None]:
    """Run a service until the end of the block; it starts when `url` answers anything."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urlopen(url).close()
                break
            except (URLError, ConnectionError):
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def measure_slotfill(config: str) -> dict[str, dict[str, float]]:
    """Return the figures of a run."""
    run, url = get_run(config), f"http://127.0.0.1:{PORT}"
    command = [sys.executable, "-m", "slotfill", "serve", str(run), "--port", str(PORT)]
    with running(command, f"{url}/health"):
        return measure(f"{url}/runs/{run.name}/predict")


def measure_spacy() -> dict[str, dict[str, float]]:
    """Return the figures of spaCy, trained first if its model is missing."""
    model, python, url = peer_model("spacy_ner", "atis"), peers_python(), f"http://127.0.0.1:{PORT}"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    subprocess.run(install, check=True, stdout=sys.stderr)
    script = ROOT / "benchmarks" / "peers" / "spacy_service.py"
    with running([str(python), str(script), str(model), str(PORT)], f"{url}/openapi.json"):
        return measure(f"{url}/predict")


def render_table(results: dict[str, Any]) -> str:
    """Return the table of docs/serve.md."""
    lines = [
        "| | connections | requests per second | median | 99th percentile | lost |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, figures in results["services"].items():
        for connections, row in figures.items():
            lines.append(
                f"| {name} | {connections} | {row['requests_per_second']:,} |"
                f" {row['median_ms']:.1f} ms | {row['p99_ms']:.1f} ms | {row['lost']} |"
            )
    lines += ["", f"{results['processors']} processors, shared with wrk; {results['date']}."]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the results and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-spacy", action="store_true")
    arguments = parser.parse_args()
    services = {
        f"slotfill `{config}`": measure_slotfill(config) for config in ("atis-small", "atis")
    }
    if not arguments.no_spacy:
        services["spaCy"] = measure_spacy()
    results = {
        "date": date.today().isoformat(),
        "processors": len(os.sched_getaffinity(0)),
        "services": services,
    }
    TARGET.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    start, end = "<!-- table: benchmarks/service.py -->\n", "<!-- end -->"
    table = f"{start}{render_table(results)}\n{end}"
    new = re.sub(f"{re.escape(start)}.*?{end}", lambda _: table, page, flags=re.DOTALL)
    PAGE.write_text(new, encoding="utf-8")
    depends = ("slotfill/serve", "slotfill/inference", "slotfill/runs/predict.py")
    record("docs/serve.md", "python benchmarks/service.py", *depends)


if __name__ == "__main__":
    main()
