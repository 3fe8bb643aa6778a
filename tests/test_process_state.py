"""Calls leave the process as it was: threads of torch, warning filters, in whatever order."""

import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn._utils.quiet import LEAKED, ignore_warnings, keep_filters
from scfe_sklearn.recourse.threads import one_thread
from scfe_sklearn.scoring import RecourseScorer

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(300, 3)), columns=list("abc")).assign(
    d=RNG.choice(["u", "v", "w"], 300)
)
Y = (X[["a", "b", "c"]].sum(axis=1) > 0).astype(int)
FRONT = make_column_transformer(
    (OneHotEncoder(drop="first", handle_unknown="ignore"), ["d"]), remainder=StandardScaler()
)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_one_thread_holds_in_the_calling_thread_only(two_threads):
    with one_thread():
        assert torch.get_num_threads() == 1
        assert threads_of_a_new_thread() == 2
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_one_thread_is_left_after_an_error(two_threads):
    with pytest.raises(KeyboardInterrupt), one_thread():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2


def test_one_thread_keeps_the_products_of_torch_on_one_thread():
    """Counts the threads of a fresh process, in which nobody set a number."""
    code = (
        "import torch; from scfe_sklearn.recourse.threads import one_thread\n"
        "def count(): return len(__import__('os').listdir('/proc/self/task'))\n"
        "a = torch.randn(800, 800, dtype=torch.float64)\n"
        "with one_thread():\n"
        "    before = count(); a @ a; torch.linalg.solve(a, a); torch.exp(torch.randn(2_000_000))\n"
        "    print(count() - before, torch.get_num_threads())\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("counts threads in /proc")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["0", "1"]


@pytest.mark.parametrize("model", [LogisticRegression(), KNeighborsClassifier()])
def test_concurrent_calls_leave_threads_and_filters_as_they_were(model, two_threads):
    explainer = CounterfactualExplainer(make_pipeline(FRONT, model)).fit(X, Y)
    rows, before = X[:6], list(warnings.filters)
    scorer = RecourseScorer("validity")
    calls = [
        lambda: explainer._explain(rows),
        lambda: explainer.score(rows),
        lambda: explainer.pareto(rows[:1], factors=[1], budgets=[1, None]),
        lambda: scorer(explainer, rows),
    ]
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(calls[k % 4]) for k in range(12)]:
            future.result()
    assert list(warnings.filters) == before
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


@pytest.mark.parametrize("model", [LogisticRegression(), KNeighborsClassifier()])
def test_explain_adds_no_filter(model, monkeypatch):
    """Other code may copy the filters at any time: those of a call must not be among them."""
    explainer = CounterfactualExplainer(make_pipeline(FRONT, model)).fit(X, Y)

    def refused(*args):
        raise AssertionError("a filter was added")

    monkeypatch.setattr("scfe_sklearn._utils.quiet._OwnThread.enter", refused)
    explainer._explain(X[:4])
    explainer.score(X[:4])


def test_ignore_warnings_holds_in_the_calling_thread_only():
    heard = []

    def other():
        with pytest.warns(UserWarning, match="theirs"):
            warnings.warn("theirs", UserWarning, stacklevel=1)
        heard.append(True)

    before = list(warnings.filters)
    with ignore_warnings(UserWarning) as messages:
        warnings.warn("ours", UserWarning, stacklevel=1)
        with pytest.raises(RuntimeWarning):
            warnings.warn("another category", RuntimeWarning, stacklevel=1)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert heard == [True] and messages[0] == "ours" and "theirs" not in messages
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning):
        warnings.warn("ours", UserWarning, stacklevel=1)


@pytest.mark.parametrize("order", ["first in, first out", "first in, last out"])
def test_ignore_warnings_is_gone_in_any_order(order):
    before = list(warnings.filters)
    one, two = ignore_warnings(UserWarning), ignore_warnings(UserWarning)
    with ThreadPoolExecutor(1) as pool:
        one.__enter__()
        pool.submit(two.__enter__).result()
        leave = [lambda: one.__exit__(None, None, None)]
        leave.append(lambda: pool.submit(two.__exit__, None, None, None).result())
        for step in leave if order.endswith("first out") else leave[::-1]:
            step()
    assert list(warnings.filters) == before


def test_ignore_warnings_leaves_no_filter_in_a_list_that_is_put_back():
    before = list(warnings.filters)
    block, outer = ignore_warnings(UserWarning), warnings.catch_warnings()
    block.__enter__()
    outer.__enter__()
    block.__exit__(None, None, None)
    outer.__exit__(None, None, None)
    assert list(warnings.filters) == before


def test_rows_without_an_answer_are_warned_of_where_explain_was_called():
    explainer = CounterfactualExplainer(LogisticRegression(), immutable=["a"]).fit(X[["a"]], Y)
    with pytest.warns(UserWarning, match="have no counterfactual") as found:
        explainer.explain(X[["a"]][:3])
    assert found[0].filename == __file__


def test_keep_filters_repairs_after_overlapping_calls_only():
    before = list(warnings.filters)
    mine = ("once", None, BytesWarning, None, 0)
    one, two = keep_filters(), keep_filters()
    one.__enter__()
    two.__enter__()
    warnings.filters.insert(0, LEAKED)
    one.__exit__(None, None, None)
    assert LEAKED in warnings.filters  # another call is running
    two.__exit__(None, None, None)
    assert list(warnings.filters) == before
    with keep_filters(), keep_filters():
        warnings.filters[:] = [LEAKED, mine, *before]  # what the user adds stays
    assert list(warnings.filters) == [mine, *before]
    warnings.filters[:] = before
    with keep_filters(), keep_filters():
        warnings.filters[:] = [*before[:1], mine]
    assert list(warnings.filters) == [*before[:1], mine]
    warnings.filters[:] = before
    with keep_filters(), keep_filters():
        warnings.filters[:] = [*before[:1], *before]
    assert list(warnings.filters) == before
