"""A browser without a window, for tests of pages."""

import contextlib
import shutil
import tempfile
import time

import pytest


@contextlib.contextmanager
def browser(width=1400, height=1000):
    """Chromium, driven by Selenium; skips the test if it is not installed.

    Args:
        width: Of the window, in pixels.
        height: Of the window, in pixels.

    Yields:
        A `selenium.webdriver.Chrome`. `opened(driver, path.as_uri())` opens a
        file, `driver.save_screenshot(path)` shows what it looks like.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs the programs chromium and chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # Kept from the console, for tests to read: `driver.get_log("browser")`.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(
        prefix="browser-", ignore_cleanup_errors=True
    ) as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-device-scale-factor=1",
            f"--window-size={width},{height}",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        # With both paths given, Selenium looks for nothing to download.
        service = webdriver.ChromeService(executable_path=chromedriver)
        driver = webdriver.Chrome(options, service)
        try:
            yield driver
        finally:
            driver.quit()


def opened(driver, address, seconds=60):
    """Opens a page, and waits until all of it is there.

    On a busy machine `driver.get` alone can return while the page is parsed.
    """
    driver.get("about:blank")  # or the page before could be taken for this one
    driver.get(address)
    deadline = time.monotonic() + seconds
    while driver.execute_script("return document.readyState") != "complete":
        if time.monotonic() > deadline:
            raise TimeoutError(f"{address} did not load in {seconds} s.")
        time.sleep(0.05)
    return driver
