"""The page of a report in a browser: seen, read aloud, and by keyboard."""

import itertools
import time

import pytest
from browser import browser
from browser import opened
from test_report import changed_set
from test_report import changing_model

from keras_warn.reporting.report import report

pytestmark = pytest.mark.usefixtures("eager")

WIDE, NARROW = 1280, 320


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The comparison that the page shows, and the address of the page."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    augmented = changing_model()
    names = [
        f"Black-footed albatross, variety {'q' * 30} {i}" for i in range(7)
    ]
    data = changed_set(augmented)
    return report(augmented, data, path, names, verbose=0), path.as_uri()


@pytest.fixture(scope="module")
def driver():
    with browser() as driver:
        yield driver


@pytest.fixture
def page(driver, found):
    """The page, freshly opened, on a desktop and in daylight."""
    emulate(driver)
    return opened(driver, found[1])


def emulate(driver, width=WIDE, scheme="light", media="screen"):
    screen = {"height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, **screen}
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": media, "features": features}
    )


def elements(driver, selector):
    return driver.find_elements("css selector", selector)


def press(driver, element, key):
    """Presses a key on an element that has the focus."""
    driver.execute_script("arguments[0].focus()", element)
    assert driver.switch_to.active_element == element
    element.send_keys(key)


def test_everything_is_there_and_nothing_complains(page):
    broken = page.execute_script(
        "return [...document.images].filter(i => !i.naturalWidth).length"
    )
    assert len(elements(page, "img")) > 40
    assert broken == 0
    assert page.get_log("browser") == []


def test_more_examples_unfold_by_keyboard_and_on_paper(page, found):
    comparison, _ = found
    shown = elements(page, "article[data-outcome=fixed]")
    assert len(shown) == comparison.over_backbone.fixed
    assert [card.is_displayed() for card in shown[:4]] == [True] * 3 + [False]
    (summary, *_) = elements(page, "#examples summary")
    press(page, summary, "\ue007")
    assert all(card.is_displayed() for card in shown)
    press(page, summary, "\ue007")
    for event, unfolded in (("beforeprint", "true"), ("afterprint", None)):
        page.execute_script(f"dispatchEvent(new Event('{event}'))")
        folds = elements(page, "details")
        assert {e.get_attribute("open") for e in folds} == {unfolded}


@pytest.mark.parametrize("width", [400, WIDE])
def test_navigation_stays_in_sight(page, width):
    emulate(page, width)
    (nav,) = elements(page, "nav")
    assert nav.rect["height"] < 60
    page.execute_script("scrollTo({top: 4000, behavior: 'instant'})")
    top = page.execute_script(
        "return document.querySelector('nav').getBoundingClientRect().top"
    )
    assert top == 0


def test_classes_are_sorted_by_keyboard(page):
    def column(i):
        cells = elements(page, f"table.sortable tbody tr > :nth-child({i})")
        return [float(cell.get_attribute("data-value")) for cell in cells]

    (head,) = elements(page, "table.sortable thead th:nth-child(2)")
    (button,) = head.find_elements("css selector", "button")
    for direction, ordered in (
        ("descending", lambda x: sorted(x, reverse=True)),
        ("ascending", sorted),
    ):
        press(page, button, "\ue007")
        assert head.get_attribute("aria-sort") == direction
        assert column(2) == ordered(column(2))
        assert len(set(column(2))) > 1
        assert len(elements(page, "th[aria-sort]")) == 1


def test_the_first_stop_of_the_keyboard_skips_to_the_report(page):
    elements(page, "body")[0].send_keys("\ue004")
    link = page.switch_to.active_element
    assert link.text == "Skip to the report"
    assert link.rect["x"] >= 0 and link.rect["y"] >= 0
    link.send_keys("\ue007")
    assert page.current_url.endswith("#main")


def test_the_focus_is_seen(page):
    for selector in ("nav a", "th button", "summary", ".scroll"):
        page.switch_to.active_element.send_keys("\ue004")  # by keyboard
        element = elements(page, selector)[0]
        page.execute_script("arguments[0].focus()", element)
        width = element.value_of_css_property("outline-width")
        style = element.value_of_css_property("outline-style")
        assert (width, style) == ("3px", "solid"), selector


@pytest.mark.parametrize("width", [320, 768])
def test_no_scrolling_sideways(page, width):
    emulate(page, width)
    # What does not fit makes the page of a phone wider.
    inner, needed = page.execute_script(
        "return [innerWidth, document.documentElement.scrollWidth]"
    )
    assert inner == width >= needed
    # Wide tables scroll by themselves, and can be reached by keyboard.
    wider = page.execute_script(
        """return [...document.querySelectorAll("main *")].filter(element =>
        element.checkVisibility() && !element.closest(".scroll")
        && element.getBoundingClientRect().right > innerWidth + 0.5
        ).map(element => element.outerHTML.slice(0, 200))"""
    )
    assert wider == []


