"""The report in a real browser: headless Chromium, driven with real mouse events."""

import pytest
from PIL import Image

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra 'test'")
for package in ("scipy", "pytorch_msssim", "ssimulacra2"):
    pytest.importorskip(package, reason="needs the extra 'benchmark'")

import browsers
from conftest import synthetic_picture

from vqcodec.cli import main

pytestmark = browsers.needed

@pytest.fixture(scope="module")
def page(tmp_path_factory, tiny_model_dir):
    """The path of a report."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "pictures").mkdir()
    Image.fromarray(synthetic_picture(200, 300, 1)).save(folder / "pictures" / "a.png")
    code = main.main(["benchmark", str(folder / "pictures"), "--out", str(folder / "out"), "--codecs",
                      "vqcodec,jpeg,webp,avif", "--metrics", "psnr", "--effort", "0", "--compare", "0.5",
                      "--models-dir", str(tiny_model_dir), "--timing-pictures", "0"], standalone_mode=False)
    assert code == 0
    return folder / "out" / "index.html"


@pytest.fixture
def browser(page, tmp_path):
    with browsers.opened(page, tmp_path / "profile") as driver:
        yield driver


def find(browser, selector):
    return browser.find_element("css selector", selector)


def divider(browser) -> float:
    """Where the divider stands, in parts of the view's width."""
    return browser.execute_script("""
        const box = document.querySelector(".view").getBoundingClientRect();
        const line = document.querySelector(".divider").getBoundingClientRect();
        return (line.left + line.width / 2 - box.left) / box.width""")


def drag(browser, start, end):
    """With the left button, between two points in parts of the view from its centre."""
    view = find(browser, ".view")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    width, height = view.size["width"], view.size["height"]
    actions = webdriver.ActionChains(browser, duration=20)
    actions.move_to_element_with_offset(view, round(start * width), 0).click_and_hold()
    actions.move_to_element_with_offset(view, round(end * width), round(0.1 * height)).release().perform()


def test_images_load_without_any_request(browser):
    sizes = browser.execute_async_script("""
        const done = arguments[0], images = [...document.images];
        Promise.all(images.map(i => i.decode())).then(() => done(images.map(i => [i.naturalWidth, i.naturalHeight])))""")
    assert sizes == [[300, 200]] * 5  # the original and four codecs
    assert "Network.requestWillBeSent" in str(log := browser.get_log("performance"))
    assert not [entry for entry in log if '"url":"http' in entry["message"]]


def test_the_divider_follows_the_mouse_and_cuts_the_pictures(browser):
    assert divider(browser) == pytest.approx(0.5, abs=0.01)
    drag(browser, 0, -0.3)
    assert divider(browser) == pytest.approx(0.2, abs=0.01)
    left, right = browser.execute_script("""
        return [".left", ".right"].map(side => document.querySelector(".match select" + side).value)
            .map(i => document.querySelector(`.stage img[data-version="${i}"]`).style.clipPath)""")
    assert left.startswith("inset(0px ") and right.startswith("inset(0px 0px 0px ")
    width = float(left.split()[1][:-2])
    assert width == pytest.approx(300 - float(right.split()[3][:-3]), abs=0.1) and 200 < width < 280
    drag(browser, -0.3, 0.4)
    assert divider(browser) == pytest.approx(0.9, abs=0.01)


def test_arrow_keys_move_the_divider(browser):
    find(browser, ".view").send_keys("\ue012" * 5)  # left
    assert divider(browser) < 0.5


def test_zoom_and_choice_of_codec(browser):
    scale = "return new DOMMatrix(getComputedStyle(document.querySelector('.stage')).transform).a"
    browser.execute_script("document.querySelector('.match').scrollIntoView()")
    find(browser, "[data-zoom='4']").click()
    assert browser.execute_script(scale + " * devicePixelRatio") == pytest.approx(4)
    find(browser, "[data-zoom='fit']").click()
    assert browser.execute_script(scale) != pytest.approx(4)
    find(browser, "select.right option:last-child").click()
    assert find(browser, ".right-line b").text == "AVIF"
    visible = [i.get_attribute("alt") for i in browser.find_elements("css selector", ".stage img") if i.is_displayed()]
    assert visible == ["vqcodec tiny", "AVIF"]


def test_hovering_a_point_says_what_it_is(browser):
    dot = find(browser, ".plot circle[data-tip^='JPEG|']")
    webdriver.ActionChains(browser, duration=20).move_to_element(dot).perform()
    tip = find(browser, "#tip")
    assert browser.execute_script("return document.getElementById('tip').style.opacity") == "1" and "bpp" in tip.text
    assert tip.text.splitlines()[0] in ("JPEG", "WebP", "AVIF", "vqcodec tiny")
