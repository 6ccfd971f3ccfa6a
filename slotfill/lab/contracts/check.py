"""Check the contracts of a user-defined part."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from traceback import extract_stack, extract_tb
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from slotfill.config.part_config import to_plain
from slotfill.config.registry import (
    CONTRACT_HINT,
    PartSource,
    describe_failure,
    describe_part_error,
    find_part_line,
    loaded_part_files,
    trust_external_parts,
    user_part,
)
from slotfill.config.validate import parse_config
from slotfill.errors import SlotfillError, UsageError
from slotfill.lab.contracts import (
    cells,
    embeddings,
    encoders,
    generators,
    intents,
    networks,
    taggers,
)
from slotfill.lab.contracts.networks import Parts
from slotfill.lab.contracts.parts import (
    BASES,
    find_kind,
    part_has_keyword_only_options,
    part_is_documented,
)
from slotfill.lab.contracts.requirements import (
    Contract,
    ContractError,
    NotFiniteError,
    Part,
    WrongResultError,
)
from slotfill.lab.contracts.samples import (
    HIDDEN,
)

PART_CONTRACTS: dict[str, list[Contract]] = {
    "cell": cells.CONTRACTS,
    "encoder": encoders.CONTRACTS,
    "tagger": taggers.CONTRACTS,
    "embedding": embeddings.CONTRACTS,
    "intent": intents.CONTRACTS,
    "generator": generators.CONTRACTS,
}
"""The contracts of a part on its own, by kind."""


def check_contracts(file: str, options: Sequence[str] = ()) -> Iterator[tuple[str, str | None]]:
    """Return the contracts of the user-defined part in `file`, checked one after another.

    Each is its name and the problem, in one line, or None if it holds. Nothing is checked after a
    result that is none, as of a wrong shape or not finite, nor after an exception, which others
    would raise again. `options` of the part are written `KEY=VALUE`.

    Raises:
        UsageError: the file may not be executed, or has a part without contracts.
        ConfigError: there is no such file, or an option is wrong.
        RunError: running the file fails.
    """
    source = user_part(file)
    kind = find_kind(source)
    if not kind:
        allowed = ", ".join(base.__name__ for base, _ in BASES.values())
        raise UsageError(
            f"{file}: {source.load().__name__} has no contracts to check; it must be derived from"
            f" one of {allowed}"
        )
    key = BASES[kind][1]
    named = {"name": file}
    overrides = [f"{key}={json.dumps([named] if kind == 'embedding' else named)}"]
    overrides += [f"{key}.{'0.' * (kind == 'embedding')}{option}" for option in options]
    config = parse_config("{}", "defaults", overrides)
    part = to_plain(getattr(config, key.partition(".")[0]))
    inner = {"cell": "cell", "embedding": 0}.get(kind)
    return _check(source, kind, part if inner is None else part[inner])


_COMPUTING = ("model", "training", "inference", "evaluation", "export", "data")
"""The packages that compute with what parts return."""


def find_part_problem(error: BaseException) -> str | None:
    """Return what is wrong with the user-defined part that led to `error`; None if none did."""
    problem = describe_part_error(error)
    if isinstance(error, Exception):
        problem = explain_part_error(error) or problem
    return problem and f"{problem}; {CONTRACT_HINT}"


def explain_part_error(error: Exception) -> str | None:
    """Return what the user-defined part that led to `error` returns not as documented, in one line.

    None if nothing is found with the default values of its options. If the error did not pass
    through its file, it is one of the code that computes with its results, and the part returns a
    wrong one, or raises such an error on its own.
    """
    files = loaded_part_files()
    frames = [Path(frame.filename) for frame in extract_tb(error.__traceback__)]
    passed = [file for file in files if Path(file) in frames]
    root = Path(__file__).parents[2]
    own = [frame.relative_to(root) for frame in frames if frame.is_relative_to(root)]
    if not passed and not (own and own[-1].parts[0] in _COMPUTING):
        return None
    same = f" failed with {type(error).__name__}: "
    for file in passed or reversed(files):
        with suppress(Exception), trust_external_parts():
            for index, (contract, problem) in enumerate(check_contracts(file)):
                if problem is None or (index == 0 and not passed):
                    continue
                is_wrong_result = index < 2 and " failed with " not in problem
                raises_same = same in problem and not contract.startswith("network")
                if is_wrong_result or (raises_same and not passed):
                    return problem if file in problem else f"{file}: {problem}"
                break
    return None


def _check(source: PartSource, kind: str, part: Part) -> Iterator[tuple[str, str | None]]:
    parts = _make_parts(kind, part)
    checks: list[tuple[Contract, Any]] = [(part_has_keyword_only_options, source)]
    checks += [(contract, part) for contract in PART_CONTRACTS[kind]]
    if kind != "generator":
        checks += [
            (contract, parts) for contract in (*networks.CONTRACTS, networks.network_is_exported)
        ]
    checks.append((part_is_documented, source))
    for contract, subject in checks:
        name = contract.__name__.replace("_", " ")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Of torch, on what it could do faster.
                contract(subject)
        except ContractError as error:
            place = ""
            if isinstance(error, NotFiniteError):
                place = _find_not_finite(contract, subject)
            yield name, f"{error}{place}"
            if isinstance(error, WrongResultError) or contract is PART_CONTRACTS[kind][0]:
                return
        except SlotfillError:
            raise
        except (Exception, SystemExit) as error:
            problem = describe_part_error(error)
            if problem is None and isinstance(error, SystemExit):
                raise
            if isinstance(error, NotImplementedError) and not error.args:  # Of a base class.
                method = extract_tb(error.__traceback__)[-1].name
                problem = f"{source.path}: {method}() must be defined"
            # The small network around the part works with all built-in parts.
            yield name, problem or f"{source.path}: its network {describe_failure(error)}"
            return
        else:
            yield name, None


class _NotFiniteFinder(TorchFunctionMode):
    """Within its block, notes where a part's file first computes nan, and where inf."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        before = _list_not_finite(args)
        result = function(*args, **(kwargs or {}))
        # Memory without values yet, or with those of an argument, is not where they come from.
        if function not in _UNINITIALIZED:
            results = result if isinstance(result, tuple | list) else [result]
            for kind in _list_not_finite(results) - before:
                if place := find_part_line(extract_stack()):
                    self.places.setdefault(kind, place)
        return result


