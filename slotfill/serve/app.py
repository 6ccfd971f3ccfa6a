"""The routes of the service, and how errors are answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator
from starlette.exceptions import HTTPException as StarletteHTTPException

from slotfill.config.messages import describe_value, join_key
from slotfill.config.registry import FORMATS
from slotfill.data.formats.jsonl import Jsonl
from slotfill.errors import SlotfillError, UsageError, did_you_mean
from slotfill.lab.html import render_template
from slotfill.runs.predict import MAX_NBEST
from slotfill.serve import label_studio
from slotfill.serve.batcher import ClientGoneError, QueueFullError
from slotfill.serve.connections import MAX_HEAD, report_problems
from slotfill.serve.errors import describe_errors
from slotfill.serve.heat_maps import (
    HAS_TORCH,
    MAX_CHARACTERS,
    NEEDS_TORCH,
    HeatMaps,
    NoHeatMapError,
)
from slotfill.serve.limits import RETRY, LimitedRequests, Limits, error_response
from slotfill.serve.metrics import MeasuredRequests, Metrics
from slotfill.serve.middleware import HeadAsGet, KnownHosts
from slotfill.serve.served_run import ServedRun
from slotfill.version import __version__

_FORMAT: Jsonl = FORMATS.build("jsonl")

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page may load: itself, and what the service answers."""

logger = logging.getLogger(__name__)


class RunDescription(BaseModel):
    """A run of the service."""

    name: str
    slots: list[str] = Field(description="The names of its slots.")
    intents: list[str] = Field(description="Its intents; none if it has learned none.")
    heat_maps: bool = Field(description="Whether there are pages of its gates and attention.")


class PredictRequest(BaseModel):
    """Texts to predict."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: Annotated[list[str], FailFast()] = Field(
        description="One sentence each.", examples=[["fly to Oslo"]]
    )
    nbest: int = Field(0, ge=0, le=MAX_NBEST, description="Number of most probable readings.")

    @model_validator(mode="before")
    @classmethod
    def _keep_one_unknown_key(cls, data: Any) -> Any:
        """Leave out unknown keys after the first: an error for each of 100,000 would take long."""
        if not isinstance(data, dict):
            return data
        unknown = (key for key in data if key not in cls.model_fields)
        kept = [*data.keys() & cls.model_fields.keys(), *islice(unknown, 1)]
        return {key: data[key] for key in kept}


class Predictions(BaseModel):
    """The predictions for the texts of a request, in order."""

    predictions: list[dict[str, Any]] = Field(
        description="Each as `slotfill predict` writes it as a JSON line."
    )


class Page(HTMLResponse):
    """A page that loads nothing from elsewhere, and is not shown inside another."""

    def __init__(self, content: str) -> None:
        super().__init__(content, headers={"Content-Security-Policy": _POLICY})


def create_app(
    runs: Mapping[str, ServedRun], limits: Limits, metrics: Metrics, host: str = "0.0.0.0"
) -> FastAPI:
    """Return the service of `runs`, of which the first is the one of Label Studio's own routes.

    Args:
        host: The address it listens on. If it is this machine's own, requests must name it, so that
            a page from elsewhere whose name leads here (DNS rebinding) cannot ask.
    """

    @asynccontextmanager
    async def watch_runs(_: FastAPI) -> AsyncIterator[None]:
        report_problems(asyncio.get_running_loop())
        tasks = [asyncio.create_task(run.watch()) for run in runs.values()]
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(
        title="slotfill",
        version=__version__,
        description="Fills the slots of sentences.",
        lifespan=watch_runs,
        responses=describe_errors(400, 408, 413, 431, 503),
        docs_url=None,  # These pages load scripts from elsewhere.
        redoc_url=None,
    )
    heat_maps = HeatMaps()
    app.add_middleware(LimitedRequests, limits=limits, on_cut=metrics.count_cut)
    app.add_middleware(MeasuredRequests, metrics=metrics)
    app.add_middleware(HeadAsGet)
    _add_error_handlers(app)

    def find_run(name: str) -> ServedRun:
        if name not in runs:
            raise HTTPException(404, f"no run {name!r}{did_you_mean(name, runs)}")
        return runs[name]

    @app.get("/runs", tags=["Prediction"], summary="The runs, with their slots and intents")
    async def list_runs() -> list[RunDescription]:
        return [_describe(run) for run in runs.values()]

    @app.post(
        "/runs/{name}/predict",
        tags=["Prediction"],
        summary="Predict the slots and intents of texts",
        response_model=Predictions,
        responses=describe_errors(404, 422, 429),
    )
    async def predict(name: str, request: PredictRequest, connection: Request) -> Response:
        run = find_run(name)
        limits.check_texts(request.texts, request.nbest)
        sentences = await run.batcher.tag(request.texts, request.nbest, connection.is_disconnected)
        lines = (_FORMAT.render(each, scheme="iob2").rstrip("\n") for each in sentences)
        return Response(f'{{"predictions": [{", ".join(lines)}]}}', media_type="application/json")

    @app.get(
        "/runs/{name}/inspect",
        tags=["Prediction"],
        summary="A page of the gates, memory and attention of a run for a text",
        response_class=HTMLResponse,
        responses=describe_errors(404, 422, 429, 501),
    )
    async def inspect(name: str, text: str) -> HTMLResponse:
        run = find_run(name)
        replace(limits, characters=MAX_CHARACTERS).check_texts([text])
        if not HAS_TORCH:
            raise HTTPException(501, NEEDS_TORCH)
        if not run.has_heat_maps:
            raise HTTPException(501, f"{name} is packed, without the weights for heat maps")
        try:
            return Page(await heat_maps.render(run.path, name, text))
        except UsageError as error:
            raise HTTPException(422, str(error)) from None
        except NoHeatMapError as error:
            logger.error("no heat maps of %s: %s", name, error)
            raise HTTPException(503, f"{name} cannot be loaded; the log says why") from None

    @app.get("/ready", tags=["Operation"], summary="Whether a request would be accepted now")
    async def ready() -> dict[str, str]:
        for name, run in runs.items():
            if run.batcher.is_full or run.batcher.longest_wait > limits.seconds / 2:
                raise HTTPException(503, f"too many texts wait for {name}", RETRY)
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["Operation"],
        summary="Figures for Prometheus",
        response_class=PlainTextResponse,
    )
    async def show_metrics() -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def playground() -> HTMLResponse:
        return Page(pages["playground"])

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return Page(pages["docs"])

    app.include_router(label_studio.make_router(next(iter(runs.values())), limits))
    for name, run in runs.items():
        app.include_router(
            label_studio.make_router(run, limits),
            prefix=f"/label_studio/{name}",
            include_in_schema=False,
        )
    pages = {
        "playground": render_template("serve/playground.html.jinja"),
        "docs": render_template(
            "serve/docs.html.jinja", api=app.openapi(), limits=limits, max_head=MAX_HEAD
        ),
    }
    is_local = host in ("localhost", "::1") or host.startswith("127.")
    hosts = ["localhost", "127.0.0.1", "[::1]", host] if is_local else []
    app.add_middleware(KnownHosts, hosts=hosts)
    return app


def _describe(served: ServedRun) -> RunDescription:
    vocab = served.run.vocab
    return RunDescription(
        name=served.name,
        slots=list(vocab.slot_names),
        intents=list(vocab.intent_names),
        heat_maps=served.has_heat_maps,
    )


def _name_cause(error: BaseException) -> str:
    """Return what is wrong with a body that cannot be parsed."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it has a number that is too long"


