"""What TensorBoardAttention writes is there to see, in TensorBoard's pages."""

import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from browser import browser
from test_callbacks import TensorBoardAttention
from test_callbacks import data
from test_callbacks import events
from test_callbacks import fit
from test_callbacks import model

pytestmark = pytest.mark.usefixtures("eager")

# Pages are filled by scripts, on machines that may be busy.
SECONDS = 60

# TensorBoard starts sooner without TensorFlow, and shows the same.
SERVER = """
import sys
sys.modules["tensorflow"] = None
from tensorboard.main import run_main
run_main()
"""

# TensorBoard nests its elements in shadow roots, where selectors do not reach.
IMAGES = """
    const found = [];
    const walk = (root) => {
        for (const element of root.querySelectorAll("*")) {
            if (element.tagName === "IMG" && element.naturalWidth > 0)
                found.push([element.naturalWidth, element.naturalHeight]);
            if (element.shadowRoot) walk(element.shadowRoot);
        }
    };
    walk(document);
    return found;
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With what was written of a training of two epochs."""
    folder = tmp_path_factory.mktemp("logs")
    watch = TensorBoardAttention(folder, data()[0], data())
    fit(model(depth=2), watch, epochs=2)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    """Where TensorBoard shows the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, "--logdir", folder]
        + ["--host", "127.0.0.1", "--port", str(port), "--load_fast=false"],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: answers(f"{address}/data/runs"))
        yield address
    finally:
        server.terminate()
        server.wait()


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).read() != b"[]"
    except OSError:
        return False


def wait_for(condition):
    """The first value of `condition()` that is true."""
    end = time.monotonic() + SECONDS
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.2)


def text(driver):
    return driver.find_element("css selector", "body").text


@pytest.fixture(scope="module")
def driver():
    with browser() as driver:
        yield driver


def test_images_of_masks(driver, address):
    driver.get(f"{address}/?darkMode=false#images")
    # A page of twelve.
    wait_for(lambda: len(driver.execute_script(IMAGES)) >= 12)
    assert driver.execute_script(IMAGES) == [[20, 24]] * 12
    shown = text(driver)
    assert "masks/all_modules" in shown and "masks/module_1" in shown
    assert "sample: 8 of 8" in shown


def test_images_and_numbers_over_time(driver, folder, address):
    page = f"{address}/?darkMode=false&tagFilter={{}}#timeseries"
    driver.get("about:blank")
    driver.get(page.format("masks/module_2"))
    wait_for(lambda: driver.execute_script(IMAGES))
    assert [20, 24] in driver.execute_script(IMAGES)
    assert "masks\n/module_2" in text(driver)

    driver.get("about:blank")
    driver.get(page.format("global_gate/backbone$"))
    # As the table below the curve has it.
    value = f"{events(folder)['global_gate/backbone', 1]:.4g}"
    shown = wait_for(
        lambda: [
            card.text
            for card in driver.find_elements("css selector", "scalar-card")
            if value in card.text.split("\n")
        ]
    )
    assert len(shown) == 1, value
    assert "global_gate\n/backbone" in shown[0]
