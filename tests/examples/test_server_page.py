"""The page of the server, in a browser."""

import base64
import time

import pytest
from browser import browser
from browser import opened
from drawn import file_of
from drawn import photo
from exported import NAMES

SECONDS = 60

# A file dropped anywhere on the page.
DROP = """
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
    transfer.items.add(new File([bytes], "dropped.jpg",
        { type: "image/jpeg" }));
    document.body.dispatchEvent(new DragEvent("drop",
        { dataTransfer: transfer, bubbles: true, cancelable: true }));
"""


def wait_for(driver, text):
    end = time.monotonic() + SECONDS
    while text not in driver.find_element("id", "status").text:
        assert time.monotonic() < end, driver.find_element("id", "status").text
        time.sleep(0.05)


@pytest.fixture(scope="module")
def page(running):
    with browser() as driver:
        yield opened(driver, f"http://127.0.0.1:{running.port}")


def all_of(selector, of):
    return of.find_elements("css selector", selector)


def test_images_are_explained(page, tmp_path):
    (tmp_path / "bird.jpg").write_bytes(file_of(photo()))
    (tmp_path / "turned.jpg").write_bytes(file_of(photo(), orientation=6))
    paths = [tmp_path / name for name in ("bird.jpg", "turned.jpg")]
    page.find_element("id", "files").send_keys("\n".join(map(str, paths)))
    wait_for(page, "2 images explained.")
    data = base64.b64encode(file_of(photo(seed=3))).decode()
    page.execute_script(DROP, data)
    wait_for(page, "3 images explained.")
    first, turned, dropped = all_of("article", page)
    assert "dropped.jpg" in dropped.text
    for article in (first, turned, dropped):
        assert "Attention " in article.text
        assert "better ask a person" in article.text
        assert any(name in article.text for name in NAMES)
        assert len(all_of(".classes tbody tr", article)) == len(NAMES)
        assert len(all_of(".gates tbody tr", article)) == 3
    # Turned as EXIF says; the model sees a part from the middle.
    for article, ratio, edges in (
        (first, 71 / 53, "0% 10.1"),
        (turned, 53 / 71, "15.08"),
    ):
        size = all_of(".view", article)[0].size
        assert size["width"] / size["height"] == pytest.approx(ratio, rel=0.01)
        style = all_of(".seen", article)[0].get_attribute("style")
        assert f"clip-path: inset({edges}" in style

    # Each layer is another image, and the slider fades it out.
    (view,) = all_of(".view", first)
    drawn = []
    for label in all_of(".choices label", first):
        label.click()
        drawn.append(view.screenshot_as_base64)
        assert label.text in view.get_attribute("aria-label") or (
            label.text == "Image alone"
        )
    assert len(drawn) == 4 and len(set(drawn)) == 4
    all_of(".choices label", first)[0].click()
    page.execute_script(
        "arguments[0].value = 0;"
        "arguments[0].dispatchEvent(new Event('input'));",
        *all_of(".strength input", first),
    )
    assert view.screenshot_as_base64 == drawn[3]

    page.find_element("id", "clear").click()
    assert not all_of("article", page)
    assert page.get_log("browser") == []


def test_what_the_server_refuses_is_told(page, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(file_of(photo())[:900])
    # More than this server takes.
    (tmp_path / "large.png").write_bytes(b"0" * 2**24)
    paths = [tmp_path / "cut.jpg", tmp_path / "large.png"]
    page.find_element("id", "files").send_keys("\n".join(map(str, paths)))
    wait_for(page, "0 images explained, 2 could not be.")
    cut, large = all_of("article", page)
    assert "The image is no JPEG or PNG file, or is broken" in cut.text
    assert "The body must have at most 1048576 bytes." in large.text


def test_fits_small_screens(page):
    page.set_window_size(500, 900)
    widths = page.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert widths[0] <= widths[1]