@pytest.mark.parametrize("width", [400, 900, WIDE])
def test_all_images_over_an_image_have_one_size(page, width):
    """Those below the image, too, which have no room beside it."""
    emulate(page, width)
    # More modules than the model has.
    widths = page.execute_script(
        """const images = document.querySelector(".images");
        for (let i = 0; i < 6; i++)
          images.append(images.lastElementChild.cloneNode(true));
        return [...images.children].map(e => e.offsetWidth)"""
    )
    assert len(widths) > 6 and len(set(widths[1:])) == 1
    assert widths[0] > 1.9 * widths[1]


def test_paper_shows_all_columns(page):
    # A4 and Letter, less the margins, in pixels of CSS.
    emulate(page, 718, media="print")
    cut = page.execute_script(
        """document.querySelectorAll("details").forEach(e => e.open = true);
        return [...document.querySelectorAll(".scroll")].filter(
          e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"""
    )
    assert cut == []


def test_dark_and_print(page):
    (body,) = elements(page, "body")
    for scheme, media, color in (
        ("light", "screen", "rgba(255, 255, 255, 1)"),
        ("dark", "screen", "rgba(20, 23, 26, 1)"),
        ("dark", "print", "rgba(255, 255, 255, 1)"),
    ):
        emulate(page, scheme=scheme, media=media)
        assert body.value_of_css_property("background-color") == color
    assert not any(e.is_displayed() for e in elements(page, "nav"))


def test_without_scripts(page, found):
    page.execute_cdp_cmd(
        "Emulation.setScriptExecutionDisabled", {"value": True}
    )
    try:
        opened(page, found[1])
        # Buttons that would do nothing are not shown.
        assert not any(e.is_displayed() for e in elements(page, "button"))
        assert all(e.is_displayed() for e in elements(page, "#examples h3"))
    finally:
        page.execute_cdp_cmd(
            "Emulation.setScriptExecutionDisabled", {"value": False}
        )


def test_scripts_of_others_do_not_run(page):
    """Should a name ever get past the escaping."""
    page.execute_script(
        "const s = document.createElement('script');"
        "s.textContent = 'window.ran = true'; document.body.append(s)"
    )
    assert page.execute_script("return window.ran") is None
    time.sleep(0.1)
    assert "Content Security Policy" in str(page.get_log("browser"))


def test_what_a_screen_reader_needs(page):
    assert elements(page, "html")[0].get_attribute("lang") == "en"
    for landmark in ("header", "nav", "main"):
        assert len(elements(page, landmark)) == 1
    page.execute_script(
        "document.querySelectorAll('details').forEach(e => { e.open = true })"
    )
    for element in elements(page, "img, svg[role=img], button, summary"):
        assert element.accessible_name.strip()
    for element in elements(page, "article, section, [role=group], nav"):
        assert element.accessible_name.strip()
    # Drawings either have a name, or repeat what is written beside them.
    assert not elements(page, "svg:not([role=img]):not([aria-hidden=true])")
    assert not elements(page, "table:not(:has(> caption))")
    assert not elements(page, "th:not([scope])")
    missing = page.execute_script(
        """const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
        const wanted = [...document.querySelectorAll("nav a")].map(
          a => a.hash.slice(1));
        return [ids.length - new Set(ids).size,
          wanted.filter(id => !ids.includes(id))]"""
    )
    assert missing == [0, []]
    levels = [int(e.tag_name[1]) for e in elements(page, "h1, h2, h3, h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    for before, after in itertools.pairwise(levels):
        assert after <= before + 1


# As WCAG 2 defines it, of everything that is shown: texts, and what is drawn.
CONTRASTS = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d");
const parse = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = (color) => {
  const [r, g, b] = color.slice(0, 3).map(x => x / 255).map(
    x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = parse(getComputedStyle(e).backgroundColor);
    if (color[3] === 255) return color;
  }
};
const contrast = (color, element) => {
  const [a, b] = [luminance(parse(color)), luminance(behind(element))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
for (const details of document.querySelectorAll("details")) details.open = true;
const found = {};
const note = (kind, value, element) => {
  if (!(kind in found) || value < found[kind][0]) {
    found[kind] = [value, element.outerHTML.slice(0, 120)];
  }
};
for (const e of document.querySelectorAll("body *")) {
  if (!e.checkVisibility()) continue;
  const style = getComputedStyle(e);
  const texts = [...e.childNodes].some(
    n => n.nodeType === 3 && n.textContent.trim());
  if (texts && !e.closest("script, style")) {
    note("text", contrast(e.closest("svg") ? style.fill : style.color, e), e);
  }
  if (e.matches("rect.fixed, rect.broken, rect.for, rect.against, rect.plain"))
    note("drawing", contrast(style.fill, e.closest("svg").parentElement), e);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page, scheme):
    emulate(page, scheme=scheme)
    found = page.execute_script(CONTRASTS)
    assert found["text"][0] >= 4.5, found["text"]
    assert found["drawing"][0] >= 3, found["drawing"]
