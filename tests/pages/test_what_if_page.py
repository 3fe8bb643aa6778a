import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer, Interval, Rules
from scfe_sklearn.demo import open_loan_desk
from scfe_sklearn.serving import serve

NAMES = ["<img src=x onerror=alert(1)>", "$x$ \u05e2\u05d1\u05e8", "\U0001f680" * 9, "w" * 200]


@pytest.fixture(scope="module")
def desk():
    return open_loan_desk(900)


@pytest.fixture(scope="module")
def server(desk):
    explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    with serve(explainer, desk.decided(desk.X_test, "refused"), target="approved") as server:
        yield server


def settle(page, action="1"):
    """Do something and wait until the page has its answers."""
    page.run(f"delete document.body.dataset.ready; {action}; 1")
    page.wait_for("document.body.dataset.ready")


@pytest.mark.parametrize(
    ("width", "dark"), [(390, False), (390, True), (1200, False), (1200, True)]
)
def test_a_person_is_moved_across_the_boundary(page, server, desk, width, dark):
    page.look(width, dark=dark)
    page.open(server.url)
    page.wait_for("document.body.dataset.ready")
    said = "document.getElementById('prediction').textContent"
    assert page.run(said) == "refused"
    page.picture(f"what-if-{width}-{'dark' if dark else 'light'}")
    assert page.run("document.getElementById('sentence').textContent").endswith(".")
    settle(page, "document.getElementById('apply').click()")
    assert page.run(said) == "approved"
    assert page.run("document.querySelectorAll('.feature.moved').length") > 0
    page.picture(f"what-if-moved-{width}-{'dark' if dark else 'light'}")
    settle(page, "document.getElementById('reset').click()")
    assert page.run(said) == "refused"
    assert page.run("document.querySelectorAll('.feature.moved').length") == 0
    assert page.overflow() == 0
    assert page.problems(server.url) == []


def test_the_page_says_what_the_model_says(page, server, desk):
    page.look()
    page.open(server.url)
    page.wait_for("document.body.dataset.ready")
    settle(page, "document.getElementById('next').click()")
    person = desk.decided(desk.X_test, "refused")[1:2].copy()
    names = list(person.columns)
    box = f"document.getElementById('value-{names.index('credit_score')}')"
    settle(page, f"{box}.value = 801; {box}.dispatchEvent(new Event('change'))")
    own = f"document.querySelector('[name=value-{names.index('has_cosigner')}][value=\"1\"]')"
    settle(page, f"{own}.click()")
    person["credit_score"], person["has_cosigner"] = 801, True
    assert (
        page.run("document.getElementById('prediction').textContent")
        == (desk.model.predict(person)[0])
    )
    share = desk.model.predict_proba(person)[0, list(desk.model.classes_).index("approved")]
    shown = page.run("document.getElementById('chance-bar').style.width")
    assert float(shown.rstrip("%")) == pytest.approx(100 * share, abs=0.01)
    assert page.problems(server.url) == []


def test_a_slider_moves_by_the_steps_of_its_feature(page, server, desk):
    page.look()
    page.open(server.url)
    page.wait_for("document.body.dataset.ready")
    income = list(desk.X_test.columns).index("income")
    slider = f"document.querySelectorAll('.feature')[{income}].querySelector('[type=range]')"
    settle(page, f"{slider}.value = 41234.5; {slider}.dispatchEvent(new Event('input'))")
    assert page.run(f"document.getElementById('value-{income}').value") == "41200"
    assert page.problems(server.url) == []


def test_strange_names_are_only_names(page):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.columns = NAMES
    y = y.map({0: "<b>zero</b>", 1: "one", 2: "two"})
    model = LogisticRegression(max_iter=1000).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    with serve(explainer, X[::50]) as server:
        page.look(390)
        page.open(server.url)
        page.wait_for("document.body.dataset.ready")
        page.picture("what-if-names")
        shown = page.run("[...document.querySelectorAll('.feature .name')].map(e => e.textContent)")
        assert shown == NAMES
        assert page.run("document.getElementById('prediction').textContent") == "<b>zero</b>"
        assert page.run("document.querySelectorAll('img, #prediction b').length") == 0
        assert page.overflow() == 0
        assert page.problems(server.url) == []


