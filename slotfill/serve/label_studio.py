"""The routes of a machine learning backend of Label Studio, which pre-annotates its tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from slotfill.config.registry import FORMATS
from slotfill.data.formats.label_studio import LabelStudio
from slotfill.data.sentence import Sentence
from slotfill.serve.limits import Limits
from slotfill.serve.served_run import ServedRun

_FORMAT: LabelStudio = FORMATS.build("label_studio")


class Task(BaseModel):
    """A task; its other keys are not read."""

    data: dict[str, Any] = Field(description="Its text, under the key that the project names.")


class TasksRequest(BaseModel):
    """What Label Studio sends for predictions."""

    tasks: list[Task]
    label_config: str = Field("<View/>", description="The labelling configuration, as XML.")


def make_router(run: ServedRun, limits: Limits) -> APIRouter:
    """Return the routes for one run."""
    router = APIRouter(tags=["Label Studio"])
    version = f"slotfill {run.name}"

    @router.get("/health", summary="Whether the service is alive")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "slotfill"}

    @router.post("/setup", summary="Connect a project")
    async def setup() -> dict[str, str]:
        return {"model_version": version}

    @router.post("/predict", summary="Predict labels and choices for tasks")
    async def predict(request: TasksRequest) -> dict[str, Any]:
        """The names are those of the labelling configuration."""
        names = _Names(request.label_config)
        texts = [names.text_of(task.data) for task in request.tasks]
        limits.check_texts(texts)
        sentences = await run.batcher.tag(texts)
        results = [names.prediction(sentence, version) for sentence in sentences]
        return {"results": results, "model_version": version}

    return router


class _Names:
    """The names in the labelling configuration of a project."""

    def __init__(self, label_config: str) -> None:
        """Raises HTTPException if it is not XML."""
        try:
            tags = list(ElementTree.fromstring(label_config).iter())
        except ElementTree.ParseError as error:
            raise HTTPException(422, f"label_config: not XML: {error}") from None
        texts = [tag for tag in tags if tag.tag in ("Text", "HyperText", "Paragraphs")]
        self.to_name, self.key = "text", "text"
        if texts:
            self.to_name = texts[0].get("name", "text")
            self.key = texts[0].get("value", "$text").removeprefix("$")
        controls = [tag for tag in tags if tag.get("toName") == self.to_name]
        self.by_kind = {
            tag.tag.lower(): tag.get("name", "") for tag in reversed(controls) if tag.get("name")
        }

    def text_of(self, data: dict[str, Any]) -> str:
        """Return the text of a task; raises HTTPException if it has none."""
        text = data.get(self.key)
        if not isinstance(text, str):
            found = ", ".join(data) or "nothing"
            raise HTTPException(422, f"the data of a task has no text {self.key!r}, but {found}")
        return text

    def prediction(self, sentence: Sentence, version: str) -> dict[str, Any]:
        """Return the prediction for a task, with what the project has a control for."""
        (prediction,) = json.loads(_FORMAT.render(sentence, scheme="iob2"))["predictions"]
        return {**prediction, "model_version": version, "result": [*self._rename(prediction)]}

    def _rename(self, prediction: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for result in prediction["result"]:
            if not self.by_kind:
                yield result
            elif result["type"] in self.by_kind:
                name = self.by_kind[result["type"]]
                yield {**result, "from_name": name, "to_name": self.to_name}
