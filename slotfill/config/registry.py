"""Registry: the folder is the table, the file's name is the name in YAML.

A part's file is read as a syntax tree to learn what it is and which options it takes, so that a
config is checked, and `slotfill list` answers, without importing torch or running anybody's code.
The file is imported only when its part is built.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from reprlib import repr as shorten
from traceback import StackSummary, extract_tb
from typing import Any, Literal

from slotfill.config.hints import hint_at_part
from slotfill.errors import (
    ConfigError,
    RunError,
    SlotfillError,
    UsageError,
    did_you_mean,
    shorten_text,
)
from slotfill.files import real_path
from slotfill.paths import find_path_problem

REQUIRED = object()

_MODULE_PREFIX = "slotfill_part_"

CONTRACT_HINT = "slotfill check --contract FILE --trust says what a part must do"
"""The end of a message on a user-defined part that fails."""

_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


def check_trust(trust: Any) -> None:
    """Raise UsageError if `trust` is neither True nor False."""
    if not isinstance(trust, bool):
        raise UsageError(f"trust is True or False, not {shorten(trust)}")


@contextmanager
def trust_external_parts(trust: bool = True) -> Iterator[None]:
    """Allow, or forbid, to execute the files of user-defined parts within this block.

    Raises UsageError for anything but True and False: a text such as "no" is no consent.
    """
    check_trust(trust)
    token = _trusted.set(trust)
    try:
        yield
    finally:
        _trusted.reset(token)


def are_external_parts_trusted() -> bool:
    """Return whether the files of user-defined parts may be executed here."""
    return _trusted.get()


@dataclass(frozen=True)
class Option:
    """An option of a part, which is a key in YAML."""

    name: str
    type: Any
    default: Any
    """The default value, or `REQUIRED`."""
    part_kind: str | None = None
    """The kind of part that the value is, if it is one."""


def loaded_part_files() -> list[str]:
    """Return the files of the user-defined parts that are imported, the latest last."""
    modules = [module for name, module in sys.modules.items() if name.startswith(_MODULE_PREFIX)]
    return [str(module.__file__) for module in modules]


def find_part_line(frames: StackSummary) -> str:
    """Return `FILE:LINE: FUNCTION()` of the last of `frames` in a user-defined part, or nothing."""
    files = loaded_part_files()
    for frame in reversed(frames):
        if frame.filename in files:
            return f"{frame.filename}:{frame.lineno}: {frame.name}()"
    return ""


def describe_part_error(error: BaseException) -> str | None:
    """Return `error` with the last line of a user-defined part that led to it; None if none did."""
    where = find_part_line(extract_tb(error.__traceback__))
    return f"{where} {describe_failure(error)}" if where else None


def describe_failure(error: BaseException) -> str:
    """Return the end of a message on what raised `error`, in one line."""
    message = next(iter(str(error).splitlines()), "")
    return f"failed with {type(error).__name__}: {message}"


@contextmanager
def catch_part_errors() -> Iterator[None]:
    """Raise RunError, which names the line, for what a user-defined part raises in this block."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise_part_error(error)
        raise


def raise_part_error(error: BaseException) -> None:
    """Raise RunError, which names the line, if a user-defined part has raised `error`."""
    if not isinstance(error, SlotfillError) and (message := describe_part_error(error)):
        raise RunError(f"{message}; {CONTRACT_HINT}") from error


def check_trusted(file: str | Path) -> None:
    """Raise UsageError if the `file` of a user-defined part may not be executed here."""
    if not _trusted.get():
        raise UsageError(
            f"{file}: a user-defined part is Python code, so it was not executed; if you trust it,"
            " add --trust (in Python: trust=True)"
        )