_UNINITIALIZED = {torch.empty, torch.empty_like, torch.empty_strided, Tensor.new_empty}


def _list_not_finite(values: Iterable[Any]) -> set[str]:
    """Return which of nan and inf are in the tensors among `values`."""
    tensors = [each for each in values if isinstance(each, Tensor) and each.is_floating_point()]
    kinds = {"nan": torch.isnan, "inf": torch.isinf}
    return {kind for kind, test in kinds.items() if any(bool(test(each).any()) for each in tensors)}


def _find_not_finite(contract: Contract, subject: Any) -> str:
    """Return the end of a message on a result that is not finite: where it was, if that is known.

    An inf may be meant, as a mask is, so that a nan is named first.
    """
    finder = _NotFiniteFinder()
    with suppress(Exception), finder:
        contract(subject)
    for kind, place in sorted(finder.places.items(), reverse=True):
        return f"; the first {kind} comes from {place}"
    return ""


def _make_parts(kind: str, part: Part) -> Parts:
    """Return a small network with `part`."""
    cell = part if kind == "cell" else "lstm"
    encoder = {"name": "recurrent", "hidden_size": HIDDEN, "dropout": 0.0, "cell": cell}
    parts: list[Any] = [["word"], encoder, {"name": "crf", "dropout": 0.0}]
    if kind == "embedding":
        parts[0] = [part]
    elif kind == "intent":
        parts.append(part)
    elif kind in ("encoder", "tagger"):
        parts[("encoder", "tagger").index(kind) + 1] = part
    return parts
