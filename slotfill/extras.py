"""Extras: the packages that `pip install slotfill` leaves out, and which extra brings each.

pyproject.toml has their versions; tests/test_package.py compares both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from slotfill.errors import UsageError

EXTRAS = {
    "torch": "train",
    "onnx": "train",
    "safetensors": "train",
    "matplotlib": "plots",
    "gensim": "fasttext",
    "tokenizers": "transformers",
    "transformers": "transformers",
    "huggingface_hub": "hub",
    "pyarrow": "parquet",
    "optuna": "tune",
    "ray": "ray",
    "dateparser": "values",
    "text_to_num": "values",
    "spacy": "spacy",
    "alembic": "mlflow",
    "mlflow": "mlflow",
    "sqlalchemy": "mlflow",
    "tensorboard": "tensorboard",
    "fastapi": "serve",
    "httptools": "serve",
    "prometheus_client": "serve",
    "uvicorn": "serve",
}
"""The extra of each package, by the name that Python imports."""

_DISTRIBUTIONS = {
    "huggingface_hub": "huggingface-hub",
    "mlflow": "mlflow-skinny",
    "prometheus_client": "prometheus-client",
    "text_to_num": "text2num",
    "yaml": "pyyaml",
}
"""The names under which pip installs packages, where they differ."""


@contextmanager
def required_for(purpose: str) -> Iterator[None]:
    """Within the block, a package that cannot be imported is a UsageError: `purpose` needs it."""
    try:
        yield
    except ImportError as error:
        raise find_missing_package(purpose, error) from None


def find_missing_package(purpose: str, error: ImportError) -> BaseException:
    """Return a UsageError that says what to install, or `error` itself if slotfill is broken."""
    if isinstance(error.__context__, KeyboardInterrupt):  # Stopped while a package was imported.
        return error.__context__
    module = _find_failed_module(error)
    if module in ("", "slotfill"):
        return error
    package = _DISTRIBUTIONS.get(module, module)
    if not isinstance(error, ModuleNotFoundError):
        reason = " ".join(str(error).split())[:200]
        return UsageError(
            f"{purpose} needs {package}, which cannot be imported ({reason}); reinstall it"
        )
    wanted = f"'slotfill[{EXTRAS[module]}]'" if module in EXTRAS else package
    return UsageError(f"{purpose} needs {package}; install it with: pip install {wanted}")


def _find_failed_module(error: ImportError) -> str:
    """Return the top-level module that is missing, or that failed to import something."""
    if error.name is None and (frames := [frame for frame, _ in walk_tb(error.__traceback__)]):
        return str(frames[-1].f_globals["__name__"]).partition(".")[0]
    return (error.name or "").partition(".")[0]
