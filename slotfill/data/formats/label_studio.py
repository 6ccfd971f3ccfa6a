"""Tasks of Label Studio: its exports JSON and JSON-MIN, and what it imports.

The text of a task is `text` in its `data`, or the only text there; the option `text` names another
key. Tasks of images, recordings and HTML are errors. `labels` and `hypertextlabels` are slots,
`choices` the intent: those called `intent` (or as the option `intent` says), or the only ones in
the file. Of several annotations the ground truth is read, or else the latest; with the option
`annotator`, only those of this user (`completed_by`). Other and cancelled annotations, relations
and other results are left out, and listed, as are drafts, predictions, and the annotator
(`completed_by`) where the output has no place for it. Ids, dates and times of work are bookkeeping,
and left out without a word. A task without an annotation is unlabelled. `start` and `end` count
code points; those of versions that count UTF-16 code units are corrected by `text`. In JSON-MIN the
slots are the lists of regions with `labels`, and the intent is at the key `intent`.

`slotfill predict RUN --input new.txt --format label_studio` writes tasks with `predictions`, each
with its `score`, which Label Studio shows as labels to begin with. Tasks of Label Studio keep their
id, data, annotations, and the predictions of other models. `convert` writes labels as
`annotations`. They fit a project whose `Text` is called `text` and has the value `$text`, whose
`Labels` are called `label` and whose `Choices` are called `intent`.

    [
    {"data": {"text": "fly to New York"}, "annotations": [{"result": [
      {"id": "1", "from_name": "label", "to_name": "text", "type": "labels",
       "value": {"start": 7, "end": 15, "text": "New York", "labels": ["destination"]}},
      {"id": "2", "from_name": "intent", "to_name": "text", "type": "choices",
       "value": {"choices": ["flight"]}}]}]}
    ]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slotfill.data.formats.base import Format, check_known, parse_each
from slotfill.data.json_objects import (
    JsonObject,
    describe_json_error,
    parse_json,
    read_objects,
    shorten,
)
from slotfill.data.sentence import INTENT_SEPARATOR, Example, Sentence, intent_names
from slotfill.errors import DataError

_TASK_KEY = re.compile(
    r'"(annotations|predictions|completions)"\s*:\s*\[|"data"\s*:\s*\{|"annotation_id"\s*:'
    r'|"start"\s*:[^{}]*"(hypertext)?labels"\s*:\s*\[\s*"'
)
_LINK = re.compile(
    r"\s*(?:(?:[a-z][a-z0-9+.-]*:/|data:|www\.)\S+|/data/\S+"
    r"|\S+\.(?:jpe?g|png|gif|bmp|webp|svg|tiff?|wav|mp3|flac|ogg|m4a|mp4|webm|mov|html?|pdf)(?:\?\S*)?)\s*",
    re.IGNORECASE,
)
"""The address of a picture, a recording or another file."""
_MARKUP = re.compile(r"</[a-z][a-z0-9]*\s*>|<(?:br|p|div|span|img)\b[^<>]*>", re.IGNORECASE)
_MIN_KEYS = ("id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time")
"""The keys of JSON-MIN that are neither data nor labels."""
_MODEL = "slotfill"
"""The `model_version` of predictions."""


class LabelStudio(Format):
    """Tasks with annotations.

    text: the key of the text in the data of a task; by default `text`, or the only text there.
    intent: the name of the choices that are the intent, if there are others.
    annotator: the number of the user whose annotations are read.
    """

    suffixes = (".json",)
    has_tags = False
    detected_by = "a JSON array of objects with `data`, `annotations`, `predictions` or `labels`"
    holds_confidence = True
    bookkeeping = frozenset({
        "id", "inner_id", "unique_id", "import_id", "project", "task", "file_upload", "from_name",
        "to_name", "origin", "created_at", "updated_at", "updated_by", "draft_created_at",
        "lead_time", "result_count", "parent_prediction", "parent_annotation", "last_action",
        "last_created_by", "bulk_created", "total_annotations", "cancelled_annotations",
        "total_predictions", "comment_count", "unresolved_comment_count", "last_comment_updated_at",
        "overlap", "is_labeled", "allow_skip",
    })  # fmt: skip
    frame = ("[\n", ",\n", "\n]\n")

    def __init__(
        self, *, text: str | None = None, intent: str = "intent", annotator: int | None = None
    ) -> None:
        self.text = text
        self.intent = intent
        self.annotator = annotator

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        text = "\n".join(head)
        return bool(re.match(r"\s*\[\s*\{", text) and _TASK_KEY.search(text))

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        tasks = self._complete(task for _, task in read_objects(path))
        kinds = {
            (result.get("type", str, None), result.get("from_name", str, ""))
            for task in tasks
            for annotation in _annotations(task)
            for result in annotation.objects("result")
        }
        choices = {name for kind, name in kinds if kind == "choices"}
        is_html = any(kind == "hypertextlabels" for kind, _ in kinds)
        if self.intent in choices or len(choices) > 1:
            choices &= {self.intent}
        users = {_annotator(annotation) for task in tasks for annotation in _annotations(task)}
        if self.annotator is not None and self.annotator not in users:
            names = ", ".join(sorted(str(user) for user in users if user is not None)) or "none"
            raise DataError(
                f"{path}: no annotation by annotator {self.annotator}; there are: {names}"
            )

        def parse(task: JsonObject) -> Example:
            example = self._read_task(task, choices)
            if is_html and (tag := _MARKUP.search(example.text)):
                problem = f"the text is HTML, as {tag[0]!r} shows, where offsets count otherwise"
                task.fail(f"{problem}; only plain text is read")
            return example

        yield from parse_each(parse, tasks)

    def _complete(self, tasks: Iterator[JsonObject]) -> list[JsonObject]:
        """Return `tasks` with those of JSON-MIN, one for each annotation, as complete ones."""
        completed: list[JsonObject] = []
        by_id: dict[tuple[int | None, str], JsonObject] = {}
        for task in tasks:
            if "data" not in task.items:
                number = task.get("id", int, None)
                task = self._complete_task(task)
                data = task.object("data")
                first = by_id.setdefault((number, data.get(self._text_key(data), str)), task)
                if first is not task and number is not None:
                    first.items["annotations"] += task.items["annotations"]
                    continue
            completed.append(task)
        return completed

    def _complete_task(self, row: JsonObject) -> JsonObject:
        """Return an object of JSON-MIN, whose labels are beside the data, as a complete task."""
        data, results = {}, list[dict[str, Any]]()
        for key, value in row.items.items():
            if isinstance(value, str) and re.match(r'\[\s*\{.*"labels"', value, re.DOTALL):
                value = _parse_regions(value, row)
            is_regions = isinstance(value, list) and all(isinstance(each, dict) for each in value)
            if is_regions:
                results += [_result(key, "labels", each, len(results)) for each in value]
            elif key == self.intent and isinstance(value, str):
                value = {"choices": [value]}
            elif key not in _MIN_KEYS and not (isinstance(value, dict) and "choices" in value):
                data[key] = value
            if isinstance(value, dict) and "choices" in value:
                results.append(_result(key, "choices", value, len(results)))
        kept = {key: row.items[key] for key in _MIN_KEYS if row.items.get(key) is not None}
        names = {"annotator": "completed_by", "annotation_id": "id"}
        own = {names.get(key, key): kept.pop(key) for key in _MIN_KEYS[1:] if key in kept}
        annotation = {**own, "result": results}
        is_labelled = results or "annotation_id" in row.items
        kept |= {"data": data, "annotations": [annotation] if is_labelled else []}
        return JsonObject(kept, row.location)

    def _read_task(self, task: JsonObject, intents: set[str]) -> Example:
        data = task.object("data")
        key = self._text_key(data)
        example = Example(data.get(key, str), location=task.location)
        candidates = []
        for annotation in _annotations(task):
            user = _annotator(annotation)
            if annotation.get("was_cancelled", bool, False):
                example.leave_out(f"a cancelled annotation{_by(user)}")
                annotation.skip()
            elif self.annotator in (None, user):
                candidates.append(annotation)
            else:
                example.leave_out(f"an annotation{_by(user)}")
                annotation.skip()
        if candidates:
            chosen = max(reversed(candidates), key=_preference)
            for annotation in candidates:
                if annotation is not chosen:
                    example.leave_out(f"another annotation{_by(_annotator(annotation))}")
                    annotation.skip()
            example.spans = []
            for result in chosen.objects("result"):
                _add_result(example, result, intents)
        kept = {key: task.items.get(key) for key in ("id", "meta")}
        if self.reads_texts:
            kept["annotations"] = [annotation.items for annotation in _annotations(task)]
            kept["predictions"] = [
                prediction
                for prediction in task.get("predictions", list, [])
                if not (isinstance(prediction, dict) and prediction.get("model_version") == _MODEL)
            ]
        elif candidates and chosen.items.get("completed_by"):
            kept["completed_by"] = chosen.items["completed_by"]
        extra = {key: value for key, value in kept.items() if value not in (None, [], {})}
        # All of the data, since the project of the tasks shows the text by its key.
        if data.items.keys() != {"text"}:
            extra["data"] = data.items
        by = ["completed_by"] if "completed_by" in extra else []
        example.list_unread([*task.unread(self.bookkeeping), *by], extra=extra)
        return example

    def _text_key(self, data: JsonObject) -> str:
        if self.text is not None:
            return self.text
        texts = {key: value for key, value in data.items.items() if isinstance(value, str)}
        links = [key for key, value in texts.items() if _LINK.fullmatch(value)]
        keys = [key for key in texts if key not in links]
        if links and not keys:
            found = " and ".join(f'"{key}" ({shorten(texts[key])})' for key in links)
            data.fail(
                f"the data of the task has no text, only a link as {found}; tasks of images,"
                " recordings and web pages are not read"
            )
        if "text" in data.items and "text" not in links:
            return "text"
        if len(keys) != 1:
            found = f"has the texts {', '.join(keys)}" if keys else "has no text"
            hint = "set data.format to {name: label_studio, text: KEY}, or --from or --input-format"
            data.fail(f'the data of the task has no "text", and {found}; {hint}')
        return keys[0]

    def holds_extra(self, key: str) -> bool:
        return True

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_known(sentence, "label_studio")
        confidence = sentence.confidence
        results = []
        for index, slot in enumerate(sentence.slots or ()):
            start, end = sentence.span(slot)
            value = {"start": start, "end": end, "text": sentence.text[start:end]}
            result = _result("label", "labels", {**value, "labels": [slot.name]}, index)
            if confidence:
                result["score"] = round(confidence.slots[index], 4)
            results.append(result)
        if sentence.intent:
            value = {"choices": intent_names(sentence.intent)}
            result = _result("intent", "choices", value, len(results))
            if confidence and confidence.intent is not None:
                result["score"] = round(confidence.intent, 4)
            results.append(result)
        extra = dict(sentence.extra or {})
        if not confidence and (sentence.slots is not None or results):
            by = {"completed_by": extra.pop("completed_by")} if "completed_by" in extra else {}
            extra["annotations"] = [{**by, "result": results}]
        task = _start_task(sentence.text, extra)
        if confidence:
            score = round(confidence.reading, 4)
            prediction = {"model_version": _MODEL, "score": score, "result": results}
            task["predictions"] = [*task.get("predictions", ()), prediction]
        return json.dumps(task, ensure_ascii=False, default=str)


def _start_task(text: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Return a task of `text` with what else it was read with."""
    task, data = dict[str, Any](), dict[str, Any]()
    for key, value in extra.items():
        if (
            (key == "id" and type(value) is int)
            or (key == "meta" and isinstance(value, dict))
            or (key in ("annotations", "predictions") and _have_results(value))
        ):
            task[key] = value
        elif key == "data" and isinstance(value, dict):
            data |= value
        else:
            data[key] = value
    if text not in data.values():
        data = {"text": text} | data | {"text": text}
    return {**task, "data": data}


