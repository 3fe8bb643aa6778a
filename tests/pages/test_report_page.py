import base64
import dataclasses
import re
import warnings
import zlib
from pathlib import Path

import pandas as pd
import pytest

from scfe_sklearn.demo import open_loan_desk

LOOKS = [(390, False), (390, True), (1200, False), (1200, True)]


@pytest.fixture(scope="module")
def result():
    desk = open_loan_desk(900)
    explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(desk.decided(desk.X_test, "refused"), target="approved")


@pytest.fixture
def written(result, tmp_path):
    def write(explanation, name):
        path = Path(tmp_path, f"{name}.html")
        explanation.to_html(path)
        return path.as_uri()

    return write


def contrast(page):
    """Least contrast of text and what is behind it, after the rules of WCAG."""
    return page.run("""(() => {
      const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).slice(0, 3).map((c) => {
          const s = c / 255;
          return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
          const colour = getComputedStyle(e).backgroundColor;
          if (!/, 0\\)$/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
      };
      let least = 21;
      for (const e of document.querySelectorAll("body *")) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || !e.checkVisibility() || e.closest("select, svg")) continue;
        const a = light(getComputedStyle(e).color), b = light(behind(e));
        least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
      }
      return least;
    })()""")


@pytest.mark.parametrize("name", ["one", "many"])
@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_a_page_is_readable_everywhere(page, written, result, name, width, dark):
    url = written(result[0] if name == "one" else result[:40], name)
    page.look(width, dark=dark)
    page.open(url)
    picture = page.picture(f"report-{name}-{width}-{'dark' if dark else 'light'}")
    assert len(picture) > 20_000
    assert page.overflow() == 0
    assert contrast(page) >= 4.5
    assert page.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(18, 24, 29)" if dark else "rgb(246, 245, 241)"
    )
    assert page.problems(url) == []


def test_a_page_is_printed_in_ink_on_paper(page, written, result):
    url = written(result[:3], "printed")
    page.look(794, dark=True, printed=True)
    page.open(url)
    page.picture("report-printed")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.run("document.getElementById('filter').checkVisibility()")
    assert page.run("document.querySelector('.person .track').checkVisibility()")
    assert page.overflow() == 0 and contrast(page) >= 4.5
    assert page.pdf("report").startswith(b"%PDF")
    assert page.problems(url) == []


def test_search_and_status_choose_rows(page, written, result):
    url = written(result, "filter")
    page.look()
    page.open(url)
    shown = "[...document.querySelectorAll('.person')].filter((p) => !p.hidden).length"
    assert page.run(shown) == len(result)
    page.run("document.getElementById('filter-text').focus()")
    page.send("Input.insertText", text="CREDIT_score increase")
    wanted = sum(
        "credit_score" in page_text and "increase" in page_text
        for page_text in page.run(
            "[...document.querySelectorAll('.person')].map((p) => p.textContent.toLowerCase())"
        )
    )
    assert page.run(shown) == wanted and wanted > 0
    page.send("Input.insertText", text=" no such words")
    assert page.run(shown) == 0
    assert page.run("document.getElementById('filter-count').textContent").startswith("0 of")
    assert page.problems(url) == []


def test_a_page_needs_no_script_to_be_read(page, written, result):
    url = written(result[:6], "still")
    page.look()
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.send("Page.navigate", url=url)
    page.wait_for("document.readyState === 'complete'")
    page.run("document.querySelector('.person').open = true")
    assert page.run("document.querySelector('.person .track').checkVisibility()")
    assert not page.run("document.getElementById('filter').checkVisibility()")


def test_a_story_opens_by_keyboard(page, written, result):
    url = written(result[:6], "keys")
    page.look()
    page.open(url)
    page.run("document.querySelector('.person summary').focus()")
    for kind in ("keyDown", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter",
                  windowsVirtualKeyCode=13, text="\r")  # fmt: skip
    assert page.run("document.querySelector('.person').open")
    assert page.problems(url) == []


def test_the_browser_notices_what_is_wrong(page, tmp_path):
    path = tmp_path / "wrong.html"
    path.write_text(
        "<script>fetch('http://elsewhere.example/'); undefined.boom;</script>", encoding="utf-8"
    )
    page.open(path.as_uri())
    page.wait_for("performance.now() > 300")
    found = " ".join(page.problems(path.as_uri()))
    assert "request: http://elsewhere.example/" in found and "boom" in found


@pytest.mark.parametrize("width", [390, 1200])
def test_strange_names_stay_on_the_page(page, written, result, width):
    names = [
        "<script>document.title = 'harm'</script>",
        "w" * 200,
        "\u05e9\u05dc\u05d5\u05dd\u202e",
        "\U0001f680",
    ]
    some = result[:6]
    frame = dataclasses.replace(
        some, feature_names=(names * 4)[: len(some.kinds)], index=pd.Index(names[:2] * 3)
    )
    url = written(frame, "strange")
    page.look(width)
    page.open(url)
    page.picture(f"report-strange-{width}")
    assert page.run("document.title") == "What would change the answer"
    assert page.run("document.querySelectorAll('script').length") == 1
    assert page.overflow() == 0
    assert page.problems(url) == []


def sheets(pdf):
    """How often text is shown on each sheet of a PDF of Chromium."""
    numbers = [int(n) for n in re.findall(rb"/Type /Page\b.*?/Contents (\d+) 0 R", pdf, re.S)]
    found = []
    for number in numbers:
        start = re.search(rb"(?<!\d)%d 0 obj.*?stream\r?\n" % number, pdf, re.S).end()
        content = zlib.decompressobj().decompress(pdf[start:])
        found.append(len(re.findall(rb"\bT[jJ]\b", content)))
    return found


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("size", [(8.27, 11.69), (11.69, 8.27)], ids=["upright", "across"])
def test_the_first_printed_sheet_is_full(page, written, desk_options, rows, size):
    url = written(desk_options[rows], f"sheets-{rows}")
    page.look()
    page.open(url)
    pdf = base64.b64decode(
        page.send("Page.printToPDF", paperWidth=size[0], paperHeight=size[1])["data"]
    )
    texts = sheets(pdf)
    assert len(texts) > 1
    # The heading alone shows two or three texts.
    assert texts[0] > 10 and texts[0] >= 0.4 * max(texts[:-1])


@pytest.fixture(scope="module")
def desk_options():
    """Answers that are longer than a sheet: seven ways for a row, and rows with one."""
    desk = open_loan_desk(900)
    explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    refused = desk.decided(desk.X_test, "refused")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return {
            1: explainer.explain(refused[:1], "approved", n_counterfactuals=7),
            3: explainer.explain(refused[:3], "approved", n_counterfactuals=4),
            40: explainer.explain(refused[:40], "approved"),
        }
