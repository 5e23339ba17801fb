"""The server: what it answers, and what it does not take."""

import asyncio
import base64
import contextlib
import io
import json
import socket
import types

import httpx2
import numpy as np
import PIL.Image
import pytest
from drawn import file_of
from drawn import huge
from drawn import photo
from drawn import several
from exported import NAMES

PREDICT = "/v1/models/birds:predict"
LIMITS = types.SimpleNamespace(body_bytes=300_000, images=5, pixels=200_000)


def client_of(model, **options):
    from server import make_app
    from starlette.testclient import TestClient

    return TestClient(make_app(model, LIMITS, **options), "http://localhost")


@pytest.fixture(scope="module")
def client(model):
    with client_of(model) as client:
        yield client


def asked(instances, signature="explain_bytes"):
    return {"signature_name": signature, "instances": instances}


def encoded(*files):
    return [{"b64": base64.b64encode(file).decode()} for file in files]


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


# What it answers.


def test_predictions_are_the_models_row_by_row(client, model):
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
    outputs = {"probabilities", "backbone_logit", "answered", "class_names"}
    assert set(row) == outputs
    assert row["answered"] is False


def test_a_single_output_has_no_name():
    """As TensorFlow Serving answers, where class names are not known."""

    async def predict(signature, files):
        return [{"probabilities": np.array([0.25, 0.75])} for _ in files]

    model = types.SimpleNamespace(name="birds", size=(29, 31), predict=predict)
    request = asked(encoded(file_of(photo()), file_of(photo())))
    answer = client_of(model).post(PREDICT, json=request)
    assert answer.json() == {"predictions": [[0.25, 0.75]] * 2}


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
    found = client.post("/explain", content=file).json()
    (one,) = model("explain_bytes", [file])
    probabilities = {c["name"]: c["model"] for c in found["classes"]}
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
        red = np.asarray(PIL.Image.open(io.BytesIO(data)))[:, :, 0]
        np.testing.assert_allclose(red, 255 * mask / mask.max(), atol=1.1)


def test_files_that_wait_go_together(model, monkeypatch):
    """At most 16. The first finds the model idle. Errors are of one call."""
    calls = []

    def call(self, signature, files):
        calls.append(len(files))
        if b"bad" in files:
            raise MemoryError("lost")
        return [file + b"!" for file in files]

    monkeypatch.setattr(type(model), "__call__", call)
    numbers = [b"%d" % i for i in range(18)]

    async def main():
        asking = [model.predict("serve_bytes", [one]) for one in numbers]
        asking.append(model.predict("explain_bytes", [b"bad", b"1"]))
        asking.append(model.predict("serve_bytes", numbers))
        return await asyncio.gather(*asking, return_exceptions=True)

    *alone, lost, together = asyncio.run(main())
    assert alone == [[one + b"!"] for one in numbers]
    assert together == sum(alone, [])
    assert isinstance(lost, MemoryError)
    assert calls == [1, 16, 16, 2, 3]


# What it refuses.


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"no image", 400, "instances[1] is no JPEG or PNG file"),
        (several("PNG"), 400, "instances[1] is animated"),
        (huge(500, 401), 413, "instances[1] must have at most 200000 pixels"),
    ],
    ids="text animated large".split(),
)
def test_a_bad_image_is_named(client, data, status, words):
    fine = file_of(photo())
    answer = client.post(PREDICT, json=asked(encoded(fine, data, fine)))
    refused(answer, status, words)
    answer = client.post("/explain", content=data)
    refused(answer, status, words.replace("instances[1]", "The image"))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "must be JSON"),
        (b"\xff\xfe", 400, "must be JSON"),
        (b"[" * 100_000, 400, "must be JSON"),
        ([], 400, "must have the shape"),
        (asked([]), 400, "must have the shape"),
        (asked("abc"), 400, "must have the shape"),
        (asked([{}], "serve"), 400, "serve_bytes, explain_bytes. Received"),
        (asked([{}], []), 400, "serve_bytes, explain_bytes. Received"),
        (asked(["abc"]), 400, "instances[0] must be {"),
        (asked([{"image_bytes": "abc"}]), 400, "instances[0] must be {"),
        (asked([{"b64": 3}]), 400, "instances[0] must be {"),
        (asked([{"b64": "a"}]), 400, "instances[0] must be {"),
        (asked([{"b64": "ä"}]), 400, "instances[0] must be {"),
        (asked([{"b64": ""}]), 400, "instances[0] is no JPEG or PNG file"),
        (asked([{"b64": ""}] * 6), 413, "at most 5. Received: 6"),
        (b" " * 300_001, 413, "at most 300000 bytes"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_requests_that_are_none(client, body, status, words):
    if isinstance(body, list | dict):
        body = json.dumps(body)
    refused(client.post(PREDICT, content=body), status, words)


def test_bodies_without_a_length_are_counted(client):
    body = iter([b" " * 100_000] * 4)
    refused(client.post(PREDICT, content=body), 413, "at most 300000 bytes")


def test_hosts_of_others(client, model):
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
    named = client_of(model, hosts=["*.example.org"])
    for host, status in ("birds.example.org", 200), ("localhost", 400):
        answer = named.get("/about", headers={"host": host})
        assert answer.status_code == status, host


def test_other_models_paths_and_methods(client):
    refused(client.get("/nothing"), 404)
    for path in ("/v1/models/fish", "/v1/models/fish/metadata"):
        refused(client.get(path), 404)
    refused(client.post("/v1/models/fish:predict", json={}), 404)
    refused(client.get(PREDICT), 405)


def test_folders_without_a_model(tmp_path, capsys):
    from server import main

    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "assets.extra/metadata.json" in capsys.readouterr().err
    (tmp_path / "assets.extra").mkdir()
    about = tmp_path / "assets.extra" / "metadata.json"
    about.write_text('{"signatures": {"serve": {}}}')
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "export it with encoded=True" in capsys.readouterr().err


# A process, in which neither Keras nor this package can be imported.


def get(running, path, **options):
    return httpx2.get(f"http://127.0.0.1:{running.port}{path}", **options)


def test_the_page_takes_nothing_from_elsewhere(running):
    for path in ("/", "/page/page.js", "/about", "/nothing"):
        headers = get(running, path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_listens_on_this_machine_alone(running):
    assert get(running, "/about").json()["model"] == "birds"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", running.port), 1)


def test_endless_bodies_are_counted_not_kept(running):
    from load import resident

    before = resident(running.pid)
    with socket.create_connection(("127.0.0.1", running.port), 30) as endless:
        endless.sendall(
            b"POST /explain HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with contextlib.suppress(ConnectionError):
            for _ in range(1500):  # 94 MiB
                endless.sendall(b"10000\r\n" + b"0" * 65536 + b"\r\n")
        assert endless.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert resident(running.pid) - before < 50


def test_connections_have_a_limit(running):
    from server import CONNECTIONS

    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            address = ("127.0.0.1", running.port)
            stack.enter_context(socket.create_connection(address, 30))
        assert get(running, "/about", timeout=30).status_code == 503


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [(20, 0.5), pytest.param(100, 60, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("signature", [None, "explain_bytes"])
def test_many_clients_at_a_time(running, clients, seconds, signature):
    from load import load

    files = [file_of(photo(seed=seed)) for seed in range(7)]
    address = f"http://127.0.0.1:{running.port}"
    given = address, files, clients, seconds, signature, running.pid
    found = asyncio.run(load(*given))
    assert not found["errors"], found
    assert found["answers"] >= clients
    start, _, most = found["mib_start_end_most"]
    assert most - start < 200, found
