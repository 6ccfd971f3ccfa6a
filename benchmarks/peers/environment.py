"""The virtual environment of the peers, separate from slotfill's: python-crfsuite and spaCy.

    python benchmarks/peers/environment.py [FOLDER]   prints JSON: its Python and its versions

FOLDER is build/peers by default. A complete environment is reused. No trained model is downloaded:
spaCy's is trained from scratch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = ("python-crfsuite", "spacy")
FOLDER = Path(__file__).parents[2] / "build" / "peers"

_VERSIONS = f"""
import json
from importlib.metadata import version
print(json.dumps({{name: version(name) for name in {PACKAGES}}}))
"""


def environment(folder: Path = FOLDER) -> Path:
    """Return the Python of the environment `folder`, created first unless it is complete."""
    python = folder / "bin" / "python"
    if not versions(python):
        venv.create(folder, with_pip=True)
        install = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *PACKAGES,
        ]
        subprocess.run(install, check=True, stdout=sys.stderr)
    return python


def versions(python: Path) -> dict[str, str]:
    """Return the version of each peer that `python` has; none unless it has all."""
    if not python.exists():
        return {}
    result = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True, check=False)
    return json.loads(result.stdout) if result.returncode == 0 else {}


if __name__ == "__main__":
    python = environment(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
    print(json.dumps({"python": str(python), "versions": versions(python)}))
