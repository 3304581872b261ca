"""What clients send: read as it arrives, within limits, and kept out of memory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from cyclegan.server.problems import Problem

IN_MEMORY = 1 << 20  # bytes of an upload or result that are not worth a file
FIELD = "image"  # of multipart forms


@asynccontextmanager
async def uploads(request: Request, max_bytes: int, seconds: float, count: int) -> AsyncIterator[list[IO[bytes]]]:
    """The images of a request, at most `count`, as open files: its body, or the parts ``image`` of a multipart form.

    Raises `Problem` when they are too large, too slow, or not images; and starlette's `ClientDisconnect`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > max_bytes:
        raise _too_large(max_bytes)  # not by closing the connection, or clients would not see the answer
    limited = Request(request.scope, _limited(request.receive, max_bytes))
    form = FormData()
    try:
        async with asyncio.timeout(seconds):
            if media_type == "multipart/form-data":
                form = await _form(limited, count)
                files: list[IO[bytes]] = [each.file for each in form.getlist(FIELD) if isinstance(each, UploadFile)]
            elif media_type in ("", "application/octet-stream") or media_type.startswith("image/"):
                files = [await _body(limited)]
            else:
                raise Problem(
                    "unsupported-media-type",
                    f"{media_type[:100]} is not supported; send an image with a Content-Type such as image/jpeg, or a "
                    f"form (multipart/form-data) with the field {FIELD}.",
                )
    except TimeoutError:
        raise Problem("upload-too-slow", f"The upload took more than {seconds:g} seconds; send less.") from None
    try:
        if not files or len(files) != len(form.multi_items() or files):
            raise Problem("invalid-request", f"The form must have images only, as files in the field {FIELD}.")
        yield files
    finally:
        await form.close()
        for file in files:
            file.close()


def _limited(receive: Receive, max_bytes: int) -> Receive:
    received = 0

    async def receive_within_limit() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:  # chunked, without a declared length
            raise _too_large(max_bytes)
        return message

    return receive_within_limit


def _too_large(max_bytes: int) -> Problem:
    return Problem("upload-too-large", f"The upload is larger than {max_bytes / 2**20:g} MiB; send less.")


async def _body(request: Request) -> IO[bytes]:
    file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  (closed by `uploads`)
    async for chunk in request.stream():
        file.write(chunk)
    file.seek(0)
    return file


async def _form(request: Request, count: int) -> FormData:
    try:
        return await request.form(max_files=count, max_fields=1)
    except HTTPException as error:  # with one sentence of starlette's parser
        raise Problem("invalid-request", f"The form cannot be read: {str(error.detail).rstrip('.')}.") from None
