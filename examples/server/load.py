"""Load for the server: many clients for a while, and what came of it.

    python examples/server/load.py http://127.0.0.1:8500 photos/*.jpg \\
        --clients 100 --seconds 60 --pid PID_OF_THE_SERVER

Each client sends an image, reads all of the answer, looks how it begins, and
sends the next. Needs httpx2.
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


def requests_of(files, path, signature):
    """Requests, made before the clock starts: arguments of `httpx2`."""
    if signature is None:
        return [
            {
                "url": "/explain",
                "content": file,
                "headers": {
                    "Content-Type": "image/png"
                    if file.startswith(b"\x89PNG")
                    else "image/jpeg"
                },
            }
            for file in files
        ]
    return [
        {
            "url": path,
            "content": json.dumps(
                {
                    "signature_name": signature,
                    "instances": [{"b64": base64.b64encode(file).decode()}],
                }
            ),
            "headers": {"Content-Type": "application/json"},
        }
        for file in files
    ]


async def one_client(client, choice, made, end, times, errors):
    while time.monotonic() < end:
        request = choice.choice(made)
        start = time.monotonic()
        try:
            answer = await client.post(**request)
        except httpx2.HTTPError as error:
            errors[repr(error)[:120]] += 1
            continue
        if answer.status_code != 200:
            errors[f"{answer.status_code} {answer.text[:120]}"] += 1
            continue
        # Parsing it would take the processor from the server.
        if not answer.content.startswith((b'{"predictions":', b'{"classes":')):
            errors["an answer without predictions"] += 1
            continue
        times.append(time.monotonic() - start)


async def load(address, files, clients, seconds, signature, pid):
    """Sends images for a while.

    Args:
        address: Of the server, such as `"http://127.0.0.1:8500"`.
        files: List of `bytes`, files of JPEG or PNG.
        clients: How many send at a time.
        seconds: For how long.
        signature: `"serve_bytes"` or `"explain_bytes"`, or `None` for what the
            page asks.
        pid: Process whose memory is measured, or `None`.

    Returns:
        A dictionary, for JSON.
    """
    limits = httpx2.Limits(max_connections=clients)
    times, errors, memory = [], collections.Counter(), []
    async with httpx2.AsyncClient(
        base_url=address, limits=limits, timeout=60, trust_env=False
    ) as client:
        about = (await client.get("/about")).json()
        path = f"/v1/models/{about['model']}:predict"
        made = requests_of(files, path, signature)
        start = time.monotonic()
        end = start + seconds
        sending = asyncio.gather(
            *(
                one_client(client, random.Random(i), made, end, times, errors)
                for i in range(clients)
            )
        )
        while not sending.done():
            if pid is not None:
                memory.append(resident(pid))
            await asyncio.wait([sending], timeout=1)
        await sending
        passed = time.monotonic() - start
    times.sort()
    found = {
        "asked": signature or "the page's",
        "clients": clients,
        "seconds": round(passed, 1),
        "answers": len(times),
        "answers_a_second": round(len(times) / passed, 1),
        "errors": sum(errors.values()),
        "load_average": os.getloadavg(),
    }
    for share in (50, 95, 99, 100):
        if times:
            place = min(len(times) - 1, len(times) * share // 100)
            found[f"milliseconds_{share}"] = round(1000 * times[place])
    memory = [value for value in memory if value is not None]
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
    parser.add_argument("address", help="such as http://127.0.0.1:8500")
    parser.add_argument("images", nargs="+", help="files of JPEG or PNG")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--signature",
        choices=["serve_bytes", "explain_bytes"],
        help="default: what the page asks",
    )
    parser.add_argument("--pid", type=int, help="of the server, for its memory")
    options = parser.parse_args()
    files = [pathlib.Path(path).read_bytes() for path in options.images]
    found = asyncio.run(
        load(
            options.address,
            files,
            options.clients,
            options.seconds,
            options.signature,
            options.pid,
        )
    )
    print(json.dumps(found, indent=2))
    raise SystemExit(1 if found["errors"] or not found["answers"] else 0)


if __name__ == "__main__":
    main()
