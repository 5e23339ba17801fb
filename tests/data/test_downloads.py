"""What cannot be downloaded is known in seconds, not minutes."""

import http.server
import socket
import threading
import time
import urllib.request

import pytest

from keras_warn.data import downloads

# The server's answers, by path and method.
STATUS = {
    "/there": {"HEAD": 200, "GET": 200},
    "/signed": {"HEAD": 403, "GET": 200},
    "/gone": {"HEAD": 404, "GET": 404},
}


class Handler(http.server.BaseHTTPRequestHandler):
    asked = []

    def answer(self):
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(STATUS[self.path][self.command])
        self.end_headers()

    do_HEAD = do_GET = answer

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address(monkeypatch):
    forget_proxies(monkeypatch)
    Handler.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(
        target=server.serve_forever, args=(0.01,), daemon=True
    ).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def forget_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # Kept from the first request of the process.
    monkeypatch.setattr(urllib.request, "_opener", None)


def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_what_is_there_is_not_downloaded(address):
    downloads.check_connection(f"{address}/there", "It", "Do without.")
    assert Handler.asked == ["HEAD /there"]


def test_some_servers_allow_get_alone(address):
    downloads.check_connection(f"{address}/signed", "It", "Do without.")
    assert Handler.asked == ["HEAD /signed", "GET /signed"]


def test_a_dead_link(address):
    with pytest.raises(
        ConnectionError, match="^It was not .*/gone is not there .* Do without."
    ):
        downloads.check_connection(f"{address}/gone", "It", "Do without.")


def test_nobody_answers(monkeypatch):
    forget_proxies(monkeypatch)
    url = f"http://127.0.0.1:{closed_port()}/a"
    with pytest.raises(ConnectionError, match="cannot be reached .* Do "):
        downloads.check_connection(url, "It", "Do without.")


def test_proxies_are_asked(monkeypatch, address):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ConnectionError, match="refused"):
        downloads.check_connection(f"{address}/there", "It", "Do without.")
    assert Handler.asked == []


def test_an_answer_is_not_waited_for_long(monkeypatch):
    """Looking up an address has no limit of its own."""
    done = threading.Event()
    monkeypatch.setattr(downloads, "LIMIT", 0.1)
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *args, timeout: done.wait(30)
    )
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="no answer in 0.1 s"):
        downloads.check_connection("http://a.example/b", "It", "Do without.")
    assert time.monotonic() - start < 5
    done.set()
