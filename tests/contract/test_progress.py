"""Long calls: told of, limited, stopped and interrupted, without any change of an answer."""

import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import CounterfactualExplainer, RecoursePipeline, Rules, Status
from scfe_sklearn import progress as module
from scfe_sklearn.datasets import make_loan_applications

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
X, Y = make_loan_applications(160, random_state=0)
ASKED = X[:60]


def preprocessing():
    return make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )


def explainer(**parameters):
    model = make_pipeline(preprocessing(), LogisticRegression())
    return CounterfactualExplainer(model, **parameters).fit(X, Y)


@pytest.fixture(scope="module")
def fitted():
    return explainer(chunk_size=16)


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch, each=0.0):
        self.now, self.each = 100.0, each
        monkeypatch.setattr(module, "monotonic", self)

    def __call__(self):
        self.now += self.each
        return self.now


def same(one, two):
    # Where a row without an answer stands in the frame, its columns are nullable.
    frames = [result.to_frame() for result in (one, two)]
    # Probabilities of other batches differ in the last bit: matrix products of other sizes.
    numbers = ["probability_after"]
    rest, told = zip(*((f.drop(columns=numbers), f[numbers]) for f in frames), strict=True)
    pd.testing.assert_frame_equal(*rest, check_exact=True, check_dtype=False)
    pd.testing.assert_frame_equal(*told, rtol=1e-14, atol=0, check_dtype=False)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "parameters",
    [
        {"max_changes": 1, "immutable": ["income", "credit_score", "savings", "loan_amount"]},
        {"max_changes": "fewest", "solver": "search"},
    ],
    ids=["budget", "fewest, asked"],
)
def test_parts_change_no_answer(parameters, size):
    made = explainer(**parameters)
    rows = ASKED[:20]
    # Rules that differ from row to row, targets too, some met already.
    rules = Rules(ranges={"age": (np.arange(20.0), np.full(20, 90.0))})
    target = np.where(np.arange(20) % 3, "approved", "refused")
    options = {"rules": rules, "best_effort": True, "n_counterfactuals": 2}
    whole = made.explain(rows, target, **options)
    made.set_params(chunk_size=size)
    parts = made.explain(rows, target, callback=lambda progress: None, **options)
    same(parts, whole)
    limited = made.explain(rows, target, time_limit=1e9, **options)
    same(limited, whole)


def test_trees_by_programs_in_parts():
    made = CounterfactualExplainer(
        make_pipeline(preprocessing(), DecisionTreeClassifier(max_depth=2, random_state=0)),
        solver="milp",
    ).fit(X, Y)
    told = []
    parts = made.explain(X[:9], callback=told.append, time_limit=1e9)
    same(parts, made.explain(X[:9]))
    assert [p.done for p in told][-1] == 9
    np.testing.assert_array_equal(parts.gap, made.explain(X[:9]).gap)


def test_the_callback_hears_of_every_part(fitted):
    told = []
    result = fitted.explain(ASKED, "approved", callback=told.append)
    needless = int((result.status == Status.ALREADY_TARGET).sum())
    assert 0 < needless < 44
    expected = [*range(needless + 16, 60, 16), 60]
    assert [p.done for p in told] == expected
    assert {p.total for p in told} == {60}
    assert told[-1].found == result.success.sum()
    assert [p.found for p in told] == sorted(p.found for p in told)


def test_the_callback_hears_of_a_call_with_nothing_to_do(fitted):
    approved = X[fitted.estimator_.predict(X) == "approved"][:5]
    told = []
    fitted.explain(approved, "approved", callback=told.append)
    assert [(p.done, p.total, p.found) for p in told] == [(5, 5, 0)]


def in_full(fitted):
    """Answer all rows, in the same parts."""
    return fitted.explain(ASKED, callback=lambda progress: None)


def left_over(result, reason):
    rows = result.reason == reason
    assert (result.status[rows] == Status.NOT_FOUND).all()
    assert not result.success[rows].any()
    return int(rows.sum())


def test_a_callback_that_says_so_stops(fitted):
    result = fitted.explain(ASKED, callback=lambda progress: progress.done >= 32)
    assert left_over(result, "stopped by the callback") == 28
    same(result[:32], in_full(fitted)[:32])


def test_an_error_in_the_callback_is_the_users(fitted):
    def broken(progress):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fitted.explain(ASKED, callback=broken)


def test_what_was_found_in_time_is_returned(fitted, monkeypatch):
    clock = Clock(monkeypatch)

    def later(progress):
        clock.now += 10.0

    result = fitted.explain(ASKED, time_limit=25.0, callback=later)
    # 10 seconds after every part, of 8 rows, then 16: 3 are begun.
    assert left_over(result, "time limit") == 60 - 40
    same(result[:40], in_full(fitted)[:40])


