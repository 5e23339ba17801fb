"""A server for a model of `keras_warn.export`, with a page to try it.

    python examples/server/server.py EXPORTED_FOLDER

Requests have the shape of TensorFlow Serving's REST interface. It needs
TensorFlow, Starlette, uvicorn, Pillow and orjson, but neither Keras nor
keras_warn.
"""

import argparse
import asyncio
import base64
import concurrent.futures
import contextlib
import dataclasses
import functools
import io
import json
import os
import pathlib
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import orjson
import PIL.Image
import tensorflow as tf
import uvicorn
from limits import Limits
from limits import Line
from limits import UsageError
from limits import error_answer
from limits import read_body
from served_model import SIGNATURES
from served_model import Batches
from served_model import ServedModel
from served_model import rows
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.responses import Response
from starlette.routing import Route
from uploads import Upload
from uploads import placement

PAGE = pathlib.Path(__file__).with_name("page")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

# Nothing from elsewhere, and nothing inside of other pages.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

# What requests may call the server, beside what it is told to listen on. Pages
# of others cannot reach it by a name of theirs that leads here.
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")

# Images of more pixels are decoded one at a time.
LARGE = 4_000_000

# Classes that the page lists: these many of the backbone's and of the model's.
CLASSES_SHOWN = 5

# JSON with more braces, brackets and commas than these for each image holds
# something else. As Python objects that could take 40 times its bytes.
MARKS_EACH = 16


# Of what is asked.
SHAPE = '{"signature_name": ..., "instances": [{"b64": ...}, ...]}'


