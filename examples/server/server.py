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
import io
import pathlib
import reprlib

import numpy as np
import orjson
import PIL.Image
import PIL.ImageOps
import uvicorn
from served_model import SIGNATURES
from served_model import ServedModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from uploads import placement
from uploads import prepared

PAGE = pathlib.Path(__file__).with_name("page")

# Of each answer. The page takes nothing from elsewhere, and is shown inside of
# no other page.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}

# What requests may call the server, beside what it is told to listen on. Pages
# of others cannot reach it by a name of theirs that leads here.
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")

# At a time, each of which may hold a body. Further ones are answered with 503.
CONNECTIONS = 128

# Of what is asked.
SHAPE = '{"signature_name": ..., "instances": [{"b64": ...}, ...]}'


class Answer(JSONResponse):
    """JSON, also of arrays: masks are many numbers, and `json` is slow."""

    def render(self, content):
        return orjson.dumps(content, _plain, orjson.OPT_SERIALIZE_NUMPY)


def _plain(value):
    """What orjson does not write: class names, which are arrays of bytes."""
    return value.decode() if isinstance(value, bytes) else value.tolist()


class Service:
    """The answers to requests about a model.

    `limits` has `body_bytes` and `images` of a request, and `pixels` of each.
    """

    def __init__(self, model, limits):
        self.model, self.limits = model, limits
        # Images and JSON, beside the model. How many threads there are bounds
        # the memory that they take.
        self._threads = concurrent.futures.ThreadPoolExecutor(2)

    async def status(self, request):
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": "1", "state": "AVAILABLE", "status": status}
        return Answer({"model_version_status": [version]})

    async def metadata(self, request):
        """TensorFlow Serving's description, and what was exported with it."""
        name = self.model.name
        spec = {"name": name, "signature_name": "", "version": "1"}
        metadata = {
            "signature_def": {"signature_def": self.model.signature_defs()},
            "keras_warn": self.model.metadata,
        }
        return Answer({"model_spec": spec, "metadata": metadata})

    async def about(self, request):
        """What the page needs to know."""
        return Answer(
            {
                "model": self.model.name,
                "classes": self.model.metadata["classes"],
                "size": self.model.size,
                "body_bytes": self.limits.body_bytes,
            }
        )

    async def predict(self, request):
        """Predictions of a request of this `SHAPE`."""
        body = await self._body(request)
        signature, files = await self._in_thread(self._parsed, body)
        rows = await self.model.predict(signature, files)
        if len(rows[0]) == 1:  # TensorFlow Serving does not name a single one
            rows = [value for row in rows for value in row.values()]
        return await self._in_thread(Answer, {"predictions": rows})

    async def explain(self, request):
        """An image as the body; what the page shows of it as the answer."""
        body = await self._body(request)
        file, *size = await self._in_thread(self._ready, body, "The image")
        (row,) = await self.model.predict("explain_bytes", [file])
        return await self._in_thread(self._shown, size, row)

    async def _in_thread(self, function, *arguments):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    async def _body(self, request):
        body, most = bytearray(), self.limits.body_bytes
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                message = f"The body must have at most {most} bytes."
                raise HTTPException(413, message)
        return bytes(body)

    def _parsed(self, body):
        """The name of a signature, and files for the model."""
        try:
            asked = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            message = f"The body must be JSON. It is not: {error}."
            raise HTTPException(400, message) from error
        match asked:
            case {
                "signature_name": "serve_bytes" | "explain_bytes" as signature,
                "instances": [_, *_] as instances,
            }:
                pass
            case _:
                message = (
                    f"The body must have the shape {SHAPE}, with one of "
                    f"{', '.join(SIGNATURES)}. Received: {reprlib.repr(asked)}."
                )
                raise HTTPException(400, message)
        most, found = self.limits.images, len(instances)
        if found > most:
            message = f"`instances` must be at most {most}. Received: {found}."
            raise HTTPException(413, message)
        named = [(one, f"instances[{i}]") for i, one in enumerate(instances)]
        return signature, [
            self._ready(_file(one, name), name)[0] for one, name in named
        ]

    def _ready(self, file, name):
        """A file for the model, and height and width of its image."""
        return prepared(file, name, self.limits.pixels, self.model.size)

    def _shown(self, size, row):
        """The page's answer: classes, gates, and masks as images."""
        model = self.model.metadata
        after = row["probabilities"].astype(float)
        before = row["backbone_probabilities"].astype(float)
        names = model["class_names"] or [
            f"class {i}" for i in range(model["classes"])
        ]
        # Five of the model's and of the backbone's, without repetition.
        order = np.argsort([-after, -before], kind="stable")[:, :5].ravel()
        heads = sorted(
            (key for key in row if key.endswith("_head_gates")),
            key=lambda key: int(key.split("_")[1]),
        )
        seen, part = placement(
            size,
            self.model.size,
            model["resize"] or "crop",
            model["resize_shorter_edge"],
        )
        masks = row.get("masks")  # and before them their sum
        shown = [] if masks is None else [masks.sum(0), *masks]
        return Answer(
            {
                "classes": [
                    {"name": names[i], "backbone": before[i], "model": after[i]}
                    for i in dict.fromkeys(order.tolist())
                ],
                "backbone_class": names[int(before.argmax())],
                # Only a calibrated model says which it leaves to a person.
                "answered": bool(row.get("answered", True)),
                "gates": row.get("global_gates"),
                "head_gates": [row[key] for key in heads],
                "seen": seen,
                "masks": [_light(mask, part) for mask in shown],
            }
        )


