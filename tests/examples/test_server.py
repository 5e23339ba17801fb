"""The server: what it answers, and what it does not take."""

import asyncio
import base64
import contextlib
import io
import json
import pathlib
import signal
import socket
import threading
import time

import httpx2
import numpy as np
import PIL.Image
import pytest
from drawn import animated
from drawn import file_of
from drawn import huge
from drawn import photo
from exported import NAMES
from limits import Limits
from limits import Line
from serving import SERVER
from serving import Running
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

PREDICT = "/v1/models/birds:predict"

# Or a test that waits for what does not come would wait for ever.
SECONDS = 30
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def client(model):
    from server import make_app
    from starlette.testclient import TestClient

    limits = Limits(body_bytes=300_000, images=5, pixels=200_000, batch=3)
    app = make_app(model, limits)
    with TestClient(app, "http://localhost") as client:
        yield client


def asked(instances, signature="explain_bytes"):
    return {"signature_name": signature, "instances": instances}


def encoded(*files):
    return [{"b64": base64.b64encode(file).decode()} for file in files]


def client_of(app, host="127.0.0.1"):
    transport = httpx2.ASGITransport(app, client=(host, 1))
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost")


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, SECONDS))


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


# What it answers.


def test_predictions_are_the_models_row_by_row(client, model):
    """More than a batch of the model, each in its place."""
    files = [file_of(photo(seed=seed)) for seed in range(5)]
    answer = client.post(PREDICT, json=asked(encoded(*files)))
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"predictions"}
    found = answer.json()["predictions"]
    wanted = model("explain_bytes", files)
    assert np.ptp([w["probabilities"] for w in wanted], axis=0).max() > 0.01
    for row, one in zip(found, wanted, strict=True):
        assert set(row) == set(one)
        assert row["class_names"] == NAMES
        for key in set(row) - {"class_names"}:
            np.testing.assert_allclose(row[key], one[key], atol=1e-6)


def test_inputs_may_be_named(client):
    request = asked(encoded(file_of(photo())), "serve_bytes")
    plain = client.post(PREDICT, json=request).json()
    named = [{"image_bytes": one} for one in request["instances"]]
    answer = client.post(PREDICT, json={**request, "instances": named})
    assert answer.json() == plain
    (row,) = plain["predictions"]
    assert set(row) == {
        "probabilities",
        "backbone_logit",
        "answered",
        "class_names",
    }
    assert row["answered"] is False


def test_a_single_output_has_no_name():
    """As TensorFlow Serving answers, where class names are not known."""
    from served_model import rows

    one = {"probabilities": np.array([0.25, 0.75], "float32")}
    assert np.array_equal(rows([one, one]), [[0.25, 0.75]] * 2)


