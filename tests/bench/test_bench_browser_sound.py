"""The players of the report in a real browser."""

import time

import pytest

pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra 'test'")
for package in ("av", "soxr", "scipy"):
    pytest.importorskip(package, reason="needs the extra 'benchmark-sound'")

import browsers
import soundfile
from sound_samples import voice

from vqcodec.cli import main

pytestmark = browsers.needed


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    (folder / "in").mkdir()
    for name, seed in (("a", 0), ("b", 1)):
        sound = voice(3.0, seed=seed)
        soundfile.write(folder / "in" / f"{name}.flac", sound.samples, sound.rate)
    code = main.main(["benchmark", str(folder / "in"), "--out", str(folder / "out"), "--codecs", "opus,opus-packets",
                      "--metrics", "log-mel", "--compare", "8", "--timing-files", "0"], standalone_mode=False)
    assert code == 0
    return folder / "out" / "index.html"


@pytest.fixture
def browser(page, tmp_path):
    with browsers.opened(page, tmp_path / "profile") as driver:
        driver.implicitly_wait(5)
        driver.set_script_timeout(30)
        yield driver


STATE = "return [...document.querySelectorAll('audio')].map(a => [a.paused, a.currentTime, a.duration])"


def wait(browser, condition):
    end = time.monotonic() + 30
    while not condition(state := browser.execute_script(STATE)):
        assert time.monotonic() < end, state
        time.sleep(0.05)
    return state


def test_recordings_load_without_any_request(browser):
    state = wait(browser, lambda state: all(duration for _, _, duration in state))
    assert [duration for _, _, duration in state] == pytest.approx([3.0] * 6, abs=1e-3)
    assert not [entry for entry in browser.get_log("performance") if '"url":"http' in entry["message"]]


def test_choosing_a_version_goes_on_at_the_same_place(browser):
    wait(browser, lambda state: all(duration for _, _, duration in state))
    first = browser.find_element("css selector", ".listen")
    browser.execute_script("""
        const seek = document.querySelector(".seek");
        seek.value = 0.5;
        seek.dispatchEvent(new Event("input"))""")
    assert browser.execute_script(STATE)[0][1] == pytest.approx(1.5, abs=0.01)
    _, second, _ = first.find_elements("css selector", ".versions button")
    second.click()
    assert browser.execute_script(STATE)[1][1] == pytest.approx(1.5, abs=0.01)
    assert second.get_attribute("aria-pressed") == "true"
    assert "kbps" in first.find_element("css selector", ".line").text
    second.send_keys("3")
    third = browser.execute_script(STATE)[2]
    assert third[0] and third[1] == pytest.approx(1.5, abs=0.01)


def test_one_plays_at_a_time_and_stops_at_the_end(browser):
    wait(browser, lambda state: all(duration for _, _, duration in state))
    one, other = browser.find_elements("css selector", ".play")
    one.click()
    wait(browser, lambda state: state[0][1] > 0.2)
    browser.find_elements("css selector", ".listen")[0].find_elements("css selector", ".versions button")[2].click()
    state = wait(browser, lambda state: not state[2][0])
    assert state[0][0] and state[2][1] > 0.2
    other.click()
    state = wait(browser, lambda state: not state[3][0])
    assert [paused for paused, _, _ in state] == [True, True, True, False, True, True]
    wait(browser, lambda state: state[3][1] == pytest.approx(3.0, abs=0.01))
    wait(browser, lambda state: browser.execute_script("return arguments[0].textContent", other) == "▶")