class Service:
    """A model, and the answers to requests about it."""

    def __init__(self, model, limits):
        self.model, self.limits = model, limits
        # One call of the model at a time, which takes all cores, and beside it
        # images and JSON. How many there are bounds the memory they take.
        self._calls = concurrent.futures.ThreadPoolExecutor(1, "model")
        self._chores = concurrent.futures.ThreadPoolExecutor(2, "chores")
        self._large = asyncio.Lock()
        self._batches = {}
        for name in SIGNATURES:
            call = functools.partial(model, name)
            self._batches[name] = Batches(call, self._calls, limits.batch)

    def close(self):
        """Ends the threads. To be called when no request is left."""
        self._calls.shutdown()
        self._chores.shutdown()

    async def status(self, request):
        if request.path_params["name"].endswith(":predict"):
            raise UsageError("Predictions need POST.", 405, {"Allow": "POST"})
        self._check_name(request)
        version = {
            "version": "1",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return JSONResponse({"model_version_status": [version]})

    async def metadata(self, request):
        """TensorFlow Serving's description, and what was exported with it."""
        self._check_name(request)
        return JSONResponse(
            {
                "model_spec": {
                    "name": self.model.name,
                    "signature_name": "",
                    "version": "1",
                },
                "metadata": {
                    "signature_def": {
                        "signature_def": self.model.signature_defs()
                    },
                    "keras_warn": self.model.metadata,
                },
            }
        )

    async def about(self, request):
        """What the page needs to know."""
        return JSONResponse(
            {
                "model": self.model.name,
                "classes": self.model.metadata["classes"],
                "size": self.model.size,
                "body_bytes": self.limits.body_bytes,
                "images": self.limits.images,
            }
        )

    async def predict(self, request):
        """Predictions of a request of this `SHAPE`."""
        self._check_name(request)
        _check_type(request, ("application/json",))
        body = await read_body(request, self.limits)
        signature, files = await self._chore(self._parsed, body)
        del body
        names = [f"instances[{i}]" for i in range(len(files))]
        named = zip(files, names, strict=True)
        uploads = [await self._upload(*one) for one in named]
        del files, named
        most = self.limits.pixels
        if sum(upload.pixels for upload in uploads) > most:
            raise UsageError(
                f"`instances` must have at most {most} pixels together.", 413
            )
        # Each is freed when it is ready.
        ready = [await self._ready(uploads.pop(0)) for _ in names]
        results = await self._results(
            signature, [one.data for one in ready], names
        )
        return await self._answer(lambda: {"predictions": rows(results)})

    async def explain(self, request):
        """An image as the body; what the page shows of it as the answer."""
        _check_type(request, ("image/jpeg", "image/png"))
        body = await read_body(request, self.limits)
        ready = await self._ready(await self._upload(body, "The image"))
        (result,) = await self._results(
            "explain_bytes", [ready.data], ["The image"]
        )
        return await self._answer(lambda: self._shown(ready, result))

    async def _answer(self, make):
        def written():
            # Masks are many numbers: `json` takes a tenth of a second for an
            # image's, and twice as many digits as these have.
            return orjson.dumps(make(), option=orjson.OPT_SERIALIZE_NUMPY)

        return Response(
            await self._chore(written), media_type="application/json"
        )

    def _check_name(self, request):
        name = request.path_params["name"]
        if name != self.model.name:
            own = self.model.name
            raise UsageError(f"There is no model {name!r}, only {own!r}.", 404)

    async def _chore(self, function, *arguments):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._chores, function, *arguments)

    async def _upload(self, file, name):
        return await self._chore(
            Upload, file, name, self.limits.pixels, self.model.size
        )

    async def _ready(self, upload):
        if upload.pixels <= LARGE:
            return await self._chore(upload.ready)
        try:
            async with asyncio.timeout(self.limits.decode_seconds):
                await self._large.acquire()
        except TimeoutError as error:
            raise UsageError(
                "Too many large images are waiting. Try again later.",
                503,
                {"Retry-After": "10"},
            ) from error
        try:
            return await self._chore(upload.ready)
        finally:
            self._large.release()

    async def _results(self, signature, files, names):
        found = await asyncio.gather(
            *map(self._batches[signature], files), return_exceptions=True
        )
        for name, result in zip(names, found, strict=True):
            # Pillow could read it, TensorFlow cannot.
            if isinstance(result, tf.errors.InvalidArgumentError):
                raise UsageError(
                    f"{name} is broken: TensorFlow cannot decode it."
                ) from result
            if isinstance(result, BaseException):
                raise result
        return found

    def _parsed(self, body):
        """The signature's name and the files of a request."""
        most = self.limits.images
        marks = sum(body.count(mark) for mark in (b"{", b"[", b","))
        if marks > MARKS_EACH * (most + 1):
            raise UsageError(
                f"`instances` must be at most {most} images, alone.", 413
            )
        try:
            asked = json.loads(body)
        except (RecursionError, ValueError) as error:
            message = f"The body must be JSON. It is not: {error}."
            raise UsageError(message) from error
        match asked:
            case {
                "instances": [_, *_] as instances,
                "signature_name": signature,
                **others,
            } if signature in SIGNATURES and not others:
                pass
            case _:
                raise UsageError(
                    f"The body must have the shape {SHAPE}, with one of "
                    f"{', '.join(SIGNATURES)}. Received: {_cut(asked)}."
                )
        if len(instances) > most:
            raise UsageError(
                f"`instances` must be at most {most} images. Received: "
                f"{len(instances)}.",
                413,
            )
        (takes,) = self.model.inputs(signature)
        files = [_file(one, i, takes) for i, one in enumerate(instances)]
        return signature, files

    def _shown(self, ready, result):
        """The page's answer: classes, gates, and masks as images."""
        model = self.model.metadata
        after = result["probabilities"].astype(float)
        before = result["backbone_probabilities"].astype(float)
        names = model["class_names"] or [
            f"class {i}" for i in range(model["classes"])
        ]
        order = np.argsort([-after, -before], kind="stable")[:, :CLASSES_SHOWN]
        image, part = placement(
            (ready.height, ready.width),
            self.model.size,
            model["resize"] or "crop",
            model["resize_shorter_edge"],
        )
        heads = sorted(
            (key for key in result if key.endswith("_head_gates")),
            key=lambda key: int(key.split("_")[1]),
        )
        masks = result.get("masks")  # and before them their sum
        shown = [] if masks is None else [masks.sum(0), *masks]
        return {
            "classes": [
                {"name": names[i], "backbone": before[i], "attention": after[i]}
                for i in dict.fromkeys(order.ravel().tolist())
            ],
            "backbone_class": names[int(before.argmax())],
            # Only a calibrated model says which it leaves to a person.
            "answered": bool(result.get("answered", True)),
            "gates": result.get("global_gates"),
            "head_gates": [result[key] for key in heads],
            "placement": {"image": image, "masks": part},
            "masks": [_png(mask) for mask in shown],
        }


def _check_type(request, wanted):
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() not in wanted:
        raise UsageError(
            f"Content-Type must be {' or '.join(wanted)}. Received: "
            f"{_cut(kind)}.",
            415,
        )


def _file(instance, i, takes):
    """The bytes of one of `instances`."""
    if isinstance(instance, dict) and set(instance) == {takes}:
        instance = instance[takes]
    text = instance.get("b64") if isinstance(instance, dict) else None
    if not isinstance(text, str) or len(instance) > 1:
        raise UsageError(
            f'instances[{i}] must be {{"b64": "..."}}, a file in base64.'
        )
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        message = f"instances[{i}] must be a file in base64: {error}."
        raise UsageError(message) from error


