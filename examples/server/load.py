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


def resident(pid):
    """MiB of memory that a process holds, on Linux."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def request_of(file, model, signature):
    """Arguments of `httpx2` to send a file of JPEG or PNG."""
    if signature is None:
        return {"url": "/explain", "content": file}
    instances = [{"b64": base64.b64encode(file).decode()}]
    return {
        "url": f"/v1/models/{model}:predict",
        "json": {"signature_name": signature, "instances": instances},
    }


async def one_client(client, requests, end, times, errors):
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            answer = await client.post(**random.choice(requests))
        except httpx2.HTTPError as error:
            errors[repr(error)] += 1
            continue
        # Parsing it would take the processor from the server.
        if answer.content.startswith((b'{"predictions":', b'{"classes":')):
            times.append(time.monotonic() - start)
        else:
            errors[f"{answer.status_code} {answer.text[:120]}"] += 1


async def load(address, files, clients, seconds, signature=None, pid=None):
    """Sends files of JPEG or PNG for a while; what came of it, for JSON.

    `signature` is `None` for what the page asks, and `pid` that of the process
    whose memory is measured.
    """
    limits = httpx2.Limits(max_connections=clients)
    times, errors, memory = [], collections.Counter(), []
    async with httpx2.AsyncClient(
        base_url=address, limits=limits, timeout=60, trust_env=False
    ) as client:
        model = (await client.get("/about")).json()["model"]
        requests = [request_of(file, model, signature) for file in files]
        start = time.monotonic()
        given = client, requests, start + seconds, times, errors
        sending = asyncio.gather(*(one_client(*given) for _ in range(clients)))
        while not sending.done():
            if pid is not None:
                memory.append(resident(pid))
            await asyncio.wait([sending], timeout=1)
        passed = time.monotonic() - start
    found = {
        "asked": signature or "the page's",
        "answers": len(times),
        "answers_a_second": round(len(times) / passed, 1),
        "errors": errors,
        "load_average": os.getloadavg(),
    }
    if times:
        slowest = np.percentile(times, (50, 95, 100)).round(2)
        found["seconds_50_95_100"] = slowest.tolist()
    if memory:
        found["mib_start_end_most"] = [memory[0], memory[-1], max(memory)]
    return found


def main():
    parser = argparse.ArgumentParser(
        description="Sends images from many clients, and reports answers a "
        "second, latencies, errors, and the memory of the server."
    )
    add = parser.add_argument
    add("address", help="such as http://127.0.0.1:8500")
    add("files", nargs="+", type=pathlib.Path, help="of JPEG or PNG")
    add("--clients", type=int, default=100)
    add("--seconds", type=float, default=60)
    add("--signature", help="serve_bytes or explain_bytes, not the page's")
    add("--pid", type=int, help="of the server, for its memory; on Linux")
    options = vars(parser.parse_args())
    options["files"] = [path.read_bytes() for path in options["files"]]
    found = asyncio.run(load(**options))
    print(json.dumps(found, indent=2))
    raise SystemExit(bool(found["errors"]) or not found["answers"])


if __name__ == "__main__":
    main()
