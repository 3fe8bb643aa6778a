import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression

from scfe_sklearn import CounterfactualExplainer, Interval
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
