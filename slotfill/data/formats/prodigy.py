"""JSON lines that Prodigy exports with `db-out`, one answered task each.

`spans` are the slots; their `end` is exclusive. The intent is what was chosen (`accept`), or else
the `label` of the task; several are joined by `#`. Tasks answered `reject` or `ignore` are left
out; one without an `answer` counts as accepted, as `db-in` takes it. A task with neither `spans`
nor `tokens` is unlabelled. The tokens themselves are not used, since prediction splits the text
itself. They, hashes, times and options are bookkeeping, and left out without a word; relations,
annotators and other keys are not read, and listed.

    {"text": "fly to New York", "spans": [{"start": 7, "end": 15, "label": "destination"}], "label": "flight", "answer": "accept"}
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slotfill.data.formats._json_rows import JsonRows, join_intents, start_example
from slotfill.data.formats.base import parse_each
from slotfill.data.json_objects import JsonObject, shorten
from slotfill.data.sentence import Example, Issue, unreadable
from slotfill.errors import DataError, format_count


class Prodigy(JsonRows):
    """Exports of Prodigy."""

    detected_by = "the key `answer` or `_task_hash`, or `spans` of objects"
    bookkeeping = frozenset({
        "token_start", "token_end", "options", "config", "_input_hash", "_task_hash",
        "input_hash", "_view_id", "_is_binary", "_timestamp",
    })  # fmt: skip

    @classmethod
    def has_shape(cls, row: Any) -> bool:
        match row:
            case {"text": _, "answer": _} | {"text": _, "_task_hash": _}:
                return True
            case {"text": _, "spans": [{"start": _, "end": _, "label": _}, *_]}:
                return True
        return False

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        last: Example | None = None
        left_out: list[Issue] = []
        for row in self.rows(path):
            if isinstance(row, DataError):
                yield unreadable(row)
                continue
            answer = row.value("answer")
            answer = "accept" if answer is None else answer
            if answer == "accept":
                if last is not None:
                    yield last
                (last,) = parse_each(self.parse_all, [row])
            elif answer in ("reject", "ignore"):
                what = f'the task, answered "{answer}"'
                left_out.append(Issue("left out", row.location, what))
            else:
                problem = f"the answer is accept, reject or ignore, found {shorten(answer)}"
                yield unreadable(DataError(f"{row.location}: {problem}"))
            if last is not None:
                for issue in left_out:
                    last.add_issue(issue.kind, issue.message, issue.location)
                left_out.clear()
        if last is not None:
            yield last
        elif left_out:
            tasks = format_count(len(left_out), "task")
            raise DataError(f"{path}: none of its {tasks} is answered with accept")

    def parse(self, row: JsonObject) -> Example:
        example = start_example(row)
        tokens = row.value("tokens")
        if row.items.get("spans") is not None or tokens is not None:
            example.spans = []
        for span in row.objects("spans"):
            start, end = span.get("start", int), span.get("end", int)
            example.add_span(span.get("label", str), start, end, span.get("text", str, None))
        label = row.get("label", str, None)
        chosen = row.get("accept", list, None) or ([label] if label else [])
        example.intent = join_intents(chosen, row, "accept")
        return example
