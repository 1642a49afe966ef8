"""What `/openapi.json` says beyond what the routes say themselves: bodies, answers and refusals of `/v1/predict`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from fastapi import FastAPI

from hemline.serve.around import PREDICT
from hemline.serve.body import FIELD, LONGEST_NAME
from hemline.serve.words import Failed

DESCRIPTION = "Reads photos of clothes and says what is worn: masks, categories, attributes, colours."
REFUSALS = {
    400: "The body is not what its type says.",
    401: "The token is missing or wrong.",
    408: "The body did not come in time.",
    413: "Too many bytes or photos.",
    415: "The body is neither multipart/form-data nor JSON.",
    422: "An option or the JSON is wrong, or none of the photos can be read.",
    500: "A mistake of the server, whose log says more.",
    503: "Too much to do: ask again after `Retry-After` seconds.",
    504: "No answer in time.",
}
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {
                    FIELD: {
                        "description": "One or more files.",
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                    }
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["photos"],
                "additionalProperties": False,
                "properties": {
                    "photos": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["data"],
                            "additionalProperties": False,
                            "properties": {
                                "name": {"type": "string", "maxLength": LONGEST_NAME, "default": FIELD},
                                "data": {
                                    "description": "A whole file in base64.",
                                    "type": "string",
                                    "contentEncoding": "base64",
                                    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
                                },
                            },
                        },
                    }
                },
            }
        },
    },
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may refuse with, for its description."""
    return {status: {"model": Failed, "description": REFUSALS[status]} for status in statuses}


def describe(app: FastAPI) -> None:
    """Have the application describe the answer of `/v1/predict` by `result.schema.json`."""
    text = files("hemline").joinpath("result.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text.replace("#/$defs/", "#/components/schemas/"))
    document = app.openapi()
    document["components"]["schemas"] |= schema["$defs"]
    answer = {"description": schema["description"], "type": "array", "items": schema["items"]}
    document["paths"][PREDICT]["post"]["responses"]["200"] = {
        "description": schema["description"],
        "content": {"application/json": {"schema": answer}},
    }