def _have_results(value: Any) -> bool:
    """Return whether a value is a list of annotations or predictions."""
    items = value if isinstance(value, list) else [None]
    return all(isinstance(item, dict) and isinstance(item.get("result"), list) for item in items)


def _annotations(task: JsonObject) -> list[JsonObject]:
    """Return the annotations of a task, which the first versions called completions."""
    return task.objects("annotations") or task.objects("completions")


def _annotator(annotation: JsonObject) -> Any:
    """Return the number (or name) of the user who made an annotation."""
    user = annotation.value("completed_by")
    user = user.get("id") if isinstance(user, dict) else user
    if not isinstance(user, int | str | None):
        found = shorten(user)
        annotation.fail(f'expected the number of a user as "completed_by", found {found}')
    return user


def _by(user: Any) -> str:
    return "" if user is None else f" by annotator {user}"


def _preference(annotation: JsonObject) -> tuple[bool, str]:
    """Return by what the annotation of a task is chosen: the ground truth, then the latest."""
    times = [str(annotation.value(key) or "") for key in ("updated_at", "created_at")]
    return annotation.get("ground_truth", bool, False), times[0] or times[1]


def _parse_regions(text: str, row: JsonObject) -> Any:
    """Return the regions of JSON-MIN that are written as a text of JSON."""
    try:
        return parse_json(text, row.location)
    except json.JSONDecodeError as error:
        row.fail(f"regions that are not JSON: {describe_json_error(error)}")


