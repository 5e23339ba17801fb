"""How much the server takes, and its answers to what is too much or wrong."""

import asyncio
import contextlib
import dataclasses

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

# A client that is told "too large" while it still sends may lose the answer
# with its connection. So the rest is thrown away first, for this long at most.
LINGER_SECONDS = 2


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one server takes.

    Attributes:
        body_bytes: Bytes of the body of a request.
        pictures: Pictures in one request.
        pixels: Pixels of a picture, told from its header before it is decoded.
        at_work: Requests that are read and answered at a time. Only these hold
            more than 64 KiB of memory each.
        in_line: Requests that wait for their turn. More are sent away.
        seconds: Time from a request's turn to the end of its answer, so that
            slow clients cannot hold all turns.
        batch: Pictures that the model sees at a time.
    """

    body_bytes: int = 16 * 2**20
    pictures: int = 16
    pixels: int = 50_000_000
    at_work: int = 32
    in_line: int = 256
    seconds: float = 60.0
    batch: int = 16


class Refused(HTTPException):
    """An answer of 4xx or 503 that says what was wrong, as advice."""

    def __init__(self, status, message, headers=None):
        super().__init__(status, message, headers)


def error_answer(request, error):
    """Any `HTTPException` in the shape of TensorFlow Serving's errors."""
    return JSONResponse(
        {"error": error.detail}, error.status_code, error.headers
    )


async def read_body(request, most):
    """The body of a request, of at most so many bytes.

    What `Content-Length` says may be missing or false: bytes are counted as
    they come.

    Args:
        request: A Starlette request.
        most: The largest number of bytes.

    Returns:
        `bytes`.

    Raises:
        Refused: with 413 if there are more, with 415 if they are compressed.
    """
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise Refused(
            415,
            "The body must be sent as it is. Received: Content-Encoding: "
            f"{coding}.",
        )
    too_large = Refused(
        413,
        f"The body must have at most {most} bytes ({most / 2**20:.3g} MiB).",
        {"Connection": "close"},
    )
    stream = request.stream()
    # uvicorn has refused what is not a number.
    if int(request.headers.get("content-length", 0)) > most:
        await _throw_away(stream)
        raise too_large
    chunks, length = [], 0
    async for chunk in stream:
        length += len(chunk)
        if length > most:
            chunks.clear()
            await _throw_away(stream)
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


async def _throw_away(stream):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in stream:
                pass


class Line:
    """Middleware: a few requests at work, more in line, the others sent away.

    A request in line has not been read, so it holds no memory to speak of: its
    client waits to send the rest. Pages and status are not made to wait.

    Args:
        app: The ASGI application.
        limits: `Limits`.
    """

    def __init__(self, app, limits):
        self.app = app
        self.limits = limits
        self._turns = asyncio.Semaphore(limits.at_work)
        self._waiting = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        if self._turns.locked() and self._waiting >= self.limits.in_line:
            busy = Refused(
                503,
                f"{self.limits.in_line} requests are waiting. Try again later.",
                {"Retry-After": "1", "Connection": "close"},
            )
            await error_answer(None, busy)(scope, receive, send)
            return
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            await self._in_time(scope, receive, send)
        finally:
            self._turns.release()

    async def _in_time(self, scope, receive, send):
        started = False

        async def noted(message):
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.seconds):
                await self.app(scope, receive, noted)
        except TimeoutError:
            # Half an answer cannot be taken back: uvicorn closes on it.
            if not started:
                late = Refused(
                    408,
                    "The request was not sent and answered within "
                    f"{self.limits.seconds:g} seconds.",
                    {"Connection": "close"},
                )
                await error_answer(Request(scope), late)(scope, receive, send)