@dataclass(frozen=True)
class PartSource:
    """A part as its file describes it, parsed but never executed."""

    path: Path
    module: str | None
    """The module of a built-in part; None: the part is user-defined."""
    content: bytes | None = None
    """The content of the file of a user-defined part: a file that is edited is another part."""

    @cached_property
    def code(self) -> str:
        """The text of the file."""
        content = self.path.read_bytes() if self.content is None else self.content
        return content.decode("utf-8-sig")

    @cached_property
    def checksum(self) -> str:
        """The SHA-256 checksum of a user-defined part."""
        return hashlib.sha256(self.content or b"").hexdigest()

    @cached_property
    def tree(self) -> ast.Module:
        try:
            return ast.parse(self.code)
        except SyntaxError as error:
            raise ConfigError(f"{self.path}:{error.lineno or 1}: not Python: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(f"{self.path}:1: not Python: {error}") from None
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from None

    @cached_property
    def class_node(self) -> ast.ClassDef:
        """The file's one public class."""
        classes = [
            node
            for node in self.tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ]
        if len(classes) != 1:
            raise ConfigError(
                f"{self.path}: a part's file has one public class, this one has {len(classes)}"
            )
        return classes[0]

    @cached_property
    def summary(self) -> str:
        """The first paragraph of the file's docstring."""
        return " ".join((ast.get_docstring(self.tree) or "").partition("\n\n")[0].split())

    @cached_property
    def source(self) -> str:
        """The publication that the docstring's paragraph `Source:` names, or nothing."""
        return self._paragraph("Source:")

    @cached_property
    def export(self) -> str:
        """What the docstring's paragraph `Export:` says cannot be exported, or nothing."""
        return self._paragraph("Export:")

    def _paragraph(self, head: str) -> str:
        _, _, rest = (ast.get_docstring(self.tree) or "").partition(f"\n{head}")
        return " ".join(rest.partition("\n\n")[0].split())

    @cached_property
    def options(self) -> dict[str, Option]:
        """The keyword-only arguments of the class's constructor: the keys that YAML may set."""
        if self._constructor is None:
            return {}
        given = self._constructor.args
        arguments = zip(given.kwonlyargs, given.kw_defaults, strict=True)
        return {node.arg: self._option(node, default) for node, default in arguments}

    @cached_property
    def _constructor(self) -> ast.FunctionDef | None:
        for node in self.class_node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return node
        return None

    @cached_property
    def positional(self) -> list[str]:
        """The positional arguments of the constructor after `self`, which slotfill passes."""
        given = None if self._constructor is None else self._constructor.args
        return [] if given is None else [each.arg for each in (*given.posonlyargs, *given.args)][1:]

    def check_arguments(self, names: Sequence[str]) -> None:
        """Raise ConfigError if the constructor does not take the positional arguments `names`."""
        if self._constructor is None or self._constructor.args.vararg is not None:
            return
        needed = len(self.positional) - len(self._constructor.args.defaults)
        if not needed <= len(names) <= len(self.positional):
            taken = f"take {', '.join(names)}" if names else "take no positional argument"
            found = ", ".join(self.positional) or "none"
            raise ConfigError(
                f"{self.path}:{self._constructor.lineno}: __init__ must {taken}, found {found};"
                " options are keyword-only, after *"
            )

    def _option(self, argument: ast.arg, default: ast.expr | None) -> Option:
        name, location = argument.arg, f"{self.path}:{argument.lineno}"
        if name.startswith(("_", "model_")) or name == "name":
            raise ConfigError(f"{location}: an option cannot be called '{name}'")
        try:
            annotation = _parse_type(argument.annotation)
            value = REQUIRED if default is None else ast.literal_eval(default)
        except (ValueError, KeyError, TypeError, RecursionError, MemoryError):
            raise ConfigError(
                f"{location}: the option '{name}' needs a type from slotfill.config.option_types"
                " and a plain value as its default"
            ) from None
        is_cell = getattr(argument.annotation, "id", "") == "CellPart"
        return Option(name, annotation, value, "cell" if is_cell else None)

    def load(self) -> type:
        """Import the file, once, and return its class.

        Raises:
            UsageError: The file is a user's, and `trust_external_parts` does not allow to run it.
            ConfigError: The file is not Python, or has no single public class.
            RunError: Running it fails.
        """
        if self.module is None:
            check_trusted(self.path)
        return self._loaded

    @cached_property
    def _loaded(self) -> type:
        if self.module is not None:
            return getattr(importlib.import_module(self.module), self.class_node.name)
        class_name = self.class_node.name
        identity = hashlib.sha256(f"{self.path} {self.checksum}".encode()).hexdigest()
        name = f"{_MODULE_PREFIX}{identity[:12]}"
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            # Not by the loader, which may use the bytecode of a file that was edited since.
            code = compile(self.code, str(self.path), "exec", dont_inherit=True)
            exec(code, module.__dict__)
        except (Exception, SystemExit) as error:
            frames = extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == str(self.path)]
            raise RunError(
                f"{self.path}:{lines[-1] if lines else 1}: running it {describe_failure(error)}"
            ) from error
        return getattr(module, class_name)


