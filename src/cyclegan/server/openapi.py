"""What /openapi.json says about bodies and answers, with examples."""

from typing import Any

from cyclegan.server.problems import STATUS, Problem

_IMAGE = {"type": "string", "format": "binary"}
_EXAMPLES = {
    400: Problem("invalid-request", "Choose a model with ?model=NAME; there are horse2zebra, summer2winter."),
    401: Problem("unauthorized", "This server needs an API key; send it as `Authorization: Bearer KEY`."),
    404: Problem("unknown-model", "This server has no such model; there are horse2zebra, summer2winter."),
    408: Problem("upload-too-slow", "The upload took more than 60 seconds; send less."),
    413: Problem("upload-too-large", "The upload is larger than 32 MiB; send less."),
    415: Problem(
        "unsupported-media-type",
        "text/plain is not supported; send an image with a Content-Type such as image/jpeg, or a form "
        "(multipart/form-data) with the field image.",
    ),
    422: Problem("unreadable-image", "The image is damaged (truncated)."),
    429: Problem("too-many-requests", "The server is busy and its queue of 64 is full; try again in 5 seconds."),
    503: Problem("unavailable", "The server is busy or shuts down; send requests to another one."),
}
_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "enum": sorted(set(STATUS.values()))},
        "detail": {"type": "string", "description": "One sentence for the user."},
    },
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": problem.content()["title"],
        "content": {"application/problem+json": {"schema": _SCHEMA, "example": problem.content()}},
    }
    for status, problem in _EXAMPLES.items()
}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "multipart/form-data": {"schema": {"type": "object", "required": ["image"], "properties": {"image": schema}}}
    }


def _operation(answer: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    return {
        "responses": {200: {"description": "The result.", "content": answer}, **ERRORS},
        "openapi_extra": {"requestBody": {"required": True, "content": body}},
    }


TRANSLATE = _operation({"image/*": {"schema": _IMAGE}}, {"image/*": {"schema": _IMAGE}, **_form(_IMAGE)})
BATCH = _operation({"application/zip": {"schema": _IMAGE}}, _form({"type": "array", "items": _IMAGE}))
MODELS: dict[str, Any] = {
    "responses": {
        200: {
            "content": {
                "application/json": {
                    "example": {
                        "models": [
                            {
                                "name": "horse2zebra",
                                "directions": [
                                    {
                                        "direction": "AtoB",
                                        "from": "horse",
                                        "to": "zebra",
                                        "channels_in": 3,
                                        "channels_out": 3,
                                        "trained_size": 286,
                                    }
                                ],
                            }
                        ]
                    }
                }
            }
        },
        401: ERRORS[401],
    }
}