def _file(instance, name):
    """The bytes of one of `instances`."""
    try:
        inner = instance.get("image_bytes", instance)
        return base64.b64decode(inner["b64"], validate=True)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f'{name} must be {{"b64": "..."}}, a file in base64.'
        raise HTTPException(400, message) from error


def _light(mask, part):
    """A part of a mask as an image for a page, orange where it is strongest."""
    height, width = mask.shape
    top, left, bottom, right = part
    box = (left * width, top * height, right * width, bottom * height)
    peak = max(mask.max(), np.finfo("float32").tiny)
    pixels = np.rint(255 * np.clip(mask / peak, 0, 1)).astype("uint8")
    gray = PIL.Image.fromarray(pixels).crop(box)
    file = io.BytesIO()
    light = PIL.ImageOps.colorize(gray, "black", "#ffb030")
    light.save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


async def _error(request, error):
    """Any `HTTPException` in the shape of TensorFlow Serving's errors."""
    return Answer({"error": error.detail}, error.status_code, error.headers)


def make_app(model, limits, hosts=LOOPBACK):
    """The ASGI application; `hosts` is what requests may call it, as `Host`."""
    service = Service(model, limits)
    path = f"/v1/models/{model.name}"
    return Starlette(
        routes=[
            Route("/", lambda request: FileResponse(PAGE / "index.html")),
            Mount("/page", StaticFiles(directory=PAGE)),
            Route("/about", service.about),
            Route("/explain", service.explain, methods=["POST"]),
            Route(f"{path}:predict", service.predict, methods=["POST"]),
            Route(f"{path}/metadata", service.metadata),
            Route(path, service.status),
        ],
        middleware=[
            Middleware(
                TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False
            )
        ],
        exception_handlers={HTTPException: _error},
    )


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(
        description="Serves a model of keras_warn.export(..., encoded=True), "
        "with a page to try it and TensorFlow Serving's REST interface.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("folder", help="where the model was exported to")
    add("--name", help="of the model, instead of the folder's")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8500)
    add(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what else than --host and this machine's own names requests may "
        "call the server, such as birds.example.org or *.example.org; needed "
        "behind a proxy, and with --host 0.0.0.0",
    )
    most = {"type": int, "help": "at most, in a request"}
    add("--body-bytes", default=16 * 2**20, **most)
    add("--images", default=16, **most)
    add("--pixels", type=int, default=50_000_000, help="at most, of an image")
    options = parser.parse_args(arguments)
    try:
        model = ServedModel(options.folder, options.name)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    hosts = [*LOOPBACK, options.host, *options.allow_host]
    uvicorn.run(
        make_app(model, options, hosts),
        host=options.host,
        port=options.port,
        access_log=False,
        headers=list(HEADERS.items()),
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=30,
    )


if __name__ == "__main__":
    main()