def test_status_and_metadata(client, model):
    (status,) = client.get("/v1/models/birds").json()["model_version_status"]
    assert status["state"] == "AVAILABLE"
    found = client.get("/v1/models/birds/metadata").json()
    assert found["model_spec"]["name"] == "birds"
    definitions = found["metadata"]["signature_def"]["signature_def"]
    takes = definitions["explain_bytes"]["inputs"]["image_bytes"]
    assert takes["dtype"] == "DT_STRING"
    assert takes["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    masks = definitions["explain_bytes"]["outputs"]["masks"]
    sizes = [int(one["size"]) for one in masks["tensor_shape"]["dim"]]
    assert sizes == [-1, 2, 29, 31]
    assert found["metadata"]["keras_warn"]["class_names"] == NAMES


def test_what_the_page_is_told(client, model):
    file = file_of(photo())
    found = client.post("/explain", content=file, headers=JPEG).json()
    (one,) = model("explain_bytes", [file])
    probabilities = {c["name"]: c["attention"] for c in found["classes"]}
    wanted = dict(zip(NAMES, one["probabilities"].tolist(), strict=True))
    assert probabilities == pytest.approx(wanted)
    assert list(probabilities) == sorted(wanted, key=lambda n: -wanted[n])
    best = int(one["backbone_probabilities"].argmax())
    assert found["backbone_class"] == NAMES[best]
    assert found["gates"] == pytest.approx(one["global_gates"].tolist())
    assert [len(gates) for gates in found["head_gates"]] == [3, 3]
    masks = [one["masks"].sum(0), *one["masks"]]
    for address, mask in zip(found["masks"], masks, strict=True):
        data = base64.b64decode(address.partition(",")[2])
        pixels = np.asarray(PIL.Image.open(io.BytesIO(data)))
        np.testing.assert_allclose(pixels, 255 * mask / mask.max(), atol=0.6)


def test_the_page_takes_nothing_from_elsewhere(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for path in (SERVER / "page").iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org", "")
        assert "http:" not in text and "https:" not in text, path


# What it refuses.


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"no image", 400, "instances[1] must be a JPEG or PNG file"),
        (file_of(photo())[:900], 400, "instances[1] is broken"),
        (animated(), 400, "instances[1] is animated"),
        (huge(500, 401), 413, "instances[1] must have at most 200000 pixels"),
    ],
    ids="text cut animated large".split(),
)
def test_a_bad_image_is_named(client, data, status, words):
    fine = file_of(photo())
    answer = client.post(PREDICT, json=asked(encoded(fine, data, fine)))
    refused(answer, status, words)
    answer = client.post("/explain", content=data, headers=JPEG)
    refused(answer, status, words.replace("instances[1]", "The image"))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "must be JSON"),
        (b"\xff\xfe", 400, "must be JSON"),
        (b"9" * 5000, 400, "must be JSON"),
        (b'{"instances":' + b"[" * 90, 400, "must be JSON"),
        (b"[" * 100_000, 413, "at most 5 images, alone"),
        (b"[]", 400, "must have the shape"),
        ({"inputs": {}}, 400, "must have the shape"),
        (asked([]), 400, "must have the shape"),
        (asked("abc"), 400, "must have the shape"),
        (asked([{}]) | {"more": 1}, 400, "must have the shape"),
        (asked([{}], "serve"), 400, "serve_bytes, explain_bytes. Received"),
        (asked([{}], None), 400, "serve_bytes, explain_bytes. Received"),
        (asked(["abc"]), 400, "instances[0] must be {"),
        (asked([{"b64": 3}]), 400, "instances[0] must be {"),
        (asked([{"b64": "", "c": 1}]), 400, "instances[0] must be {"),
        (asked([{"b64": "a"}]), 400, "instances[0] must be a file in base64"),
        (asked([{"b64": "ä"}]), 400, "instances[0] must be a file in base64"),
        (asked([{"b64": ""}]), 400, "instances[0] must be a JPEG or PNG file"),
        (asked([{"b64": ""}] * 6), 413, "at most 5 images. Received: 6"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_requests_that_are_none(client, body, status, words):
    if not isinstance(body, bytes):
        body = json.dumps(body)
    headers = {"content-type": "application/json"}
    refused(client.post(PREDICT, content=body, headers=headers), status, words)


def test_too_large(client):
    answer = client.post("/explain", content=b"0" * 300_001, headers=JPEG)
    refused(answer, 413, "at most 300000 bytes")
    chunks = iter([b"0" * 100_000] * 4)  # sent without Content-Length
    answer = client.post("/explain", content=chunks, headers=JPEG)
    refused(answer, 413, "at most 300000 bytes")
    # Each image is small enough, and both together are not.
    large = file_of(np.zeros((400, 300, 3), "uint8"), "PNG")
    answer = client.post(PREDICT, json=asked(encoded(large, large)))
    refused(answer, 413, "at most 200000 pixels together")


def test_hosts_of_others(client, model):
    from server import make_app
    from starlette.testclient import TestClient

    for host, status in (
        ("127.0.0.1:8500", 200),
        ("[::1]:8500", 200),
        ("LOCALHOST", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("", 400),
    ):
        answer = client.get("/about", headers={"host": host})
        assert answer.status_code == status, host
    named = TestClient(make_app(model, hosts=["*.example.org"]))
    for host, status in ("birds.example.org", 200), ("localhost", 400):
        answer = named.get("/about", headers={"host": host})
        assert answer.status_code == status, host


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            (f"folder --allow-host {host}", f"Received: {host}")
            for host in ("a*b", "*a", "http://a", "a:80")
        ),
        (".", "must hold a model of `keras_warn.export`"),
    ],
)
def test_commands_that_are_refused(arguments, message, capsys):
    from server import main

    with pytest.raises(SystemExit):
        main(arguments.split())
    assert message in capsys.readouterr().err


