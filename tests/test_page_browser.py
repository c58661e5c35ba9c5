"""report.html in a real browser: sort, filter, open a picture, drag and zoom by mouse and keys, without an error."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import plugins
from bench.contracts import Cell, Column, MethodRow, Record, Report, Result, Table, View

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no chromium or google-chrome on this machine"),
    pytest.mark.skipif(sys.platform == "win32", reason="the browser is spoken to through inherited pipes"),
]

PATIENCE = 60.0
"""Seconds that a busy machine may take for one answer."""
WIDTH, HEIGHT = 1000, 800
PICTURES = 42
HOSTILE = "<img src=x onerror=alert(1)>\"'&"


class Browser:
    """Headless Chromium, spoken to in the DevTools protocol: JSON with a null byte behind it, through two pipes."""

    def __init__(self, profile: Path) -> None:
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # Numbers above 9 first, so that neither pipe is overwritten when the child's 3 and 4 are made of them.
        given, taken = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (commands, answers))
        words = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-sync", "--disable-background-networking", "--disable-component-update",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", "about:blank",
        ]  # fmt: skip
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, given, 3), (os.POSIX_SPAWN_DUP2, taken, 4)]
        self._process = os.posix_spawn(CHROMIUM, words, os.environ, file_actions=[*quiet, *pipes], setpgroup=0)
        for end in (commands, answers, given, taken):
            os.close(end)
        self._waiting = b""
        self._count = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: object) -> dict[str, Any]:
        """The answer to one command; events that come before it are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._read], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            came = os.read(self._read, 1 << 20)
            assert came, "the browser is gone"
            self._waiting += came
        text, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(text)

    def open(self, page: Path) -> None:
        """Load a page and forget what happened before."""
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def ask(self, code: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, code: str) -> None:
        """Wait for an expression to become true."""
        end = time.monotonic() + PATIENCE
        while not self.ask(code):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.03)

    def key(self, key: str, modifiers: int = 0) -> None:
        """Press and release; 8 for Shift."""
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        fields = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0), "modifiers": modifiers}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **fields)
        self.send("Input.dispatchKeyEvent", type="keyUp", **fields)

    def mouse(self, kind: str, x: float, y: float, **fields: object) -> None:
        """One mouse event at a place of the window."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", **fields)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place, move in two steps, release at another."""
        self.mouse("mousePressed", *start, buttons=1, clickCount=1)
        for share in (0.5, 1.0):
            place = (a + (b - a) * share for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", *place, buttons=1)
        self.mouse("mouseReleased", *end, buttons=0, clickCount=1)

    def place(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height in the window."""
        found = self.ask(
            f"(({{x, y, width, height}}) => [x, y, width, height])({one(selector)}.getBoundingClientRect())"
        )
        return tuple(found)  # type: ignore[return-value]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, uncaught exceptions, violations of the page's own security policy."""
        self.ask("0")
        kinds = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [json.dumps(event) for event in self.events if event.get("method") in kinds]

    def addresses(self) -> list[str]:
        """Everything that was asked for."""
        self.ask("0")
        events = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in events]

    def close(self) -> None:
        """End the browser and its children, which are a process group of their own."""
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._read)
        os.close(self._write)


def one(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


def texts(selector: str) -> str:
    return f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent.trim())"


def visible(selector: str) -> str:
    return (
        f"[...document.querySelectorAll({json.dumps(selector)})].filter((node) => node.getClientRects().length).length"
    )


