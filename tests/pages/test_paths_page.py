"""The page with norms and radii of counterfactual images, as a browser shows it."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from scfe_sklearn.image import AutoFrankWolfe
from scfe_sklearn.image.visual.paths import visual_paths

RADII = {1: [2, 4, 8], 1.5: [0.8, 1.4, 2.2], 2: [0.5, 0.9, 1.5], math.inf: [0.1, 0.2, 0.3]}
LOOKS = [(390, False), (390, True), (1200, False), (1200, True)]


@pytest.fixture(scope="module")
def paths():
    X, y = load_digits(return_X_y=True)
    x = torch.from_numpy((X / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))
        optimiser = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(60):
            optimiser.zero_grad()
            functional.cross_entropy(net(x), torch.from_numpy(y)).backward()
            optimiser.step()
    explainer = AutoFrankWolfe(net, n_iter=15, n_restarts=1)
    return visual_paths(explainer, x[:4], RADII)


@pytest.fixture
def url(paths, tmp_path):
    file = tmp_path / "paths.html"
    page = paths.to_html(file, labels=[f"digit {k}" for k in range(10)])
    assert file.read_text(encoding="utf-8") == page
    return file.as_uri()


def shown(page):
    """What the page says about every image, and whether its pictures are there."""
    return json.loads(
        page.run("""JSON.stringify([...document.querySelectorAll(".card[data-row]")].map((c) => ({
          words: c.querySelector(".confidence").textContent,
          status: c.querySelector(".verdict").textContent,
          after: c.querySelector(".after").textContent,
          bar: parseFloat(c.querySelector(".bar").style.width),
          wide: [...c.querySelectorAll("img")].map((i) => i.complete && i.naturalWidth),
          answer: c.querySelector(".answer").src})))""")
    )


def move(page, norm, radius):
    page.run(f"""(() => {{
      const choice = document.querySelectorAll("#norms input")[{norm}];
      choice.click();
      const slider = document.getElementById("radius");
      slider.value = {radius};
      slider.dispatchEvent(new Event("input", {{bubbles: true}}));
    }})()""")
    page.wait_for("[...document.images].every((i) => i.complete)")


def test_norm_and_radius_show_their_own_answers(page, paths, url):
    page.look()
    page.open(url)
    pictures = set()
    for norm, (p, radii) in enumerate(RADII.items()):
        for k, radius in enumerate(radii):
            move(page, norm, k)
            part = paths.explanations[p][k]
            assert page.run("document.getElementById('shown').textContent") == f"{radius:g}"
            for index, card in enumerate(shown(page)):
                confidence = part.confidence_after[index]
                assert card["words"] == f"{100 * confidence:.1f} %"
                assert card["bar"] == pytest.approx(100 * confidence, abs=0.01)
                assert card["status"] == part.status[index]
                assert card["after"] == f"digit {part.after[index]}"
                assert card["wide"] == [8, 8, 8]
                pictures.add(card["answer"])
    assert len(pictures) > 30  # of 48
    assert page.problems(url) == []


def test_the_slider_follows_the_keyboard(page, url):
    page.look()
    page.open(url)
    before = shown(page)
    page.run("document.getElementById('radius').focus()")
    for kind in ("keyDown", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft",
                  windowsVirtualKeyCode=37)  # fmt: skip
    assert page.run("document.getElementById('shown').textContent") == "4"
    assert shown(page) != before
    text = page.run("document.getElementById('radius').getAttribute('aria-valuetext')")
    assert text == "radius 4 in the norm 1"
    assert page.problems(url) == []


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_the_page_fits_every_screen(page, url, width, dark):
    page.look(width, dark=dark)
    page.open(url)
    page.wait_for("[...document.images].every((i) => i.complete)")
    move(page, 1, 1)
    picture = page.picture(f"paths-{width}-{'dark' if dark else 'light'}")
    assert len(picture) > 15_000
    assert page.overflow() == 0
    assert page.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(18, 24, 29)" if dark else "rgb(246, 245, 241)"
    )
    assert page.problems(url) == []


def test_words_of_the_user_are_text(page, paths, tmp_path):
    file = tmp_path / "words.html"
    labels = ["</script><b>@DATA@", "<img src=x>", *map(str, range(8))]
    paths.to_html(file, title="<i>@BODY@ & @LAST@", labels=labels)
    page.look()
    page.open(file.as_uri())
    move(page, 0, 0)
    assert page.run("document.querySelector('h1').textContent") == "<i>@BODY@ & @LAST@"
    assert page.run("document.querySelectorAll('img').length") == 12
    captions = page.run("[...document.querySelectorAll('figcaption')].map((c) => c.textContent)")
    assert f"now: {labels[0]}" in captions
    assert page.problems(file.as_uri()) == []