def _png(mask):
    """A mask as an image for a page, white at its strongest point."""
    peak = max(float(mask.max()), np.finfo("float32").tiny)
    file = io.BytesIO()
    pixels = np.rint(255 * np.clip(mask / peak, 0, 1)).astype("uint8")
    PIL.Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/png;base64,{text}"


def _cut(value):
    """What was received, for an error, but not all of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _page(name):
    path = PAGE / name
    data = path.read_bytes()

    async def answer(request):
        return Response(data, media_type=TYPES[path.suffix], headers=HEADERS)

    return answer


async def _failed(request, error):
    """What went wrong is in the server's log, and none of a client's."""
    return JSONResponse({"error": "The server failed; see its log."}, 500)


async def _gone(request, error):
    """Nobody is there to read the answer."""
    return Response(status_code=400)


def make_app(model, limits=None, hosts=LOOPBACK):
    """The ASGI application; `hosts` is what requests may call it, as `Host`."""
    limits = limits or Limits()
    service = Service(model, limits)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        service.close()

    return Starlette(
        routes=[
            Route("/", _page("index.html")),
            Route("/page.css", _page("page.css")),
            Route("/page.js", _page("page.js")),
            Route("/about", service.about),
            Route("/explain", service.explain, methods=["POST"]),
            Route(
                "/v1/models/{name}:predict", service.predict, methods=["POST"]
            ),
            Route("/v1/models/{name}/metadata", service.metadata),
            Route("/v1/models/{name}", service.status),
        ],
        middleware=[
            Middleware(
                TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False
            ),
            Middleware(Line, limits=limits),
        ],
        exception_handlers={
            HTTPException: error_answer,
            ClientDisconnect: _gone,
            500: _failed,
        },
        lifespan=lifespan,
    )


def main(arguments=None):
    """The command."""
    default = Limits()
    parser = argparse.ArgumentParser(
        description="Serves a model of keras_warn.export(..., encoded=True), "
        "with a page to try it and TensorFlow Serving's REST interface."
    )
    parser.add_argument("folder", help="where the model was exported to")
    parser.add_argument("--name", help="of the model; default: the folder's")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; default: %(default)s, this machine alone",
    )
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument(
        "--allow-host",
        nargs="+",
        type=_host,
        default=[],
        metavar="NAME",
        help="what else than --host and this machine's own names requests may "
        "call the server, such as birds.example.org or *.example.org; needed "
        "behind a proxy, and with --host 0.0.0.0",
    )
    for option, what in (
        ("body-bytes", "bytes of a request"),
        ("images", "images in a request"),
        ("pixels", "pixels of an image"),
        ("at-work", "requests that are read and answered at a time"),
        ("in-line", "requests that wait, before more are sent away"),
        ("batch", "images that the model sees at a time"),
    ):
        parser.add_argument(
            f"--{option}",
            type=_positive,
            default=getattr(default, option.replace("-", "_")),
            help=f"most {what}; default: %(default)s",
        )
    options = parser.parse_args(arguments)
    fields = [field.name for field in dataclasses.fields(Limits)]
    given = {k: v for k, v in vars(options).items() if k in fields}
    limits = Limits(**given)
    try:
        model = ServedModel(options.folder, options.name)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    # What will be called, so that no client waits for the first time.
    file = io.BytesIO()
    PIL.Image.new("RGB", (64, 64)).save(file, "JPEG")
    for signature in SIGNATURES:
        for count in (1, limits.batch):
            model(signature, [file.getvalue()] * count)
    shown = f"[{options.host}]" if ":" in options.host else options.host
    print(
        f"{model.name}: http://{shown}:{options.port}/ "
        f"(http://{shown}:{options.port}/v1/models/{model.name})",
        flush=True,
    )
    uvicorn.run(
        make_app(model, limits, [*LOOPBACK, shown, *options.allow_host]),
        host=options.host,
        port=options.port,
        log_level="warning",
        # Of its own answers, too.
        headers=[("X-Content-Type-Options", "nosniff")],
        # Connections, with or without requests on them.
        limit_concurrency=limits.at_work + 2 * limits.in_line,
        timeout_graceful_shutdown=30,
    )


def _host(text):
    if not re.fullmatch(r"\*|(\*\.)?[\w.-]+|\[[\da-fA-F:]+\]", text):
        raise argparse.ArgumentTypeError(
            "must be a name without a port, such as birds.example.org or "
            f"*.example.org. Received: {text}"
        )
    return text


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


if __name__ == "__main__":
    main()
