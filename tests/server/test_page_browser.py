"""The page in a headless Chromium, as a person uses it: what it shows, asks for, and says on its console."""

import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from tests.data.test_dicom import saved as dicom_file
from tests.data.test_grey import a_radiograph
from tests.server.browser import BROWSER, Browser
from tests.server.standin import ODD_ID, png, served

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH; apt-get install chromium")
TOKEN = "a-token-of-some-length"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "dark.png").write_bytes(png(0))
    (folder / "light.png").write_bytes(png(200))
    (folder / "fluid.png").write_bytes(png(222))
    Image.new("L", (40, 30), 7).save(folder / "flat.jpg")
    dicom_file(folder, a_radiograph(60, 40), "deep.dcm", bits=12, PatientName="Secret^Jane")
    (folder / "broken.png").write_bytes(png()[:60])
    return folder


@pytest.fixture(scope="module")
def port():
    with served() as client:
        yield client.port


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(browser, port):
    """The page, freshly opened; it must leave the console empty, and ask this machine only."""
    browser.console.clear()
    browser.requests.clear()
    browser.open(f"http://localhost:{port}/")
    browser.until("document.querySelectorAll('#method option').length === 4")
    yield browser
    assert browser.console == []
    assert all(re.match(rf"(blob:)?http://localhost:{port}/|data:,$", address) for address in browser.requests)


def text(page, selector):
    return page.js(f"document.querySelector({json.dumps(selector)}).innerText")


def count(page, selector):
    return page.js(f"document.querySelectorAll({json.dumps(selector)}).length")


def drop(page, *files):
    page.drop(300, 300, files)
    page.until(f"document.querySelectorAll('#strip img, #strip .bad').length === {len(files)}")
    page.until("document.querySelectorAll('#draft .sentence').length > 0")


