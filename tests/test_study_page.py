"""The raters' page in a browser: scores by keyboard, order, gaps, what it keeps and what it saves."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench import study
from bench.contracts import MethodRow
from bench.study import Key, Shown

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=4000")  # fmt: skip

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium or Chrome on the path")

HELPERS = """
const key = name => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const keys = text => text.split(" ").forEach(key);
const begin = name => { element("rater").value = name; element("who").requestSubmit(); };
const shown = () => study.pictures.find(one => one.source === element("picture").src).code;
const tell = told => {
  const place = document.createElement("pre");
  place.id = "told";
  place.textContent = JSON.stringify(told);
  document.body.append(place);
};
"""

Drive = Callable[..., Any]


def make_key(scale: str, count: int, raters: int | None = None) -> Key:
    row = MethodRow("gamma", "Gamma", "classical")
    pictures = tuple(Shown(f"code{place}", "gamma", "set", f"p{place}", "") for place in range(count))
    return Key("5tudy", scale, 0, raters, {}, (row,), {"set": "Set"}, pictures)


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """Opens a study's page, runs a script in it and returns what the script tells."""

    def run(key: Key, script: str, before: str = "") -> Any:
        files = {}
        for place, one in enumerate(key.pictures):
            stream = io.BytesIO()
            Image.new("RGB", (32, 24), (place * 20, 90, 200)).save(stream, "WEBP")
            files[one.code] = stream.getvalue()
        text = study.page(key, files, {})
        text = text.replace("<body>", f"<body><script>{before}</script>")
        text = text.replace("</body>", f"<script>{HELPERS}{{ {script} }}</script></body>")
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        words = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom"]
        done = subprocess.run(
            [*words, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert found, f"the script told nothing: {said}"
        return json.loads(html.unescape(found[1]))

    return run


def test_three_pictures_scored_by_keyboard_come_back_as_a_file(drive, tmp_path):
    told = drive(
        make_key("drgn", 3),
        """
        begin("  Anna   B. ");
        const codes = [shown()];
        keys("4 Enter 3 . 5 Enter");                      // 4 and 3.5
        codes.push(shown());
        keys("2 ArrowRight ArrowDown 9 5 ArrowLeft");     // 2.5 and, 9 being no score, 4.5
        keys("Backspace");
        const back = shown();
        keys("Enter Enter");
        keys("ArrowRight Delete 1 Enter ArrowLeft");      // the third: 1 and, from nothing downwards, 5
        codes.push(shown());
        keys("Enter");
        const title = element("end-title").textContent;
        let name, file;
        HTMLAnchorElement.prototype.click = function () { name = this.download; };
        URL.createObjectURL = blob => { file = blob; return "blob:x"; };
        element("save").click();
        file.text().then(text => tell({ codes, back, title, name, text, shown: element("text").value }));
        """,
    )
    assert told["title"] == "All 3 pictures are scored. Thank you!"
    assert told["name"] == "scores-Anna-B.json"
    assert told["text"].strip() == told["shown"]
    sent = json.loads(told["text"])
    assert (sent["format"], sent["study"], sent["rater"], sent["complete"]) == (
        "lowlight-bench study scores 1", "5tudy", "Anna B.", True
    )  # fmt: skip
    given = [(4, 3.5), (2.5, 4.5), (1, 5)]
    assert sent["scores"] == [
        {"picture": code, "naturalness": one, "colour": other}
        for code, (one, other) in zip(told["codes"], given, strict=True)
    ]
    assert told["back"] == told["codes"][0]
    (tmp_path / "sent.json").write_text(told["text"], encoding="utf-8")
    outcome = study.score([tmp_path / "sent.json"], make_key("drgn", 3))
    assert outcome.problems == ()
    assert {one.shown.code: one.value for one in outcome.ratings if one.scale.name == "naturalness"} == {
        code: one for code, (one, _) in zip(told["codes"], given, strict=True)
    }


def test_each_rater_has_an_order_which_is_always_the_same(drive):
    told = drive(
        make_key("jcrnet", 12),
        "tell(['1', '2', 'Anna', 'ANNA', '2'].map(name => orderFor(name).map(one => one.code)));",
    )
    one, two, anna, capital, again = (tuple(order) for order in told)
    assert {len(set(order)) for order in (one, two, anna)} == {12}
    assert len({one, two, anna, tuple(sorted(one))}) == 4
    assert (two, anna) == (again, capital)


def test_gaps_are_listed_and_a_closed_page_goes_on_where_it_was(drive):
    told = drive(
        make_key("jcrnet", 3, raters=4),
        """
        if (!sessionStorage.getItem("seen")) {
          sessionStorage.setItem("seen", "yes");
          begin("3");
          keys("0 Enter");                                 // 0 is 10
          keys("Enter");                                   // without a score it stays
          const stays = [element("place").textContent, element("hint").textContent];
          sessionStorage.setItem("first", JSON.stringify([orderFor("3")[0].code, stays]));
          location.reload();
        } else {
          element("rater").value = "3";
          element("rater").dispatchEvent(new Event("input"));
          const resume = element("resume").textContent;
          begin("3");
          const place = element("place").textContent;
          element("finish").click();
          const gaps = [...element("gaps").querySelectorAll("button")].map(one => one.textContent);
          const sheet = JSON.parse(element("text").value);
          element("gaps").querySelectorAll("button")[1].click();
          tell({ first: JSON.parse(sessionStorage.getItem("first")), resume, place, gaps, sheet,
                 title: element("end-title").textContent, then: element("place").textContent });
        }
        """,
    )
    code, stays = told["first"]
    assert stays[0] == "2 of 3" and stays[1].startswith("no score yet")
    assert told["resume"] == "1 of 3 pictures are scored already; you go on from there."
    assert told["place"] == "2 of 3"
    assert told["title"] == "2 scores are missing"
    assert told["gaps"] == ["picture 2", "picture 3"]
    assert told["then"] == "3 of 3"
    assert told["sheet"]["complete"] is False
    assert [one["overall"] for one in told["sheet"]["scores"]] == [10, None, None]
    assert told["sheet"]["scores"][0]["picture"] == code


def test_a_browser_that_keeps_nothing_is_told_about_and_works(drive):
    told = drive(
        make_key("jcrnet", 1),
        """
        const warned = !element("storage").hidden;
        begin("Anna");
        document.querySelector("input[value='7']").click();
        const active = document.activeElement.id;
        keys("Enter");
        tell({ warned, active, sheet: JSON.parse(element("text").value) });
        """,
        before="Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } });",
    )
    assert told["warned"]
    assert told["active"] == "scale-overall"
    assert told["sheet"]["scores"] == [{"picture": "code0", "overall": 7}]
