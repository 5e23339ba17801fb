"""Load for the server: many clients for a while, and what came of it.

    python examples/server/load.py http://127.0.0.1:8500 photos/*.jpg \\
        --clients 100 --seconds 60 --pid PID_OF_THE_SERVER

Each client sends an image, reads all of the answer, looks how it begins, and
sends the next. Needs httpx2 and NumPy.
"""

import argparse
import asyncio
import base64
import collections
import json
import os
import pathlib
import random
import time

import httpx2
import numpy as np

# Where answers differ, the first so many are shown.
SHOWN = 5


def resident(pid):
    """MiB of memory that a process holds, on Linux; `None` elsewhere."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text("utf-8")
    except FileNotFoundError:
        return None
    (line,) = (x for x in text.splitlines() if x.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def request_of(file, model, signature):
    """Arguments of `httpx2` to send a file of JPEG or PNG."""
    if signature is None:
        kind = "png" if file.startswith(b"\x89PNG") else "jpeg"
        headers = {"Content-Type": f"image/{kind}"}
        return {"url": "/explain", "content": file, "headers": headers}
    instances = [{"b64": base64.b64encode(file).decode()}]
    return {
        "url": f"/v1/models/{model}:predict",
        "json": {"signature_name": signature, "instances": instances},
    }


async def one_client(client, random, made, end, times, errors):
    while time.monotonic() < end:
        request = random.choice(made)
        start = time.monotonic()
        try:
            answer = await client.post(**request)
        except httpx2.HTTPError as error:
            errors[repr(error)[:120]] += 1
            continue
        if answer.status_code != 200:
            errors[f"{answer.status_code} {answer.text[:120]}"] += 1
        # Parsing it would take the processor from the server.
        elif answer.content.startswith((b'{"predictions":', b'{"classes":')):
            times.append(time.monotonic() - start)
        else:
            errors["an answer without predictions"] += 1


async def load(address, files, clients, seconds, signature, pid):
    """Sends files of JPEG or PNG for a while; what came of it, for JSON.

    `signature` is `None` for what the page asks, and `pid` that of the process
    whose memory is measured, or `None`.
    """
    limits = httpx2.Limits(max_connections=clients)
    times, errors, memory = [], collections.Counter(), []
    async with httpx2.AsyncClient(
        base_url=address, limits=limits, timeout=60, trust_env=False
    ) as client:
        model = (await client.get("/about")).json()["model"]
        # Made before the clock starts.
        made = [request_of(file, model, signature) for file in files]
        start = time.monotonic()
        given = made, start + seconds, times, errors
        draws = [random.Random(i) for i in range(clients)]
        sending = asyncio.gather(
            *(one_client(client, random, *given) for random in draws)
        )
        while not sending.done():
            if (found := resident(pid)) is not None:
                memory.append(found)
            await asyncio.wait([sending], timeout=1)
        await sending
        passed = time.monotonic() - start
    found = {
        "asked": signature or "the page's",
        "clients": clients,
        "seconds": round(passed, 1),
        "answers": len(times),
        "answers_a_second": round(len(times) / passed, 1),
        "errors": sum(errors.values()),
        "load_average": os.getloadavg(),
    }
    if times:
        shares = (50, 95, 99, 100)
        slowest = np.percentile(times, shares, method="higher")
        for share, value in zip(shares, slowest, strict=True):
            found[f"milliseconds_{share}"] = round(1000 * value)
    if memory:
        found["resident_mib"] = {
            "start": round(memory[0]),
            "middle": round(memory[len(memory) // 2]),
            "end": round(memory[-1]),
            "most": round(max(memory)),
        }
    if errors:
        found["kinds_of_errors"] = dict(errors.most_common(SHOWN))
    return found


def main():
    parser = argparse.ArgumentParser(
        description="Sends images from many clients, and reports answers a "
        "second, latencies, errors, and the memory of the server."
    )
    add = parser.add_argument
    add("address", help="such as http://127.0.0.1:8500")
    add("images", nargs="+", help="files of JPEG or PNG")
    add("--clients", type=int, default=100)
    add("--seconds", type=float, default=60)
    add(
        "--signature",
        choices=["serve_bytes", "explain_bytes"],
        help="default: what the page asks",
    )
    add("--pid", type=int, help="of the server, for its memory; on Linux")
    options = vars(parser.parse_args())
    images = options.pop("images")
    files = [pathlib.Path(path).read_bytes() for path in images]
    found = asyncio.run(load(files=files, **options))
    print(json.dumps(found, indent=2))
    raise SystemExit(1 if found["errors"] or not found["answers"] else 0)


if __name__ == "__main__":
    main()
