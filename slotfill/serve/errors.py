"""Errors, as the description of the service has them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Error(BaseModel):
    """Why a request has no other answer, in one line."""

    error: str


_DESCRIPTIONS = {
    400: "Not HTTP, or a request to another host or to several",
    404: "No such run",
    408: "The body does not arrive",
    413: "The body is too large",
    422: "Not a valid request, or a text is too long",
    429: "Too many texts wait",
    431: "The head of the request, or what follows its body, is too large",
    501: "The run or this machine cannot do this",
    503: "No answer within the time limit, or too many texts wait",
}


def describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors with these statuses, for the description of a route."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {"application/json": {"schema": Error.model_json_schema()}},
        }
        for status in statuses
    }
