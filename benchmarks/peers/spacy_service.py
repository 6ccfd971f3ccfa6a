"""A model of spaCy behind FastAPI, as `slotfill serve` is.

    PYTHON benchmarks/peers/spacy_service.py MODEL PORT

PYTHON is that of the peers' environment, with FastAPI and uvicorn. As is usual, each request is
predicted by itself in a thread.
"""

from __future__ import annotations

import sys
from typing import Any

import spacy
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from spacy_ner import make_space_tokenizer

assert make_space_tokenizer, "the model names it"


class PredictRequest(BaseModel):
    """Texts to predict."""

    texts: list[str]


def make_app(model: str) -> FastAPI:
    """Return the service of a model."""
    app, nlp = FastAPI(), spacy.load(model)

    @app.post("/predict")
    def predict(request: PredictRequest) -> dict[str, list[dict[str, Any]]]:
        pairs = zip(request.texts, nlp.pipe(request.texts), strict=True)
        return {"predictions": [{"text": text, "slots": slots(doc)} for text, doc in pairs]}

    return app


def slots(doc: Any) -> list[dict[str, Any]]:
    """Return the slots of a sentence."""
    return [
        {
            "name": entity.label_,
            "value": entity.text,
            "start": entity.start_char,
            "end": entity.end_char,
        }
        for entity in doc.ents
    ]


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