def test_paths_methods_and_types(client):
    body = asked(encoded(file_of(photo())))
    refused(client.get("/nothing"), 404)
    for path in ("/v1/models/fish", "/v1/models/fish/metadata"):
        refused(client.get(path), 404, "no model 'fish'")
    refused(client.post("/v1/models/fish:predict", json=body), 404, "'fish'")
    refused(client.get(PREDICT), 405)
    text = json.dumps(body)
    for path, kind, coding, words in (
        (PREDICT, "text/plain", "identity", "application/json"),
        (PREDICT, "", "identity", "application/json"),
        ("/explain", "image/gif", "identity", "image/jpeg or image/png"),
        ("/explain", "image/jpeg", "gzip", "Content-Encoding: gzip"),
    ):
        headers = {"content-type": kind, "content-encoding": coding}
        answer = client.post(path, content=text, headers=headers)
        refused(answer, 415, words)


# What happens when much is asked at a time.


def test_those_in_line_wait_and_the_others_are_sent_away():
    """And no client has more than half of the places."""
    go = asyncio.Event()
    entered = []

    async def slow(request):
        entered.append(request.client.host)
        await go.wait()
        return PlainTextResponse("done")

    async def quick(request):
        return PlainTextResponse("here")

    routes = [
        Route("/", slow, methods=["POST"]),
        Route("/", quick, methods=["GET"]),
    ]
    app = Line(Starlette(routes=routes), Limits(at_work=4, in_line=6))

    async def main():
        async with (
            client_of(app, "1.1.1.1") as one,
            client_of(app, "2.2.2.2") as other,
        ):
            asking = []
            for these, host in (one, "1.1.1.1"), (other, "2.2.2.2"):
                asking += [
                    asyncio.create_task(these.post("/")) for _ in range(5)
                ]
                await asyncio.sleep(0.05)
                assert entered[-2:] == [host] * 2
                sent_away = await these.post("/")
                refused(sent_away, 503, "Too many requests")
                assert sent_away.headers["retry-after"] == "1"
                assert (await these.get("/")).text == "here"
            assert len(entered) == 4
            go.set()
            answers = await asyncio.gather(*asking)
            return [*answers, await one.post("/")]

    answers = run(main())
    assert [answer.status_code for answer in answers] == [200] * 11
    assert not app._clients


def test_slow_clients_lose_their_turn():
    async def slow(request):
        await asyncio.sleep(60)

    routes = [Route("/", slow, methods=["POST"])]
    app = Line(Starlette(routes=routes), Limits(at_work=1, seconds=0.05))

    async def main():
        async with client_of(app) as client:
            return [await client.post("/") for _ in range(2)]

    for answer in run(main()):
        refused(answer, 408, "within 0.05 seconds")


def test_slow_bodies_are_not_waited_for(model):
    from server import make_app

    async def body():
        yield b"\xff\xd8"
        await asyncio.sleep(60)

    async def main():
        async with client_of(make_app(model, Limits(body_seconds=0.05))) as one:
            return await one.post("/explain", content=body(), headers=JPEG)

    refused(run(main()), 408, "body was not sent within 0.05 seconds")


def test_large_images_are_decoded_one_at_a_time(model, monkeypatch):
    """The others wait a while, and are then sent away; small ones pass."""
    import server

    monkeypatch.setattr(server, "LARGE", 10_000)
    go, at_work, most = threading.Event(), [], []

    class Slow(server.Upload):
        def ready(self):
            if self.pixels > 10_000:
                at_work.append(self)
                most.append(len(at_work))
                go.wait(10)
                at_work.pop()
            return super().ready()

    monkeypatch.setattr(server, "Upload", Slow)
    app = server.make_app(model, Limits(decode_seconds=0.2))
    large = file_of(np.zeros((300, 300, 3), "uint8"), "PNG")

    async def main():
        async with client_of(app) as client:

            def post(data):
                return asyncio.create_task(
                    client.post("/explain", content=data, headers=JPEG)
                )

            first = post(large)
            await asyncio.sleep(0.05)
            others = await asyncio.gather(*(post(large) for _ in range(3)))
            small = await post(file_of(photo()))
            go.set()
            return others, [await first, small]

    others, answers = run(main())
    for answer in others:
        refused(answer, 503, "Too many large images")
        assert answer.headers["retry-after"] == "10"
    assert [answer.status_code for answer in answers] == [200, 200]
    assert max(most) == 1