def test_a_regressor_is_served(page):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = LinearRegression().fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    with serve(explainer, X[model.predict(X) > 200][:3], target=Interval(0, 150)) as server:
        page.look()
        page.open(server.url)
        page.wait_for("document.body.dataset.ready")
        assert not page.run("document.getElementById('chance-box').checkVisibility()")
        settle(page, "document.getElementById('apply').click()")
        said = page.run("document.getElementById('prediction').textContent")
        assert float(said) <= 150
        assert page.problems(server.url) == []


def test_rules_are_listed_and_a_moved_value_has_its_note(page, desk):
    explainer = desk.explainer().fit(desk.X_train, desk.y_train)
    people = desk.decided(desk.X_test, "refused")[:2]
    names = list(people.columns)
    age = f"document.getElementById('value-{names.index('age')}')"
    note = f"document.getElementById('note-{names.index('age')}')"
    rules = Rules(ranges={"savings": (None, 1e6)})
    with serve(explainer, people, target="approved", rules=rules) as server:
        page.look()
        page.open(server.url)
        page.wait_for("document.body.dataset.ready")
        listed = page.run("[...document.querySelectorAll('#rules li')].map(e => e.textContent)")
        assert "age may only increase" in listed
        assert any("savings must be at most 1,000,000" in rule.replace("1000000", "1,000,000")
                   for rule in listed)  # fmt: skip
        assert page.run(f"{note}.hidden")
        settle(page, f"{age}.value = 500; {age}.dispatchEvent(new Event('change'))")
        said = page.run(f"{note}.textContent")
        assert page.run(f"{note}.checkVisibility()")
        assert "Outside of the training data" in said and "Breaks a rule: age" in said
        assert page.run(f"{age}.getAttribute('aria-describedby')") == f"note-{names.index('age')}"
        settle(page, "document.getElementById('reset').click()")
        assert page.run(f"{note}.hidden")
        assert page.problems(server.url) == []


LONG = ["number_of_years_of_employment", "householdincome", "debt to income ratio", "x"]


@pytest.mark.parametrize("number", ["-123456789012.25", "-1.2345678901234567e+100"])
@pytest.mark.parametrize("width", [360, 800, 920, 1024, 1200])
def test_names_break_between_words_and_numbers_are_shown_whole(page, width, number):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(1e6 * rng.normal(size=(200, 4)), columns=LONG)
    X["x"] = 123456.789012 * rng.normal(size=200)
    explainer = CounterfactualExplainer(make_pipeline(StandardScaler(), LogisticRegression()))
    explainer.fit(X, X.sum(axis=1) > 0)
    with serve(explainer, X[:2], target=True) as server:
        page.look(width)
        page.open(server.url)
        page.wait_for("document.body.dataset.ready")
        box = "document.getElementById('value-0')"
        settle(page, f"{box}.value = {number}; {box}.dispatchEvent(new Event('change'))")
        page.picture(f"what-if-long-{width}")
        clipped = "e => e.scrollWidth > e.clientWidth"
        boxes = "[...document.querySelectorAll('.feature input[type=number]')]"
        assert page.run(f"{boxes}.filter({clipped}).length") == 0
        # The lines of each name, as the browser has laid them out.
        words = page.run(
            """[...document.querySelectorAll('.feature .name bdi')].map(name => {
              const letters = [];
              for (const text of name.childNodes) {
                for (let k = 0; text.data && k < text.data.length; k++) {
                  const range = document.createRange();
                  range.setStart(text, k);
                  range.setEnd(text, k + 1);
                  letters.push([text.data[k], Math.round(range.getBoundingClientRect().top)]);
                }
              }
              return letters;
            })"""
        )
        for letters, name in zip(words, LONG, strict=True):
            assert "".join(letter for letter, _ in letters) == name
            breaks = [k for k in range(1, len(letters)) if letters[k][1] != letters[k - 1][1]]
            assert all(letters[k - 1][0] in " _" for k in breaks), (name, breaks)
        assert page.overflow() == 0
        assert page.problems(server.url) == []
