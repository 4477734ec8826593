"""The frame of every page: its colours, its policy, and the script in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from radgaze.reporting.case_panels import panels
from radgaze.reporting.page import fill, script, slugs
from radgaze.reporting.shown_panels import Pictures
from tests.reporting.fakes import case

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def themes() -> dict[str, dict[str, str]]:
    """The colours of both themes, by name."""
    text = str(fill("", "{% extends 'base.html' %}", title="", navigation="", columns=1))
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w+)", rule)) for rule in re.findall(r":root {(.*?)}", text)[:2]
    )
    return {"light": light, "dark": light | dark}


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(theme: str) -> None:
    colours = themes()[theme]
    pairs = [(ink, back) for ink in ("ink", "muted", "blue") for back in ("page", "tint")]
    pairs += [(ink, "page") for ink in ("good", "bad")] + [("ink", back) for back in ("warned", "praised")]
    for ink, back in pairs:
        bright, dim = sorted((luminance(colours[ink]), luminance(colours[back])), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ink, back)


def test_the_dark_theme_is_for_screens_and_every_colour_has_one() -> None:
    light, dark = themes().values()
    assert {name for name in light if light[name] == dark[name]} == set()


def test_the_script_fetches_nothing_and_cannot_end_its_element() -> None:
    for word in ("</", "http", "fetch", "XMLHttp", "import", "eval", "innerHTML", "document.write"):
        assert word not in script()


PAGE = """{% extends "base.html" %}{% from "macros.html" import case_row, legend with context %}
{% block body %}<main><h1>t</h1>
<table><thead><tr><th scope="col">Name</th><th scope="col">Value</th></tr></thead><tbody>
<tr><th scope="row">b</th><td>0.50 [0.4, 0.6]</td></tr><tr><th scope="row">c</th><td>−0.25</td></tr>
<tr><th scope="row">d</th><td>–</td></tr><tr><th scope="row">a</th><td>1,200</td></tr>
<tr class="total"><th scope="row">mean</th><td>9</td></tr></tbody></table>
{{ legend() }}{{ case_row(one, case="one") }}{{ case_row(two, case="two") }}</main>{% endblock %}"""

STEPS = """<script>
const told = [];
const names = () => [...document.querySelectorAll("tbody th")].map((e) => e.textContent).join("");
const sorts = document.querySelectorAll("button.sort");
told.push(names());
sorts[1].click(); told.push(names() + document.querySelectorAll("thead th")[1].getAttribute("aria-sort"));
sorts[1].click(); told.push(names());
sorts[1].click(); told.push(names());
sorts[0].click(); told.push(names());
document.querySelectorAll("button.enlarge")[2].click();
const dialog = document.querySelector("dialog");
const press = (key) => dialog.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const map = () => document.querySelector(".stage image");
const box = () => document.querySelector(".stage").getAttribute("viewBox");
const chosen = () => document.querySelector(".maps input:checked").parentElement.textContent.trim();
told.push(dialog.open, document.getElementById("viewer-title").textContent, chosen());
const whole = box(); press("+"); told.push(box() !== whole); press("0"); told.push(box() === whole);
press("["); told.push(map().getAttribute("opacity"));
press("1"); told.push(chosen(), map().style.display);
press("n"); told.push(document.getElementById("viewer-title").textContent, chosen());
const result = document.createElement("pre"); result.id = "told"; result.textContent = JSON.stringify(told);
document.body.append(result);
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_tables_sort_and_cases_open_in_a_browser(tmp_path: Path) -> None:
    assert BROWSER is not None
    pictures = Pictures()
    one, two = (pictures.row(panels(case(name, size=48), "Guided backprop"), name) for name in "ab")
    text = str(fill("", PAGE, title="t", navigation="", columns=5, one=one, two=two))
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)  # for the steps alone
    path = tmp_path / "page.html"
    path.write_text(text.replace("</body>", STEPS + "</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [BROWSER, *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout)
    assert found is not None
    assert json.loads(html.unescape(found[1])) == [
        "bcdamean",
        "abcdmeandescending",
        "cbadmean",
        "bcdamean",
        "abcdmean",
        True,
        "one",
        "Grad-CAM",
        True,
        True,
        "0.9",
        "No map",
        "none",
        "two",
        "No map",
    ]


def test_no_two_classes_have_the_same_part_of_a_file_name() -> None:
    assert slugs(["Normal", "Lung lesion"]) == {"Normal": "Normal", "Lung lesion": "Lung_lesion"}
    names = ["Nodule <1cm", "Nodule >1cm", "Mass", "mass", "Normal"]
    parts = slugs(names)
    assert len({each.casefold() for each in parts.values()}) == len(names)
    assert parts["Normal"] == "Normal"
    assert parts["Nodule <1cm"] == slugs(names[::-1])["Nodule <1cm"]
    assert all(re.fullmatch(r"[\w-]+", each) for each in parts.values())