def test_what_waits_goes_together():
    """And a broken file, or a failed call, harms nobody else."""
    import concurrent.futures

    import tensorflow as tf
    from served_model import Batches

    calls, first = [], threading.Event()

    def call(files):
        calls.append(files)
        if files == [b"0"]:
            first.wait(10)
        if b"bad" in files:
            raise tf.errors.InvalidArgumentError(None, None, "bad")
        if files == [b"lost"]:
            raise MemoryError("lost")
        return [file + b"!" for file in files]

    async def main():
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            batches = Batches(call, executor, most=3)
            files = [b"0", b"1", b"2", b"3", b"4", b"bad", b"5"]
            tasks = []
            for file in files:
                tasks.append(asyncio.create_task(batches(file)))
                await asyncio.sleep(0.02)
            first.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            with pytest.raises(MemoryError):
                await batches(b"lost")
            return found, await batches(b"6")

    found, last = run(main())
    assert calls[:3] == [[b"0"], [b"1", b"2", b"3"], [b"4", b"bad", b"5"]]
    assert isinstance(found.pop(5), tf.errors.InvalidArgumentError)
    assert found == [b"0!", b"1!", b"2!", b"3!", b"4!", b"5!"]
    assert last == b"6!"


# A process, in which neither Keras nor this package can be imported.


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", "localhost", 200),
        ("GET", "/nothing", "localhost", 404),
        ("POST", "/explain", "localhost", 415),
        ("POST", "/explain", "evil.example", 400),
    ],
)
def test_no_answer_is_taken_for_another_type(
    running, method, path, host, status
):
    headers = {"host": host}
    answer = httpx2.request(method, f"{running.address}{path}", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_listens_on_this_machine_alone(running):
    assert httpx2.get(f"{running.address}/about").json()["model"] == "birds"
    listening = pathlib.Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("needs Linux")
    port = f"{running.port:04X}"
    rows = [line.split() for line in listening.read_text().splitlines()[1:]]
    found = {
        row[1].split(":")[0]
        for row in rows
        if row[1].split(":")[1] == port and row[3] == "0A"
    }
    assert found == {"0100007F"}  # 127.0.0.1


def answered(port, head, body=b"", times=1):
    """What a server answers to bytes, sent until it closes or they end."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):
            for _ in range(times):
                connection.sendall(body)
        return connection.recv(65536)


HEAD = (
    b"POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
)


def test_endless_bodies_are_counted_not_kept(running):
    from load import resident

    chunk = b"10000\r\n" + b"0" * 65536 + b"\r\n"
    before = resident(running.process.pid)
    answer = answered(
        running.port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, 1500
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    if before is not None:  # 94 MiB were sent
        assert resident(running.process.pid) - before < 50


@pytest.mark.parametrize(
    ("length", "sent", "status"),
    [
        (2 * 2**20, 2 * 2**20, b"413"),
        (2 * 2**20, 10, b"413"),  # announced alone: it waits for no more
        (10, 10, b"400"),
    ],
)
def test_lengths_true_and_false(running, length, sent, status):
    head = HEAD + b"Content-Length: %d\r\n\r\n" % length
    answer = answered(running.port, head, b"0" * sent)
    assert answer.split()[1] == status


def test_ends_when_what_was_asked_is_answered(exported):
    server = Running(exported)
    file = file_of(photo())
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(file)
    with socket.create_connection(("127.0.0.1", server.port), 30) as asking:
        asking.sendall(head + file[:100])
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        asking.sendall(file[100:])
        assert asking.recv(65536).startswith(b"HTTP/1.1 200 ")
    errors = server.process.wait(60).stderr
    assert "Traceback" not in errors
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), 1)


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [(20, 0.5), pytest.param(100, 60, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("signature", [None, "explain_bytes"])
def test_many_clients_at_a_time(running, clients, seconds, signature):
    from load import load

    files = [file_of(photo(seed=seed)) for seed in range(7)]
    found = asyncio.run(
        load(
            running.address,
            files,
            clients,
            seconds,
            signature,
            running.process.pid,
        )
    )
    assert found["errors"] == 0, found
    assert found["answers"] >= clients
    memory = found.get("resident_mib")
    if memory is not None:
        assert memory["most"] - memory["start"] < 200, found