def test_parts_get_smaller_as_the_time_runs_out(fitted, monkeypatch):
    # One second for a row, 100 for all: a slice takes a quarter of what is left at most.
    clock, told, answered = Clock(monkeypatch), [], module.Answers.write

    def slow(self, rows, found):
        clock.now += len(rows)
        answered(self, rows, found)

    monkeypatch.setattr(module.Answers, "write", slow)
    many = pd.concat([ASKED] * 3, ignore_index=True)
    result = fitted.explain(many, time_limit=100.0, callback=told.append)
    left, done, sizes = 100.0, 0, []
    while left > 0 and done < 180:
        size = max(int(left / 4), 1) if done else 8
        for part in [*[16] * (size // 16), size % 16]:
            sizes += [part] if part else []
            left, done = left - part, done + part
    assert [p.done for p in told] == np.cumsum(sizes).tolist()
    assert sizes[0] == 8
    assert sizes[-1] == 1
    assert left_over(result, "time limit") == 80


def interrupting(fitted, calls):
    """Let the user press Ctrl-C in the middle of the so many-th part."""
    count = [0]
    original = module.Answers.write

    def write(self, rows, found):
        count[0] += 1
        if count[0] == calls:
            raise KeyboardInterrupt
        original(self, rows, found)

    return write


@pytest.mark.parametrize(
    "callback, parts", [(None, 1), (lambda progress: None, 2)], ids=["alone", "callback"]
)
def test_ctrl_c_returns_what_is_done(fitted, monkeypatch, callback, parts):
    monkeypatch.setattr(module.Answers, "write", interrupting(fitted, parts + 1))
    result = fitted.explain(ASKED, callback=callback)
    assert left_over(result, "interrupted") == 60 - 16 * parts
    monkeypatch.undo()
    same(result[: 16 * parts], in_full(fitted)[: 16 * parts])


def test_parts_without_a_callback_take_some_seconds_each(fitted, monkeypatch):
    sizes, original = [], module.Answers.write

    def write(self, rows, found):
        sizes.append(len(rows))
        original(self, rows, found)

    monkeypatch.setattr(module.Answers, "write", write)
    rows = X[fitted.estimator_.predict(X) == "refused"]
    rows = pd.concat([rows] * 4)[:250]
    Clock(monkeypatch, each=module.QUICK / 10)
    fitted.explain(rows, "approved")
    assert sizes == [16, 160, 74]
    sizes.clear()
    Clock(monkeypatch, each=module.QUICK)
    fitted.explain(rows[:50], "approved")
    assert sizes == [16, 16, 16, 2]


def test_ctrl_c_before_anything_is_done_interrupts(fitted, monkeypatch):
    monkeypatch.setattr(module.Answers, "write", interrupting(fitted, 1))
    with pytest.raises(KeyboardInterrupt):
        fitted.explain(ASKED)


def test_rows_that_nobody_came_to_get_no_best_effort(fitted):
    result = fitted.explain(ASKED, callback=lambda progress: True, best_effort=True)
    assert left_over(result, "stopped by the callback") == 44


def test_a_stop_is_told_by_a_warning_with_the_count(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="44 of 60 rows have no counterfactual"):
            fitted.explain(ASKED, callback=lambda progress: True)


def test_a_line_on_stderr_where_there_is_no_tqdm(fitted, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    Clock(monkeypatch)
    fitted.explain(ASKED, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.rstrip("\n").split("\r")[1:]
    assert [line[: line.index(",")] for line in lines] == [
        f"explain: {done} of 60 rows" for done in (16, 32, 48, 60)
    ]
    assert err.endswith(" 0 s\n")


def test_a_bar_by_tqdm(fitted, capsys):
    pytest.importorskip("tqdm")
    result = fitted.explain(ASKED, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "60/60" in err
    assert f"found={result.success.sum()}" in err
    assert "explain" in err


class Recorder:
    """A callback by scikit-learn's protocol that notes its calls, and stops when told to."""

    def __init__(self, stop_after=None):
        self.calls, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.calls.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", type(estimator).__name__, context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.calls.append(("end", context.task_name, context.task_id))
        return self.stop_after is not None and context.task_id + 1 >= self.stop_after

    def teardown(self, estimator, context):
        self.calls.append("teardown")


def test_callbacks_of_scikit_learn_see_one_task_in_steps(fitted):
    recorder = Recorder()
    if find_spec("sklearn.callback") is None:  # before 1.9 there is nothing to take
        with pytest.raises(ImportError, match=r"sklearn\.callback"):
            fitted.explain(ASKED, callback=recorder)
        return
    same(fitted.explain(ASKED, callback=recorder), fitted.explain(ASKED))
    steps = [k for call in recorder.calls if call[0] == "end" for k in call[2:] if "rows" in call]
    assert steps == list(range(len(ASKED)))
    assert recorder.calls[:2] == [
        "setup",
        ("begin", "CounterfactualExplainer", "explain", 0),
    ]
    assert recorder.calls[-2:] == [("end", "explain", 0), "teardown"]
    stopping = Recorder(stop_after=16)
    result = fitted.explain(ASKED, callback=stopping)
    assert left_over(result, "stopped by the callback") == 60 - 16
    assert stopping.calls[-1] == "teardown"
    many = Recorder()
    fitted.explain(X, callback=many)
    assert sum(call[0] == "end" and "rows" in call for call in many.calls) == 100


def test_silence_is_the_default(fitted, capsys):
    fitted.explain(ASKED[:20])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"callback": 3}, "'callback' parameter of explain must be callable or None. Got 3"),
        ({"callback": Recorder}, "must be callable or None. Got <class"),
        ({"time_limit": 0}, r"'time_limit' parameter of explain must be a float in \(0, inf\)"),
        ({"time_limit": True}, "Got True"),
        ({"time_limit": float("nan")}, "Got nan"),
        ({"time_limit": "1"}, "Got '1'"),
        ({"progress": 1}, "'progress' parameter of explain must be a bool. Got 1"),
    ],
)
def test_bad_wishes_are_refused(fitted, options, match):
    with pytest.raises(ValueError, match=match):
        fitted.explain(ASKED[:2], **options)


def test_the_pipeline_passes_the_wishes_on():
    inner = CounterfactualExplainer(LogisticRegression(), chunk_size=8)
    pipeline = RecoursePipeline([("columns", preprocessing()), ("explain", inner)]).fit(X, Y)
    told = []
    result = pipeline.explain(
        ASKED[:24], callback=lambda p: told.append(p.done) or p.done >= 16, time_limit=1e9
    )
    assert told == [8, 16]
    assert left_over(result, "stopped by the callback") == 8
