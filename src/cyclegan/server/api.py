"""The HTTP interface as an ASGI app, built on FastAPI; docs/serving.md is its reference."""

import asyncio
import hashlib
import hmac
import json
import zipfile
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any, Literal, TypeVar

from fastapi import Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from cyclegan._version import __version__
from cyclegan.errors import UsageError
from cyclegan.server.observe import CLIENT_GONE, Observer
from cyclegan.server.openapi import BATCH, ERRORS, MODELS, TRANSLATE
from cyclegan.server.problems import Problem
from cyclegan.server.service import FORMATS, Header, Service, Wanted
from cyclegan.server.uploads import IN_MEMORY, uploads
from cyclegan.web.watch import SafeHeaders

T = TypeVar("T")

NAMES = {suffix: name for name, suffix in FORMATS.items()}
HINT = "cyclegan serve: POST an image to /v1/translate; see /v1/models and /openapi.json.\n"


def create_app(service: Service, keys: Sequence[str] = (), origins: Sequence[str] = ()) -> FastAPI:
    """The app of a service. `keys` are accepted under /v1; `origins` are web pages that may use it (CORS)."""
    hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    def authorize(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        hashed = hashlib.sha256(given.encode()).digest()
        if hashes and not any(hmac.compare_digest(hashed, each) for each in hashes):
            raise Problem(
                "unauthorized",
                "This server needs an API key; send it as `Authorization: Bearer KEY`.",
                WWW_Authenticate="Bearer",
            )

    def wanted(
        model: Annotated[str | None, Query(description="Name of the model; needed where there are several.")] = None,
        direction: Annotated[
            str | None, Query(description="AtoB, BtoA, or by the domains, such as horse2zebra. Default: the first.")
        ] = None,
        size: Annotated[
            int | Literal["keep"],
            Query(description="Pixels to which the shorter side is scaled first.", examples=[256]),
        ] = "keep",
        format: Annotated[
            Literal["png", "jpeg", "webp", "tiff", "bmp", "npy"] | None,
            Query(description="Format of the result. Default: that of the image, or png."),
        ] = None,
        quality: Annotated[int | None, Query(ge=1, le=100, description="Of jpeg and webp.")] = None,
    ) -> Wanted:
        models = service.models
        if model is None and len(models) > 1:
            raise Problem("invalid-request", f"Choose a model with ?model=NAME; there are {', '.join(models)}.")
        if model is not None and model not in models:
            raise Problem("unknown-model", f"This server has no such model; there are {', '.join(models)}.")
        if size != "keep" and size < 1:
            raise Problem("invalid-request", "size must be at least 1, or keep.")
        try:
            key, translator = models[model or next(iter(models))].find(direction)
        except UsageError as error:
            raise Problem("invalid-request", str(error)) from None
        return Wanted(key, translator.input_spec, translator.out_channels, size, FORMATS.get(format or ""), quality)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="cyclegan",
        summary="Image-to-image translation",
        version=__version__,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        middleware=[Middleware(Observer, service.metrics), Middleware(SafeHeaders)]
        + ([Middleware(CORSMiddleware, allow_origins=list(origins), allow_headers=["*"])] if origins else []),
        exception_handlers={
            Problem: _explain,
            RequestValidationError: _explain_parameters,
            HTTPException: _explain_route,
            ClientDisconnect: _explain_disconnect,
        },
    )

    @app.post("/v1/translate", dependencies=[Depends(authorize)], response_class=Response, **TRANSLATE)
    async def translate(request: Request, wanted: Annotated[Wanted, Depends(wanted)]) -> Response:
        """Translate an image, sent as the body or as the field `image` of a form; the answer is an image."""
        async with _received(service, request, 1) as (file,):
            header, result = await _within(service, request, _translate(service, file, wanted))
        request.state.fields |= {"model": wanted.key, "pixels": header.pixels}
        return _answer(result, _media_type(header.suffix))

    @app.post("/v1/translate/batch", dependencies=[Depends(authorize)], response_class=Response, **BATCH)
    async def translate_batch(request: Request, wanted: Annotated[Wanted, Depends(wanted)]) -> Response:
        """Translate the images of a form, each a field `image`; the answer is a ZIP file of the results."""
        async with _received(service, request, service.limits.images) as files:
            result = await _within(service, request, _batch(service, files, wanted))
        request.state.fields |= {"model": wanted.key, "images": len(files)}
        return _answer(result, "application/zip")

    @app.get("/v1/models", dependencies=[Depends(authorize)], **MODELS)
    async def models() -> dict[str, Any]:
        """The models and their directions."""
        return {"models": [model.describe() for model in service.models.values()]}

    @app.get("/healthz", responses={200: {"description": "The process answers."}})
    async def healthz() -> dict[str, str]:
        """Whether the process is alive; restart it if not."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: ERRORS[503]})
    async def readyz() -> dict[str, str]:
        """Whether requests should be sent here: not while the server shuts down, or its queue is full."""
        if service.draining or service.is_full() or not service.workers.alive():
            raise Problem("unavailable", "The server is busy or shuts down; send requests to another one.")
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def hint() -> Response:
        return PlainTextResponse(HINT)

    return app


@asynccontextmanager
async def _received(service: Service, request: Request, count: int) -> AsyncIterator[list[IO[bytes]]]:
    """The images of a request, which has its place in the queue from then on."""
    limits = service.limits
    async with AsyncExitStack() as places:
        with service.place("upload"):
            files = await places.enter_async_context(uploads(request, limits.bytes, limits.seconds, count))
        places.enter_context(service.place("queue"))
        yield files


async def _within(service: Service, request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when its time is up or the client has gone."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(request))
    try:
        async with asyncio.timeout(service.limits.seconds):
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientDisconnect
            return task.result()
    except TimeoutError:
        text = f"The image could not be translated within {service.limits.seconds:g} seconds; try later, or reduce it."
        raise Problem("timeout", text, Retry_After="10") from None
    finally:
        task.cancel()
        gone.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _translate(service: Service, file: IO[bytes], wanted: Wanted) -> tuple[Header, IO[bytes]]:
    header = await service.header(file, wanted)
    return header, await service.translate(file, header, wanted)


async def _batch(service: Service, files: Sequence[IO[bytes]], wanted: Wanted) -> IO[bytes]:
    """A ZIP file with the results by number, and results.json with the file or the problem of each image."""
    headers = [await _header(service, file, wanted) for file in files]
    if sum(each.pixels for each in headers if isinstance(each, Header)) > service.limits.pixels:
        text = f"The images have more than {service.limits.pixels:,} pixels together; send fewer at once."
        raise Problem("image-too-large", text)
    archive: IO[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
    results: list[dict[str, Any]] = []

    async def translated(file: IO[bytes], header: Header | Problem) -> tuple[str, IO[bytes]] | Problem:
        try:
            if isinstance(header, Problem):
                raise header
            return header.suffix, await service.translate(file, header, wanted)
        except Problem as problem:
            return problem

    with zipfile.ZipFile(archive, "w") as target:
        async with asyncio.TaskGroup() as group:  # all at once, but written in the order of the request
            tasks = [group.create_task(translated(*each)) for each in zip(files, headers, strict=True)]
            for number, task in enumerate(tasks):
                outcome = await task
                if isinstance(outcome, Problem):
                    results.append({"image": number, "problem": outcome.content()})
                    continue
                suffix, result = outcome
                name = f"{number:04d}{suffix}"
                with result:
                    await asyncio.to_thread(target.writestr, name, result.read())
                results.append({"image": number, "file": name})
        target.writestr("results.json", json.dumps({"results": results}, indent=1))
    return archive


async def _header(service: Service, file: IO[bytes], wanted: Wanted) -> Header | Problem:
    try:
        return await service.header(file, wanted)
    except Problem as problem:
        return problem


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _explain_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # which nobody receives


async def _explain_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return Problem("invalid-request", f"{first['loc'][1]}: {first['msg']}.").response()


async def _explain_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return Problem("method-not-allowed", "This address takes another method; see /openapi.json.").response()
    return Problem("not-found", "There is nothing at this address; see /openapi.json.").response()


def _media_type(suffix: str) -> str:
    return "application/octet-stream" if suffix == ".npy" else f"image/{NAMES[suffix]}"


def _answer(file: IO[bytes], media_type: str) -> Response:
    """An open file as the answer, after which it is closed."""
    size = file.seek(0, 2)
    file.seek(0)
    if size <= IN_MEMORY:
        with file:
            return Response(file.read(), media_type=media_type)
    return StreamingResponse(_chunks(file), media_type=media_type, headers={"Content-Length": str(size)})


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(1 << 18):
            yield chunk
