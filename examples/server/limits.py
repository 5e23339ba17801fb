"""How much the server takes, and its answers to what is too much or wrong."""

import asyncio
import contextlib
import dataclasses
import weakref

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

# A client that is told "too large" while it still sends may lose the answer
# with its connection. So the rest is thrown away first, for this long at most.
LINGER_SECONDS = 2


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one server takes."""

    body_bytes: int = 16 * 2**20
    images: int = 16  # in one request
    # Of an image, told from its header; to decode, of all in a request.
    pixels: int = 50_000_000
    # Requests that are read and answered at a time: only these hold more than
    # 64 KiB of memory each. And requests that wait for their turn. One client
    # has half of both at most.
    at_work: int = 32
    in_line: int = 256
    # From a request's turn to the end of its body, and to that of its answer:
    # slow clients cannot hold all turns.
    body_seconds: float = 20.0
    seconds: float = 60.0
    decode_seconds: float = 10.0  # that a large image waits for others
    batch: int = 16  # images that the model sees at a time


class UsageError(HTTPException):
    """An answer that says what was wrong, as advice."""

    def __init__(self, message, status=400, headers=None):
        super().__init__(status, message, headers)


def error_answer(request, error):
    """Any `HTTPException` in the shape of TensorFlow Serving's errors."""
    return JSONResponse(
        {"error": error.detail}, error.status_code, error.headers
    )


async def read_body(request, limits):
    """The body of a request, if it is neither too large nor too slow.

    What `Content-Length` says may be missing or false: bytes are counted as
    they come.
    """
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise UsageError(
            "The body must be sent as it is. Received: Content-Encoding: "
            f"{coding}.",
            415,
        )
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read_body(request, limits.body_bytes)
    except TimeoutError as error:
        raise UsageError(
            f"The body was not sent within {limits.body_seconds:g} seconds.",
            408,
            {"Connection": "close"},
        ) from error


async def _read_body(request, most):
    stream, chunks, length = request.stream(), [], 0
    # uvicorn has refused what is not a number.
    announced = int(request.headers.get("content-length", 0))
    if announced <= most:
        async for chunk in stream:
            length += len(chunk)
            if length > most:
                break
            chunks.append(chunk)
    if max(announced, length) > most:
        chunks.clear()
        await _throw_away(stream)
        mebibytes = f"{most / 2**20:.3g} MiB"
        raise UsageError(
            f"The body must have at most {most} bytes ({mebibytes}).",
            413,
            {"Connection": "close"},
        )
    return b"".join(chunks)


async def _throw_away(stream):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in stream:
                pass


class _Places:
    """Places at work and in line: all of them, or a part, but at least one."""

    def __init__(self, limits, parts):
        self.turns = asyncio.Semaphore(max(1, limits.at_work // parts))
        self.left = max(1, (limits.at_work + limits.in_line) // parts)


class Line:
    """Middleware: a few requests at work, more in line, the others sent away.

    A request in line has not been read, so it holds no memory to speak of: its
    client waits to send the rest. Pages and status are not made to wait.
    """

    def __init__(self, app, limits):
        self.app, self.limits = app, limits
        self._all = _Places(limits, 1)
        # By address, for as long as there are requests from it.
        self._clients = weakref.WeakValueDictionary()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        address = scope["client"] and scope["client"][0]
        own = self._clients.setdefault(address, _Places(self.limits, 2))
        if not (own.left and self._all.left):
            busy = UsageError(
                "Too many requests are waiting. Try again later.",
                503,
                {"Retry-After": "1", "Connection": "close"},
            )
            await error_answer(None, busy)(scope, receive, send)
            return
        own.left -= 1
        self._all.left -= 1
        try:
            async with own.turns, self._all.turns:
                await self._in_time(scope, receive, send)
        finally:
            own.left += 1
            self._all.left += 1

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
                late = UsageError(
                    "The request was not sent and answered within "
                    f"{self.limits.seconds:g} seconds.",
                    408,
                    {"Connection": "close"},
                )
                await error_answer(None, late)(scope, receive, send)
