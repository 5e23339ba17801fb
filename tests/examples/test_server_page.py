"""The page of the server, in a browser."""

import time

import pytest
from browser import browser
from browser import opened
from drawn import file_of
from drawn import held
from drawn import photo
from exported import NAMES

SECONDS = 60

# How many pixels of a canvas are bright and orange.
SUM = """
    const canvas = arguments[0];
    const { data } = canvas.getContext("2d").getImageData(
        0, 0, canvas.width, canvas.height);
    return [canvas.width, canvas.height, data.reduce((a, b) => a + b, 0)];
"""

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
        yield opened(driver, running.address)


def test_images_are_explained(page, tmp_path):
    import base64

    (tmp_path / "bird.jpg").write_bytes(file_of(photo()))
    (tmp_path / "turned.jpg").write_bytes(held(6))
    (tmp_path / "notes.txt").write_text("no image")
    paths = [tmp_path / n for n in ("bird.jpg", "turned.jpg", "notes.txt")]
    page.find_element("id", "files").send_keys("\n".join(map(str, paths)))
    wait_for(page, "2 images explained, 1 could not be.")
    data = base64.b64encode(file_of(photo(seed=3))).decode()
    page.execute_script(DROP, data)
    wait_for(page, "3 images explained, 1 could not be.")

    def all_of(selector, of=page):
        return of.find_elements("css selector", selector)

    first, turned, notes, dropped = all_of("article")
    assert "This is no JPEG or PNG file" in notes.text
    assert "dropped.jpg" in dropped.text
    for article in (first, turned, dropped):
        assert "Attention " in article.text
        assert "better ask a person" in article.text
        assert any(name in article.text for name in NAMES)
        assert len(all_of(".classes tbody tr", article)) == len(NAMES)
        assert len(all_of(".gates tbody tr", article)) == 3
    # Turned as EXIF says.
    sizes = [
        page.execute_script(SUM, *all_of("canvas", article))[:2]
        for article in (first, turned)
    ]
    assert sizes == [[71, 53], [53, 71]]

    # Each layer is another image, and the slider fades it out.
    (canvas,) = all_of("canvas", first)
    drawn = []
    for label in all_of(".choices label", first):
        label.click()
        drawn.append(page.execute_script(SUM, canvas)[2])
        assert label.text in canvas.get_attribute("aria-label") or (
            label.text == "Image alone"
        )
    assert len(drawn) == 4 and len(set(drawn)) == 4
    all_of(".choices label", first)[0].click()
    page.execute_script(
        "arguments[0].value = 0;"
        "arguments[0].dispatchEvent(new Event('input'));",
        *all_of(".strength input", first),
    )
    assert page.execute_script(SUM, canvas)[2] == drawn[3]

    page.find_element("id", "clear").click()
    assert not all_of("article")
    assert page.get_log("browser") == []


def test_what_the_server_refuses_is_told(page, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(file_of(photo())[:900])
    # More than this server takes, 1 MiB, is not even sent.
    (tmp_path / "large.png").write_bytes(b"0" * (2**20 + 1))
    paths = [tmp_path / "cut.jpg", tmp_path / "large.png"]
    page.find_element("id", "files").send_keys("\n".join(map(str, paths)))
    wait_for(page, "0 images explained, 2 could not be.")
    cut, large = page.find_elements("css selector", "article")
    assert "The image is broken or cut short" in cut.text
    assert "This file is too large: at most 1 MiB." in large.text


def test_fits_small_screens(page):
    page.set_window_size(500, 900)
    widths = page.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert widths[0] <= widths[1]
