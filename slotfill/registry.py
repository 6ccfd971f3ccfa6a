"""Registry: the folder is the table, the file's name is the name in YAML.

A part's file is read as a syntax tree to learn what it is and which options it takes, so that a config
is checked, and `slotfill list` answers, without importing torch or running anybody's code. The file is
imported only when its part is built.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from slotfill.errors import ConfigError, did_you_mean

REQUIRED = object()


@dataclass(frozen=True)
class Option:
    """A key that a part takes in YAML: its name, its type and its default (`REQUIRED` if it has none)."""

    name: str
    type: Any
    default: Any
    part: str | None = None


class PartFile:
    """One part as its file states it, read without importing it."""

    def __init__(self, name: str, path: Path, module: str | None) -> None:
        self.name = name
        self.path = path
        self.module = module

    @cached_property
    def tree(self) -> ast.Module:
        try:
            return ast.parse(self.path.read_text(encoding="utf-8"))
        except SyntaxError as fault:
            raise ConfigError(f"{self.path}:{fault.lineno}: not Python: {fault.msg}") from None

    @cached_property
    def class_node(self) -> ast.ClassDef:
        """The file's one public class."""
        found = [node for node in self.tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        if len(found) != 1:
            raise ConfigError(f"{self.path}: a part's file holds one public class, this one has {len(found)}")
        return found[0]

    @cached_property
    def summary(self) -> str:
        """The first line of the file's docstring."""
        return (ast.get_docstring(self.tree) or "").partition("\n")[0]

    @cached_property
    def source(self) -> str:
        """The publication that the docstring's `Source:` line names, or nothing."""
        for line in (ast.get_docstring(self.tree) or "").splitlines():
            if line.startswith("Source:"):
                return line.removeprefix("Source:").strip()
        return ""

    @cached_property
    def options(self) -> dict[str, Option]:
        """The keyword-only arguments of the class's constructor: the keys that YAML may set."""
        for node in self.class_node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return dict(
                    self._option(argument, default)
                    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                )
        return {}

    def _option(self, argument: ast.arg, default: ast.expr | None) -> tuple[str, Option]:
        try:
            annotation, part = _type_of(argument.annotation)
            value = REQUIRED if default is None else ast.literal_eval(default)
        except (ValueError, KeyError):
            raise ConfigError(
                f"{self.path}:{argument.lineno}: the option '{argument.arg}' needs a type from "
                "slotfill.options and a plain value as its default"
            ) from None
        return argument.arg, Option(argument.arg, annotation, value, part)

    def load(self) -> type:
        """Import the file and return its class."""
        if self.module is None:
            module_name = "slotfill_part_" + hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
            spec = importlib.util.spec_from_file_location(module_name, self.path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(self.module)
        return getattr(module, self.class_node.name)


class Registry:
    """The parts of one kind: the files of a package, but for those that begin with `_`."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self.folder = Path(__file__).parent / package.rpartition(".")[2]

    def names(self) -> list[str]:
        """Return the names of all parts, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.py") if not path.stem.startswith("_"))

    def part(self, name: str) -> PartFile:
        """Return the part called `name`, or the one in the file `name` if it ends in `.py`.

        Raises ConfigError when there is none.
        """
        if name.endswith(".py"):
            path = Path(name).resolve()
            if not path.is_file():
                raise ConfigError(f"no file {name} to take a {self.kind} from")
            return _part_file(path.stem, path, None)
        if name not in self.names():
            raise ConfigError(f"unknown {self.kind} '{name}'{did_you_mean(name, self.names())}")
        return _part_file(name, self.folder / f"{name}.py", f"{self.package}.{name}")

    def build(self, part: str | Mapping[str, Any], *wiring: Any) -> Any:
        """Import the part that `part` names and return it, built from `wiring` and its options."""
        options = {"name": part} if isinstance(part, str) else dict(part)
        return self.part(options.pop("name")).load()(*wiring, **options)


@lru_cache
def _part_file(name: str, path: Path, module: str | None) -> PartFile:
    return PartFile(name, path, module)


def _type_of(node: ast.expr | None) -> tuple[Any, str | None]:
    """Return the type that an annotation spells, and the kind of part where it is one."""
    from slotfill import options

    if isinstance(node, ast.Constant):
        return node.value, None
    if isinstance(node, ast.Name):
        plain = {"int": int, "float": float, "bool": bool, "str": str}
        if node.id in plain:
            return plain[node.id], None
        kind = node.id.removesuffix("Part").lower() if node.id.endswith("Part") else None
        return vars(options)[node.id], kind
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _type_of(node.left)[0] | _type_of(node.right)[0], None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id == "list":
            return list[_type_of(node.slice)[0]], None  # type: ignore[misc]
        if node.value.id == "Literal":
            return Literal[ast.literal_eval(node.slice)], None
    raise ValueError(node)


FORMATS = Registry("format", "slotfill.formats")
EMBEDDINGS = Registry("embedding", "slotfill.embeddings")
CELLS = Registry("cell", "slotfill.cells")
ENCODERS = Registry("encoder", "slotfill.encoders")
TAGGERS = Registry("tagger", "slotfill.taggers")

KINDS = {registry.kind: registry for registry in (EMBEDDINGS, CELLS, ENCODERS, TAGGERS, FORMATS)}