def _add_result(example: Example, result: JsonObject, intents: set[str]) -> None:
    """Add a slot or the intent to `example`, or note what is left out."""
    kind = result.get("type", str, "unknown type")
    if kind in ("labels", "hypertextlabels"):
        _add_region(example, result.object("value"), kind)
    elif kind == "choices" and result.get("from_name", str, "") in intents:
        choices = result.object("value").texts("choices") or []
        example.intent = INTENT_SEPARATOR.join(choices) or None
    else:
        name = result.get("from_name", str, None)
        example.leave_out(f"{kind} '{name}'" if name else kind)
        result.skip()


def _add_region(example: Example, value: JsonObject, kind: str) -> None:
    # Of HTML, start and end are paths to elements, and globalOffsets are characters.
    offsets = value.object("globalOffsets") if value.items.get("globalOffsets") else value
    if isinstance(value.items.get("start"), float) or "channel" in value.items:
        example.leave_out("a region of a recording, in seconds")
        return
    start, end, text = (
        offsets.get("start", int),
        offsets.get("end", int),
        value.get("text", str, None),
    )
    if text and "\\n" in text and text not in example.text:
        text = text.replace("\\n", "\n")  # Label Studio may write a line end in this way.
    names = value.texts(kind) or value.texts("labels") or value.texts("hypertextlabels")
    for name in names or ():
        example.add_span(name, start, end, text)
    if not names:
        example.leave_out(f"a region without a label ({example.text[start:end]!r})")


def _result(name: str, kind: str, value: dict[str, Any], index: int) -> dict[str, Any]:
    ids = {"id": str(index + 1), "from_name": name, "to_name": "text"}
    return {**ids, "type": kind, "value": value}
