"""The errors of the HTTP interface: RFC 9457's problem+json, one sentence each."""

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from cyclegan.errors import CycleGANError, OutOfMemory, UsageError
from cyclegan.imaging.source import UnreadableImage

DOCUMENTATION = "https://cyclegan.github.io/cyclegan/serving/#"  # each type of problem is a heading there
STATUS = {
    "invalid-request": 400,
    "unauthorized": 401,
    "not-found": 404,
    "unknown-model": 404,
    "method-not-allowed": 405,
    "upload-too-slow": 408,
    "upload-too-large": 413,
    "image-too-large": 413,
    "unsupported-media-type": 415,
    "unreadable-image": 422,
    "untranslatable-image": 422,
    "too-many-requests": 429,
    "internal-error": 500,
    "timeout": 503,
    "unavailable": 503,
}


class Problem(Exception):
    """An answer other than an image: one of the types of `STATUS`, and one sentence for the user."""

    def __init__(self, kind: str, detail: str, **headers: str):
        super().__init__(detail)
        self.kind, self.detail, self.status = kind, detail, STATUS[kind]
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def content(self) -> dict[str, Any]:
        """The fields of RFC 9457."""
        title = HTTPStatus(self.status).phrase
        return {"type": DOCUMENTATION + self.kind, "title": title, "status": self.status, "detail": self.detail}

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.content(), self.status, self.headers, "application/problem+json")


def explain(error: CycleGANError) -> Problem:
    """The problem that an error of the library is for a client."""
    if isinstance(error, OutOfMemory):
        return Problem("image-too-large", "The image needs more memory than the server has; reduce it with ?size=256.")
    if isinstance(error, UnreadableImage):
        return Problem("unreadable-image", str(error))
    if isinstance(error, UsageError):
        return Problem("untranslatable-image", str(error))
    return Problem("unavailable", "The server cannot process images now; try again later.", Retry_After="60")
