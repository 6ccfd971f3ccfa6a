"""Packing: a run as one file to deploy, or as a Python package that depends on slotfill.

The file is a zip archive of what predicts: config, vocabulary, exported network, calibration,
known values, the model card, and their checksums. Nothing is compressed, so that it is read as
fast as a folder and no member can be larger than the file. The same run gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import keyword
import re
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

from slotfill.config.option_types import file_name
from slotfill.data.vocab import Vocab
from slotfill.errors import UsageError
from slotfill.inference.onnx_engine import ONNX
from slotfill.runs.card import render_card
from slotfill.runs.folder import render_vocab
from slotfill.runs.load import Run, load_run, parse_run_config
from slotfill.runs.manifest import CARD, MANIFEST, PACKED_FILES, VALUES, render_manifest
from slotfill.version import __version__

_VERSION = r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?"
"""The public versions of PEP 440, in their normal form."""

_RUN = "run.zip"
_GENERATOR = "Generator: slotfill "
"""What a package that is a packed run has in its file WHEEL."""

_INIT = '''"""{name}: a slot-filling tagger."""

from pathlib import Path

import slotfill

__version__ = "{version}"


def load(**options):
    """Return the tagger, ready to predict; the options are those of `slotfill.load`."""
    return slotfill.load(Path(__file__).with_name("{run}"), **options)
'''


def packed_files(path: Path) -> dict[str, bytes]:
    """Return the files that predict with the run `path`, with a model card and a manifest.

    No path of this machine is in them, only names of files. Raises what `load_run` raises;
    UsageError if the run is not exported.
    """
    run = load_run(path, engine="onnx")
    files = run.files
    contents = {name: files[name] for name in PACKED_FILES if files.has(name)}
    config = parse_run_config(contents["config.yaml"], path, is_packed=True)
    contents["config.yaml"] = config.to_yaml().encode()
    contents["vocab.json"] = _without_folders(run.vocab).encode()
    _check_exported_paths(run, contents)
    contents[CARD] = render_card(path).encode()
    return contents | {MANIFEST: render_manifest(contents, completed=files.completed)}


def _without_folders(vocab: Vocab) -> str:
    """Return the content of vocab.json with names of files instead of their paths."""
    data = vocab.to_json()
    data["tokenizer"]["name"] = file_name(data["tokenizer"]["name"])
    resources: dict[str, Any] = {}
    for path, content in vocab.resources.items():
        name = file_name(path)
        resources[f"{len(resources)}-{name}" if name in resources else name] = content
    return render_vocab(data | ({"resources": resources} if resources else {}))


def _check_exported_paths(run: Run, contents: Mapping[str, bytes]) -> None:
    """Raise UsageError if the exported network of an earlier version has paths of files."""
    paths = [json.dumps(path).encode() for path in run.vocab.resources if path != file_name(path)]
    for name in ONNX:
        if any(path in contents[name] for path in paths):
            raise UsageError(
                f"{run.files.path / name}: has paths of your machine, as earlier versions wrote"
                f" them; write it again with: slotfill export {run.files.path}"
            )


def pack_run(path: Path) -> bytes:
    """Return the run `path` as one file, which `load_run` opens. Raises as `packed_files`."""
    return _zip(packed_files(path))


def pack_wheel(path: Path, name: str, version: str) -> bytes:
    """Return a wheel whose package `load`s the run `path`.

    Raises UsageError if the name or the version is not one of a package, and what `packed_files`
    raises.
    """
    module = _module_name(name, version)
    files = packed_files(path)
    values = json.loads(files.get(VALUES, "{}"))
    extra = "[values]" if values.get("resolve", {}).get("slots") else ""
    card = files[CARD].decode().partition("\n---\n")[2].lstrip()
    info = f"{module}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n"
        f"Summary: A slot-filling tagger\nRequires-Python: >=3.11\n"
        f"Requires-Dist: slotfill{extra}~={__version__}\n"
        f"Description-Content-Type: text/markdown\n\n{card}"
    )
    init = _INIT.format(name=module, version=version, run=_RUN)
    contents = {
        f"{module}/__init__.py": init.encode(),
        f"{module}/{_RUN}": _zip(files),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": (
            f"Wheel-Version: 1.0\n{_GENERATOR}{__version__}\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n"
        ).encode(),
    }
    record = io.StringIO()
    rows = [[name, _record_hash(data), len(data)] for name, data in contents.items()]
    csv.writer(record, lineterminator="\n").writerows([*rows, [f"{info}/RECORD", "", ""]])
    contents[f"{info}/RECORD"] = record.getvalue().encode()
    return _zip(contents)


def wheel_name(name: str, version: str) -> str:
    """Return the file name of the wheel that `pack_wheel` gives, which pip reads; raises as it."""
    return f"{_module_name(name, version)}-{version}-py3-none-any.whl"


def _module_name(name: str, version: str) -> str:
    """Return the module of a package called `name`; raises UsageError if it cannot be one."""
    module = re.sub(r"[-_.]+", "_", name).lower()
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", module):
        raise UsageError(
            f"--name {name!r}: a package is called with the letters a to z, digits, - and _, and"
            " begins with a letter"
        )
    if keyword.iskeyword(module) or module in {*sys.stdlib_module_names, "slotfill"}:
        raise UsageError(f"--name {name}: Python has a module of this name; choose another")
    if _is_taken(module):
        raise UsageError(
            f"--name {name}: a package of this name is installed, or slotfill may need it; choose"
            " another, as it would be replaced"
        )
    if not re.fullmatch(_VERSION, version):
        raise UsageError(
            f"--version {version!r}: a version is numbers with dots, as 1.0 or 1.2.0rc1 (PEP 440)"
        )
    return module


def _is_taken(module: str) -> bool:
    """Return whether a package called `module` would replace another than a packed run."""
    name = module.replace("_", "-")
    with suppress(PackageNotFoundError):
        needed = {re.split(r"[^\w.-]", each)[0] for each in requires("slotfill") or ()}
        if name in {re.sub(r"[-_.]+", "-", each).lower() for each in needed}:
            return True
    with suppress(PackageNotFoundError):
        return _GENERATOR not in (distribution(name).read_text("WHEEL") or "")
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # A plain folder has none.


def _zip(contents: Mapping[str, bytes]) -> bytes:
    """Return a zip archive that is the same for the same contents."""
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        for name, content in contents.items():
            member = ZipInfo(name)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
    return file.getvalue()


def _record_hash(content: bytes) -> str:
    digest = urlsafe_b64encode(sha256(content).digest()).decode().rstrip("=")
    return f"sha256={digest}"
