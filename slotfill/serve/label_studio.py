"""The routes of a machine learning backend of Label Studio, which pre-annotates its tasks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated, Any
from xml.etree import ElementTree

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, FailFast, Field

from slotfill.config.registry import FORMATS
from slotfill.data.formats.label_studio import LabelStudio
from slotfill.data.sentence import Sentence
from slotfill.serve.errors import describe_errors
from slotfill.serve.limits import Limits
from slotfill.serve.served_run import ServedRun

_FORMAT: LabelStudio = FORMATS.build("label_studio")


class Task(BaseModel):
    """A task; its other keys are not read."""

    data: dict[str, Any] = Field({}, description="Its text, under the key that the project names.")


class TasksRequest(BaseModel):
    """What Label Studio sends for predictions."""

    tasks: Annotated[list[Task], FailFast()]
    label_config: str | None = Field(None, description="The labelling configuration, as XML.")


class SetupRequest(BaseModel):
    """What Label Studio sends to connect a project; other keys are not read."""

    schema_: str | None = Field(
        None, alias="schema", description="The labelling configuration, as XML."
    )


def make_router(run: ServedRun, limits: Limits) -> APIRouter:
    """Return the routes for one run."""
    router = APIRouter(tags=["Label Studio"])
    version = f"slotfill {run.name}"

    @router.get("/health", summary="Whether the service is alive")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "slotfill"}

    @router.post("/setup", summary="Connect a project", responses=describe_errors(422))
    async def setup(request: SetupRequest) -> dict[str, str]:
        """An error says which configurations are supported."""
        _Names(request.schema_)
        return {"model_version": version}

    @router.post("/webhook", status_code=201, summary="Hear of an event, and do nothing")
    async def webhook() -> dict[str, str]:
        return {"status": "ignored"}

    @router.post("/train", status_code=201, summary="Accept annotations, and do nothing")
    async def train() -> dict[str, str]:
        """Train on an export of the project instead."""
        return {}

    @router.post(
        "/predict",
        summary="Predict labels and choices for tasks",
        response_model=dict[str, Any],
        responses=describe_errors(422, 429),
    )
    async def predict(request: TasksRequest, connection: Request) -> JSONResponse:
        """The names are those of the labelling configuration.

        A task without a text, or with one that is too long, has an empty result.
        """
        names = _Names(request.label_config)
        texts = [names.text_of(task.data) for task in request.tasks]
        usable = limits.check_tasks(texts)
        tagged = await run.batcher.tag(usable, is_gone=connection.is_disconnected)
        sentences = {sentence.text: sentence for sentence in tagged}

        def render() -> JSONResponse:
            results = [names.prediction(sentences.get(text), version) for text in texts]
            return JSONResponse({"results": results, "model_version": version})

        return await asyncio.to_thread(render)  # Other requests need not wait for this.

    return router


class _Names:
    """The names in the labelling configuration of a project."""

    def __init__(self, label_config: str | None) -> None:
        """Raises HTTPException if it is not XML, or has no text that can be labelled."""
        try:
            tags = list(ElementTree.fromstring(label_config or "<View/>").iter())
        except ElementTree.ParseError as error:
            raise HTTPException(422, f"label_config: not XML: {error}") from None
        except UnicodeEncodeError:
            problem = "a surrogate without its other half"
            raise HTTPException(422, f"label_config: not XML: {problem}") from None
        texts = [tag for tag in tags if tag.tag == "Text"]
        self.to_name, self.key = "text", "text"
        if texts:
            self.to_name = texts[0].get("name", "text")
            self.key = texts[0].get("value", "$text").removeprefix("$")
        elif any(tag.get("toName") for tag in tags):
            raise HTTPException(422, "label_config: no <Text>; other kinds are not supported")
        controls = [tag for tag in tags if tag.get("toName") == self.to_name and tag.get("name")]
        self.by_kind = {tag.tag.lower(): _Control(tag) for tag in reversed(controls)}

    def text_of(self, data: dict[str, Any]) -> str:
        """Return the text of a task, an empty one if it has none."""
        text = data.get(self.key)
        return text if isinstance(text, str) else ""

    def prediction(self, sentence: Sentence | None, version: str) -> dict[str, Any]:
        """Return the prediction for a task, with what the project has a control for."""
        if sentence is None:
            return {"model_version": version, "result": []}
        (prediction,) = json.loads(_FORMAT.render(sentence, scheme="iob2"))["predictions"]
        return {**prediction, "model_version": version, "result": [*self._rename(prediction)]}

    def _rename(self, prediction: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for result in prediction["result"]:
            kind = result["type"]
            if not self.by_kind:
                yield result
            elif kind in self.by_kind:
                control = self.by_kind[kind]
                names = [name for name in result["value"][kind] if control.has(name)]
                if names:
                    value = {**result["value"], kind: names}
                    place = {"from_name": control.name, "to_name": self.to_name}
                    yield {**result, **place, "value": value}


class _Control:
    """A control of a project, such as `<Labels>`, with what can be chosen in it."""

    def __init__(self, tag: ElementTree.Element) -> None:
        """Read its tag."""
        self.name = tag.get("name", "")
        self._allowed = {
            child.get("alias") or child.get("value")
            for child in tag.iter()
            if child.tag in ("Label", "Choice")
        }

    def has(self, name: str) -> bool:
        """Return whether a name can be chosen; any can where the names come with the tasks."""
        return not self._allowed or name in self._allowed