def _add_error_handlers(app: FastAPI) -> None:
    """Answer every error as one line of JSON."""

    @app.exception_handler(StarletteHTTPException)
    async def answer_http_error(request: Request, error: StarletteHTTPException) -> Response:
        status, message, headers = error.status_code, error.detail, dict(error.headers or {})
        if status == 400 and error.__cause__:  # FastAPI's, for other errors of parsing.
            status, message = 422, f"the body is not JSON: {_name_cause(error.__cause__)}"
        elif status == 405:
            message = f"{request.method} is not possible here (allowed: {headers['Allow']})"
        elif message == HTTPStatus(404).phrase:  # No route has this path.
            path = request.url.path
            message = f"nothing is at {path!a}{did_you_mean(path, app.openapi()['paths'])}"
        return error_response(status, message, headers)

    @app.exception_handler(RequestValidationError)
    async def answer_invalid_request(_: Request, error: RequestValidationError) -> Response:
        # An unknown key first: it tells more than that another is missing.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        if first["type"] == "json_invalid":
            return error_response(422, f"the body is not JSON: {first['ctx']['error']}")
        # What pydantic says of a key that has half a surrogate pair, which is none of the model.
        is_broken_key = first["type"] == "string_unicode" and first["loc"] == ("body",)
        if first["loc"] == ("body",) and not is_broken_key:
            hint = "with the header Content-Type: application/json"
            return error_response(422, f"the body must be a JSON object, {hint}")
        key = first["input"] if is_broken_key else join_key(first["loc"][1:])
        if first["type"] == "extra_forbidden" or is_broken_key:
            message = f"unknown key{did_you_mean(key, PredictRequest.model_fields)}"
        else:
            message = describe_value(first)
        return error_response(422, f"{key}: {message}")

    @app.exception_handler(SlotfillError)
    async def answer_user_error(request: Request, error: SlotfillError) -> Response:
        # Such as a tokenizer of the user's that fails; the message may name files of this machine.
        logger.error("%s: %s", request.url.path, error)
        return error_response(422, "the run cannot predict this; the log of the service says why")

    @app.exception_handler(ClientGoneError)
    async def answer_nobody(_: Request, error: ClientGoneError) -> Response:
        return error_response(499, "the client closed the connection")

    @app.exception_handler(QueueFullError)
    async def answer_full_queue(_: Request, error: QueueFullError) -> Response:
        return error_response(429, "too many texts wait; try again in a second", RETRY)

    @app.exception_handler(Exception)
    async def answer_bug(request: Request, error: Exception) -> Response:
        logger.error("%s: %s: %s", request.url.path, type(error).__name__, error)
        return error_response(500, "an error of the service, which its log describes")