def shown(page):
    """The canvas's middle, its grey."""
    return page.js(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {"
        "const x = document.createElement('canvas').getContext('2d', {willReadFrequently: true});"
        "x.drawImage(view, -Math.round(view.width / 2), -Math.round(view.height / 2));"
        "done(x.getImageData(0, 0, 1, 1).data[0]); })))"
    )


def test_it_says_what_it_is_and_what_it_was_trained_on(page):
    assert "Not a medical device" in text(page, "#notice")
    assert "drawn" in text(page, "#notice")
    assert "phantom (drawn) · 24 studies" in text(page, "#about")


def test_a_dropped_file_gets_a_draft_and_each_sentence_its_evidence(page, files):
    drop(page, files / "dark.png")
    assert text(page, "#draft .sentence span") == "No pleural effusion."
    assert "neighbours say the contrary" in text(page, "#draft .sentence")
    assert page.js("document.querySelector('.sentence').getAttribute('aria-expanded')") == "false"
    page.js("document.querySelector('.sentence').focus()")
    page.key("Enter")
    page.until("[...document.querySelectorAll('.evidence p')].every(p => p.textContent !== '…')")
    assert page.js("document.querySelector('.sentence').getAttribute('aria-expanded')") == "true"
    assert "say so" in text(page, ".evidence h3")
    assert "No pleural effusion." in text(page, ".evidence .study p")
    before = count(page, ".evidence .study")
    page.js("document.querySelector('.evidence > button').click()")
    assert count(page, ".evidence .study") > before
    page.until("[...document.querySelectorAll('.evidence img')].slice(0, 2).every(i => i.naturalWidth === 16)")


def corner(page):
    """The canvas just within the picture's upper left: red less blue."""
    return page.js(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {"
        "const x = document.createElement('canvas').getContext('2d', {willReadFrequently: true});"
        "const side = Math.min(view.width, view.height);"
        "x.drawImage(view, -(view.width - side) / 2 - side / 16, -(view.height - side) / 2 - side / 16);"
        "const [red, , blue] = x.getImageData(0, 0, 1, 1).data; done(red - blue); })))"
    )


def test_a_sentence_opens_its_region_on_the_picture(page, files):
    drop(page, files / "fluid.png", files / "dark.png")
    assert corner(page) == 0
    page.js("document.querySelector('.sentence').click()")
    page.until("document.querySelector('.region').textContent.startsWith('Orange')")
    assert "Of 40 drawn radiographs that show the like, it pointed at it in 75 %" in text(page, ".region")
    assert corner(page) > 50
    page.js("document.querySelector('.sentence').click()")
    assert corner(page) == 0
    page.js("document.querySelector('.sentence').click()")
    page.until("document.querySelector('.region').textContent.startsWith('Orange')")
    assert corner(page) > 50
    page.js("document.querySelectorAll('#strip button')[1].click()")  # a denial has none
    assert corner(page) == 0
    page.js("document.querySelector('.sentence').click()")
    assert page.js("document.querySelector('.region').hidden")
    assert corner(page) == 0


def test_neighbours_show_what_agrees_and_what_contradicts(page, files):
    drop(page, files / "dark.png")
    assert count(page, "#neighbours .study") == 5
    assert text(page, "#neighbours .agrees") == "No pleural effusion."
    assert text(page, "#neighbours .contradicts") == "Left pleural effusion."
    assert "<script>" in text(page, "#neighbours")
    assert count(page, "#neighbours script") == 0


def test_several_files_at_once_of_several_kinds(page, files):
    drop(page, *(files / name for name in ("light.png", "flat.jpg", "deep.dcm")))
    assert text(page, "#status") == "3 images"
    page.js("document.querySelectorAll('#strip button')[1].click()")
    assert text(page, ".warning").startswith("flat picture")
    page.js("document.querySelectorAll('#strip button')[2].click()")
    page.until("document.querySelectorAll('.warning').length === 0")
    assert "Secret" not in page.js("document.documentElement.outerHTML")
    assert [name for name in page.requests if "Jane" in name or "deep" in name] == []


def test_files_can_be_chosen_and_steps_go_by_keys(page, files):
    page.choose("#files", [files / "light.png", files / "dark.png"])
    page.until("document.querySelectorAll('#strip img').length === 2")
    current = (
        "[...document.querySelectorAll('#strip button')].findIndex(b => b.getAttribute('aria-current') === 'true')"
    )
    places = [page.js(current)]
    for key in "nnpp":
        page.key(key)
        places.append(page.js(current))
    assert places == [0, 1, 1, 0, 0]


def test_the_picture_is_moved_zoomed_and_windowed(page, files):
    drop(page, files / "flat.jpg")
    assert shown(page) == 7
    page.js("view.focus()")
    for key, expected in (("i", 248), ("i", 7)):
        page.key(key)
        assert shown(page) == expected
    for name, value in (("level", 7), ("width", 100)):
        page.js(f"{name}.value = {value}; {name}.dispatchEvent(new Event('input'))")
    assert shown(page) == pytest.approx(128, abs=1)
    at = page.js("parseInt(zoom.value)")
    page.key("+")
    shown(page)
    assert page.js("parseInt(zoom.value)") == pytest.approx(1.25 * at, abs=2)
    for _ in range(40):
        page.key("ArrowLeft")
    assert shown(page) == 0  # moved away
    page.key("0")
    assert shown(page) == pytest.approx(128, abs=1)
    box = page.js("(({x, y, width, height}) => [x + width / 2, y + height / 2])(view.getBoundingClientRect())")
    page.call("Input.dispatchMouseEvent", type="mouseWheel", x=box[0], y=box[1], deltaX=0, deltaY=-300)
    page.until(f"parseInt(zoom.value) > {at}")


def test_another_method_is_asked_for_when_it_is_chosen(page, files):
    drop(page, files / "dark.png")
    page.js("document.getElementById('in').click()")
    shown(page)
    at = page.js("zoom.value")
    page.js("method.value = 'sentences'; method.dispatchEvent(new Event('change'))")
    page.until("document.querySelectorAll('#draft .sentence').length > 1")
    shown(page)
    assert page.js("zoom.value") == at  # what was looked at stays


def test_a_draft_is_copied_and_saved(page, files):
    drop(page, files / "dark.png")
    page.js(
        "window.saved = []; window.blobs = []; URL.createObjectURL = blob => { blobs.push(blob); return 'blob:x'; };"
        "HTMLAnchorElement.prototype.click = function () { saved.push(this.download); }"
    )
    for kind in ("text", "json"):
        page.js(f"document.querySelector('[data-take=save][data-as={kind}]').click()")
    name, json_name = page.js("saved")
    plain, full = page.js("Promise.all(blobs.map(blob => blob.text()))")
    assert (name, json_name) == ("draft.txt", "draft.json")
    assert plain.startswith("No pleural effusion.\n")
    assert "Not a medical device" in plain
    assert set(json.loads(full)) == {"notice", "trained_on", "neighbours", "draft", "warnings"}
    page.js("document.querySelector('[data-take=copy]').click()")
    page.until("document.querySelector('[data-take=copy]').textContent === 'Copied'")


def test_a_search_shows_thumbnails_and_reports(page):
    page.js("words.focus()")
    page.call("Input.insertText", text="x" * 120)
    page.key("Enter")
    page.until("document.querySelectorAll('#found .study').length === 12")
    assert text(page, "#found .study h3").startswith(ODD_ID)
    page.until("document.querySelector('#found img').naturalWidth === 16")
    page.js("document.querySelector('#found button').click()")
    assert page.js("found.hidden")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_the_light_and_in_the_dark(page, port, files, dark):
    page.open(f"http://localhost:{port}/?{dark}", 390, 844, dark, phone=True)
    page.until("document.querySelectorAll('#method option').length === 4")
    drop(page, files / "dark.png", files / "light.png")
    page.js("document.querySelector('.sentence').click()")
    assert page.js(WIDE) <= 0
    heights = "[...document.querySelectorAll('button, select, .button')].map(b => b.offsetHeight).filter(Boolean)"
    assert min(page.js(heights)) >= 38
    paper = page.js("getComputedStyle(document.body).backgroundColor")
    assert (np.mean([int(value) for value in re.findall(r"\d+", paper)]) < 80) == dark


def test_a_bad_file_is_said_to_be_one(browser, port, files):
    browser.open(f"http://localhost:{port}/?bad")
    browser.until("document.querySelectorAll('#method option').length === 4")
    browser.drop(300, 300, [files / "broken.png"])
    browser.until("document.querySelectorAll('.fault').length === 1")
    assert "damaged image" in text(browser, ".fault")
    assert text(browser, "#status") == "1 could not be read"
    browser.console.clear()  # Chromium notes the status


def test_the_token_is_asked_for_once(browser, files):
    with served(token=TOKEN) as client:
        browser.open(f"http://127.0.0.1:{client.port}/")
        for given in ("wrong", TOKEN):
            browser.until("ask.open")
            browser.js(f"token.value = '{given}'; document.querySelector('#ask button').click()")
        browser.until("document.querySelectorAll('#method option').length === 4")
        assert not browser.js("ask.open")
        browser.open(f"http://127.0.0.1:{client.port}/?again")
        browser.until("document.querySelectorAll('#method option').length === 4")
        assert not browser.js("ask.open")
        assert TOKEN not in "".join(browser.requests)
    browser.console.clear()


def test_what_is_not_the_page_s_own_is_blocked(page, port):
    """That the tests above could see a request off the machine, and a fault."""
    page.js("fetch('http://a.invalid/').catch(() => 0)")
    page.js("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    end = time.monotonic() + 20
    while len(page.console) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert all("Content Security Policy" in line for line in page.console)
    assert len(page.console) >= 2
    assert page.js("window.ran") is None
    page.console.clear()
    page.requests.clear()