def run(folder: Path) -> Result:
    """42 pictures by three methods; the middle one is the best, the last one the fastest."""
    rows = (
        MethodRow("input", "Input", "none"),
        MethodRow("good", "Good", "paired"),
        MethodRow("fast", HOSTILE, "paired"),
    )
    columns = tuple(
        Column("d", "Data", "native-8bit", name, name.upper(), higher, "", 2, "a definition")
        for name, higher in (("psnr", True), ("niqe", False))
    )
    quality = {"input": 10.0, "good": 30.0, "fast": 20.0}
    cells = {
        (name, column): Cell(mean, PICTURES, 0, 0, mean - 1, mean + 1, None, 1, "")
        for name, mean in quality.items()
        for column in columns
    }
    images = [str(at) for at in range(1, PICTURES + 1)]
    records = tuple(
        Record(name, "d", "native-8bit", image, column.metric, mean + at % 7, None)
        for name, mean in quality.items()
        for column in columns
        for at, image in enumerate(images)
    )
    shades = {"low": 20, "input": 20, "good": 120, "fast": 90, "reference": 130}
    small, whole, views = {}, {}, {}
    counts = np.bincount([0, 255], minlength=256) * 50
    for name, shade in shades.items():
        small[name], whole[name] = folder / f"thumbnails/{name}.webp", folder / f"views/{name}.webp"
        for file, size in ((small[name], (24, 16)), (whole[name], (96, 64))):
            file.parent.mkdir(exist_ok=True)
            Image.new("RGB", size, (shade, shade, shade // 2)).save(file)
        histogram = dict.fromkeys(("luma", "red", "green", "blue"), np.roll(counts, shade))
        said = {"corners": np.array([[10.0, 10, 40, 30]]), "scores": np.array([0.8]), "classes": np.array([0])}
        error = whole[name] if name != "reference" else None
        views[name] = View(whole[name], error, histogram, {"detection": said} if name in quality else {})
    truth = {
        "corners": np.array([[12.0, 9, 44, 33]]),
        "classes": np.array([0]),
        "ignored": np.array([False]),
        "areas": np.array([9.0]),
        "size": np.array([96, 64]),
    }
    return Result(
        table=Table(rows, columns, cells),
        records=records,
        manifest={"device": "cpu"},
        folder=folder,
        thumbnails={("d", image, name): file for image in images for name, file in small.items()},
        views={("d", image, name): view for image in images for name, view in views.items()},
        truths={("d", image, "detection"): truth for image in images},
        classes={"d": (HOSTILE,)},
        seconds={("good", "d"): (0.5,) * 3, ("fast", "d"): (0.005,) * 3},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    page = folder / "report.html"
    report = plugins.load(Report, plugins.Spec.parse("html"))()
    page.write_text(report.render(run(folder)), encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Browser, written: Path) -> Iterator[Browser]:
    """The page, fresh; whatever a test did, nothing complained and nothing came from elsewhere."""
    browser.open(written)
    yield browser
    assert browser.complaints() == []
    beside = written.parent.as_uri()
    assert [url for url in browser.addresses() if not url.startswith((beside, "data:"))] == []


def opened(page: Browser, tile: int = 1) -> None:
    """Open the first picture by keyboard, at the tile of one method (low, good, fast, reference)."""
    page.ask(f"document.querySelectorAll('.gallery .open')[{tile}].focus()")
    page.key("Enter")
    assert page.ask(f"{one('#viewer')}.open")


def test_a_click_on_a_column_puts_the_best_on_top_then_the_worst_then_the_runs_order(page):
    names = texts(".results tbody tr th")
    for best in ("Good", "Input", "Input"):
        page.ask(f"{one('.results .sort[data-first]')}.click()")
        assert page.ask(names)[0].startswith(best)
    assert len(page.ask(names)) == 3


def test_the_filter_hides_methods_in_every_table_and_chart_but_the_low_picture_stays(page):
    page.ask(f"{one('#filter')}.focus()")
    for letter in "good":
        page.key(letter)
    assert page.ask(visible(".results tbody tr")) == 1
    assert page.ask(visible(".gallery thead th")) == 4  # picture, low, good, reference
    assert page.ask(visible(".violin")) == 2


def test_a_gallery_finds_orders_and_shows_more_pictures(page):
    rows, first = "document.querySelectorAll('.gallery tbody tr').length", texts(".gallery tbody th")
    assert page.ask(rows) == 40
    page.ask(f"{one('#d-native-8bit-order')}.selectedIndex = 1")
    page.ask(f"{one('#d-native-8bit-order')}.dispatchEvent(new Event('change'))")
    assert page.ask(first)[:6] == ["1", "8", "15", "22", "29", "36"]  # the lowest PSNR, every seventh picture
    page.ask(f"{one('#d-native-8bit-further')}.click()")
    assert page.ask(rows) == PICTURES
    page.ask(f"{one('#d-native-8bit-find')}.focus()")
    page.key("4")
    page.key("2")
    assert page.ask(first) == ["42"]


def test_the_chart_of_speed_shows_the_chosen_metric(page):
    page.ask(f"{one('#d-native-8bit-speed')}.selectedIndex = 1")
    page.ask(f"{one('#d-native-8bit-speed')}.dispatchEvent(new Event('change'))")
    assert page.ask(texts("#d-native-8bit-speeds svg:not([hidden]) .axis .start")) == ["NIQE, better is up"]


def test_enter_opens_a_picture_with_the_whole_picture_and_escape_gives_the_focus_back(page):
    assert not any("/views/" in address for address in page.addresses())
    opened(page)
    page.until("[...document.querySelectorAll('#viewer-compare .whole')].every((one) => one.naturalWidth === 96)")
    assert page.ask(texts("#viewer-compare .name")) == ["Low (Input)", "Good"]
    page.key("Escape")
    assert not page.ask(f"{one('#viewer')}.open")
    assert page.ask("document.activeElement.getAttribute('aria-label')") == "Open picture 1, Good"


def test_the_divider_follows_the_mouse_and_the_arrow_keys(page):
    opened(page)
    left, top, width, height = page.place("#viewer-compare")
    page.drag((left + 0.5 * width, top + 0.4 * height), (left + 0.25 * width, top + 0.4 * height))
    assert float(page.ask(f"{one('#viewer-divider')}.value")) == pytest.approx(25, abs=1)
    shown = f"getComputedStyle({one('#viewer-compare .half')}).clipPath"
    assert page.ask(shown).startswith("inset(0")
    before = page.ask(shown)
    page.key("ArrowRight")
    assert float(page.ask(f"{one('#viewer-divider')}.value")) == pytest.approx(25.5, abs=1)
    assert page.ask(shown) != before


def test_keys_and_buttons_go_to_the_next_picture_and_back(page):
    opened(page)
    page.key("n")
    assert page.ask(texts("#viewer-title, #viewer-place")) == ["2", "2 of 42"]
    page.ask(f"{one('#viewer-back')}.click()")
    page.key("p")
    assert page.ask(texts("#viewer-title, #viewer-place")) == ["1", "1 of 42"]


def test_all_methods_zoom_and_move_together(page):
    opened(page)
    page.key("g")
    stage = "#viewer-grid .stage"
    assert page.ask(f"document.querySelectorAll('{stage}').length") == 4
    transforms = f"[...document.querySelectorAll('{stage} .layer')].map((one) => getComputedStyle(one).transform)"
    left, top, width, height = page.place(stage)
    page.mouse("mouseWheel", left + width / 2, top + height / 2, deltaX=0, deltaY=-600, modifiers=2)
    page.until(f"{one('#viewer-scale')}.textContent !== '100 %'")
    zoomed = page.ask(transforms)
    assert len(set(zoomed)) == 1 and not zoomed[0].startswith("matrix(1,")
    page.drag((left + 0.5 * width, top + 0.3 * height), (left + 0.3 * width, top + 0.3 * height))
    moved = page.ask(transforms)
    assert len(set(moved)) == 1 and moved != zoomed
    page.key("ArrowLeft")
    assert page.ask(transforms) != moved
    page.key("0")
    assert page.ask(transforms)[0] == "matrix(1, 0, 0, 1, 0, 0)"


def test_a_zoom_box_moves_by_mouse_and_keys_on_all_methods_with_its_enlargement(page):
    opened(page)
    page.key("g")
    left, top, width, height = page.place("#viewer-grid .zoombox")
    crops = "[...document.querySelectorAll('.crop.box-0 .layer')].map((one) => getComputedStyle(one).left)"
    before = page.ask(crops)
    page.drag((left + width / 2, top + height / 2), (left + width, top + height / 2))
    after = page.ask(crops)
    assert len(set(after)) == 1 and after != before
    assert page.place("#viewer-grid .zoombox")[0] == pytest.approx(left + width / 2, abs=1)
    page.key("ArrowDown")
    assert page.place("#viewer-grid .zoombox")[1] > top


def test_error_maps_are_brightened_by_a_stated_factor(page):
    opened(page)
    page.ask(f"{one('#viewer-show')}.value = '4'")
    page.ask(f"{one('#viewer-show')}.dispatchEvent(new Event('change'))")
    assert "64 levels" in page.ask(f"{one('#viewer-says')}.textContent")
    assert page.ask(f"getComputedStyle({one('#viewer-compare .whole')}).filter") == "brightness(4)"


def test_found_and_true_boxes_lie_over_the_picture_and_can_be_hidden(page):
    opened(page)
    assert page.ask(texts("#viewer-compare .half .found text")) == [f"{HOSTILE} 0.80"]
    assert page.ask(texts("#viewer-compare .half .truth text")) == [HOSTILE]
    stage, box = page.place("#viewer-compare"), page.place("#viewer-compare .half .found rect")
    # 10 of 96 pixels from the left, 10 of 64 from the top.
    assert (box[0] - stage[0]) / stage[2] == pytest.approx(10 / 96, abs=0.01)
    assert (box[1] - stage[1]) / stage[3] == pytest.approx(10 / 64, abs=0.01)
    page.ask(f"{one('#viewer-found')}.click()")
    assert page.ask(visible("#viewer-compare .found rect")) == 0
    assert page.ask(visible("#viewer-compare .truth rect")) == 2


def test_histograms_stand_with_their_distance_to_the_reference(page):
    opened(page)
    # Half of the pixels go from 20 to 120 and half from 19 to 119; the reference is at 130 and 129.
    said = page.ask(texts("#viewer-pair figcaption span"))
    assert [text.split("EMD ")[1] for text in said] == ["110.0"] * 4 + ["10.0"] * 4
    assert page.ask(visible("#viewer-pair .histograms .other")) == 8


def test_a_best_picture_opens_from_the_list(page):
    page.ask(f"{one('.extremes td:last-child .open')}.click()")
    assert page.ask(texts("#viewer-compare .name"))[1] == "Good"


def test_the_button_changes_the_theme_and_the_system_chooses_it_at_first(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = page.ask(ground)
    page.ask(f"{one('#theme')}.click()")
    light = page.ask(ground)
    page.send("Emulation.setEmulatedMedia", features=[])
    page.ask("localStorage.clear()")
    assert (dark, light) == ("rgb(21, 23, 26)", "rgb(252, 252, 250)")


def test_a_phone_needs_no_sideways_scrolling(page):
    page.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    widths = [page.ask("document.documentElement.scrollWidth")]
    opened(page)
    widths.append(page.ask(f"{one('#viewer')}.scrollWidth"))
    page.key("g")
    widths.append(page.ask(f"{one('#viewer')}.scrollWidth"))
    page.send("Emulation.clearDeviceMetricsOverride")
    assert max(widths) <= 390


def test_a_page_taken_away_from_its_pictures_shows_thumbnails_and_says_so(browser, written, tmp_path):
    alone = tmp_path / "report.html"
    shutil.copy(written, alone)
    browser.open(alone)
    opened(browser)
    browser.until(f"{one('#viewer-says')}.textContent.includes('thumbnails are shown')")
    assert browser.ask(f"{one('#viewer-compare .whole')}.naturalWidth") == 24