def user_part(file: str) -> PartSource:
    """Return the user-defined part in `file`; raises ConfigError if there is none."""
    if problem := find_path_problem(file):
        raise ConfigError(f"{shorten_text(file)}: {problem}")
    path = real_path(file)
    if path.is_dir():
        raise ConfigError(f"{file} is a folder; a user-defined part is a file, as ./my_cell.py")
    if not path.is_file():
        kinds = [kind for kind, registry in REGISTRIES.items() if file in registry.names()]
        hint = f"; the {kinds[0]} {file} is built in and needs no check" if kinds else ""
        raise ConfigError(f"there is no file {file}{hint}")
    try:
        return _part_file(path, None, path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


class Registry:
    """The parts of one kind: the files of a package except `base` and private ones."""

    def __init__(self, kind: str, package: str, *arguments: str) -> None:
        """`arguments` are the positional ones of a part's constructor."""
        self.kind = kind
        self.arguments = arguments
        self.package = package
        self.folder = Path(__file__).parent.parent.joinpath(*package.split(".")[1:])

    def names(self) -> list[str]:
        """Return the names of all parts, sorted."""
        return list(_list_parts(self.folder))

    def part(self, name: str) -> PartSource:
        """Return the part called `name`, or the one in the file `name` if it ends in `.py`.

        Raises ConfigError when there is none.
        """
        if name.endswith(".py"):
            return user_part(name)
        if name not in (files := _list_parts(self.folder)):
            raise ConfigError(f"unknown {self.kind} {shorten_text(name)!r}{self._hint(name)}")
        return _part_file(files[name], f"{self.package}.{name}")

    def _hint(self, name: str) -> str:
        """Return the end of a message on an unknown `name`."""
        others = [kind for kind, registry in REGISTRIES.items() if name in registry.names()]
        known = f", which is a {others[0]}" if others else ""
        if hint := hint_at_part(self.kind, name):
            return f"{known}; {hint}{did_you_mean('', self.names())}"
        if self.kind == "encoder" and "cell" in others:
            known += f"; use encoder=recurrent with encoder.cell={name}"
        return known + did_you_mean("" if others else name, self.names())

    def build(self, part: str | Mapping[str, Any], *wiring: Any, key: str = "") -> Any:
        """Import a part and return it, constructed with `wiring` and its options.

        Raises ConfigError for options that conflict, with their keys below `key`, the key of the
        part in the config.
        """
        options = {"name": part} if isinstance(part, str) else dict(part)
        source = self.part(options.pop("name"))
        part_class = source.load()
        try:
            if source.module is None:
                # Only a cell that takes the memory of the lower layer has one more.
                source.check_arguments((*self.arguments, "has_lower_layer")[: len(wiring)])
            return part_class(*wiring, **options)
        except ConfigError as error:
            key = key or self.kind
            errors = [replace(e, key=f"{key}.{e.key}".rstrip(".")) for e in error.errors]
            raise ConfigError(errors) from None


_part_file = lru_cache(PartSource)


@lru_cache
def _list_parts(folder: Path) -> dict[str, Path]:
    """Return the files of the parts in `folder` by their names, sorted."""
    return {path.stem: path for path in sorted(folder.glob("[!_]*.py")) if path.stem != "base"}


def _parse_type(node: ast.expr | None) -> Any:
    """Return the type of an annotation; raises an exception for one that options cannot have."""
    from slotfill.config import option_types

    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id="int" | "float" | "bool" | "str" as name):
            return getattr(builtins, name)
        case ast.Name(id=name) if name in option_types.__all__:
            return getattr(option_types, name)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _parse_type(left) | _parse_type(right)
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_parse_type(item)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            return Literal[ast.literal_eval(values)]
    raise ValueError(node)


FORMATS = Registry("format", "slotfill.data.formats")
EMBEDDINGS = Registry("embedding", "slotfill.model.embeddings", "vocab")
CELLS = Registry("cell", "slotfill.model.cells", "input_size", "hidden_size", "directions")
ENCODERS = Registry("encoder", "slotfill.model.encoders", "input_size")
INTENTS = Registry("intent", "slotfill.model.intents", "input_size", "vocab")
TAGGERS = Registry("tagger", "slotfill.model.taggers", "input_size", "vocab")
GENERATORS = Registry("generator", "slotfill.model.generators", "vocab")
LOGGERS = Registry("logger", "slotfill.training.loggers")

REGISTRIES = {
    registry.kind: registry
    for registry in (
        *(EMBEDDINGS, CELLS, ENCODERS, INTENTS, TAGGERS, GENERATORS, FORMATS, LOGGERS),
    )
}
