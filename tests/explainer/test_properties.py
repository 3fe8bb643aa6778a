"""Random frames, rules and models: what must hold of every answer, from the raw values alone."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.rules import Relative, Rules
from scfe_sklearn.status import Status

SIZES = ["small", "medium", "large"]
COLOURS = ["blue", "green", "red"]
NUMBERS = ["whole", "tenth", "real"]
N_TRAIN, N_QUERY = 60, 5
PROFILE = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# --------------------------------------------------------------------- random problems


def random_frame(rng, columns, n):
    """Rows with some of: whole numbers, tenths, reals, ordered and unordered levels, flags."""
    makers = {
        "whole": lambda: rng.integers(0, 5, n),
        "tenth": lambda: rng.integers(0, 4, n) / 10,
        "real": lambda: rng.normal(size=n),
        "size": lambda: pd.Categorical.from_codes(rng.integers(0, 3, n), SIZES, ordered=True),
        "colour": lambda: rng.choice(COLOURS, n),
        "flag": lambda: rng.random(n) < 0.5,
    }
    return pd.DataFrame({name: makers[name]() for name in columns})


def random_model(rng, kind, X, n_classes):
    """A pipeline trained on labels from random weights, so that every class has rows."""
    encode = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    coded = encode.fit_transform(X)
    score = coded @ rng.normal(size=coded.shape[1]) + 0.3 * rng.normal(size=len(X))
    y = np.digitize(score, np.quantile(score, np.linspace(0, 1, n_classes + 1)[1:-1]))
    if kind == "linear":
        classifier = LogisticRegression(C=10)
    else:
        classifier = MLPClassifier((4,), solver="lbfgs", max_iter=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_pipeline(encode, classifier).fit(X, y), y


@st.composite
def flags(draw, names):
    """Columns as a list, or as a dict with a bool or one per row."""
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if names else []
    if draw(st.booleans()):
        return chosen
    per_row = st.lists(st.booleans(), min_size=N_QUERY, max_size=N_QUERY).map(np.array)
    return {name: draw(st.one_of(st.booleans(), per_row)) for name in chosen}


@st.composite
def rules_for(draw, columns, *, per_row):
    """Random rules for a frame with these columns, possibly contradicting one another by row."""
    numbers = [name for name in columns if name in NUMBERS]
    ordered = [*numbers, *(name for name in columns if name == "size")]
    levels = {"colour": COLOURS, "flag": [False, True], "size": SIZES}
    immutable = draw(flags(columns))
    increasing = draw(flags(ordered))
    decreasing = draw(flags([name for name in ordered if name not in increasing]))
    if not per_row:
        immutable, increasing, decreasing = map(list, (immutable, increasing, decreasing))
    limits = {"whole": (0, 4), "tenth": (0.0, 0.3), "real": (-2.0, 2.0)}
    ranges = {}
    for name in numbers:
        low, high = limits[name]
        kind = draw(st.sampled_from(["none", "box", "relative", "rows"]))
        middle = draw(st.floats(low, high))
        if kind == "box":
            ranges[name] = (draw(st.sampled_from([None, low])), middle)
        elif kind == "relative":
            ranges[name] = Relative(low - middle, high - middle)
        elif kind == "rows" and per_row:
            column = st.lists(st.floats(low, high), min_size=N_QUERY, max_size=N_QUERY)
            ranges[name] = (np.array(draw(column)), high)
    transitions = {}
    for name in (name for name in columns if name in levels):
        if draw(st.booleans()):
            subset = st.lists(st.sampled_from(levels[name]), unique=True)
            sources = draw(st.lists(st.sampled_from(levels[name]), unique=True))
            transitions[name] = {level: draw(subset) for level in sources}
            if per_row and draw(st.booleans()):
                item = st.one_of(st.none(), subset)
                transitions[name] = draw(st.lists(item, min_size=N_QUERY, max_size=N_QUERY))
    return Rules(
        immutable=immutable or None,
        increasing=increasing or None,
        decreasing=decreasing or None,
        ranges=ranges or None,
        transitions=transitions or None,
    )


@st.composite
def problems(draw, names):
    """Training rows, model, explainer with rules, query and further rules for it."""
    columns = draw(st.lists(st.sampled_from(names), unique=True, min_size=2, max_size=len(names)))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    kind, n_classes = draw(st.sampled_from(["linear", "net"])), draw(st.sampled_from([2, 3]))
    X, query = random_frame(rng, columns, N_TRAIN), random_frame(rng, columns, N_QUERY)
    model, y = random_model(rng, kind, X, n_classes)
    own = draw(rules_for(columns, per_row=False)) if draw(st.booleans()) else Rules()
    more = draw(st.one_of(st.none(), rules_for(columns, per_row=True)))
    parameters = own.get_params(deep=False)
    parameters.pop("also")
    explainer = CounterfactualExplainer(
        FrozenEstimator(model),
        density=draw(st.sampled_from(["lof", "kde", "knn"])),
        max_changes=draw(st.sampled_from([None, None, 1, 2])),
        tau=draw(st.sampled_from([0.0, 2.0])),
        **parameters,
    ).fit(X, y)
    target = draw(st.sampled_from([None, *range(n_classes)]))
    return X, model, explainer, query, own.merged(more) if more else own, more, target


def explain(explainer, query, target, more):
    """The result, or None where the two sets of rules contradict each other for all rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return explainer.explain(query, target, rules=more)
        except ValueError as error:
            assert "must not name the same column" in str(error)
            return None


# --------------------------------------------------------------------- independent oracles


def distances(X, before, after):
    """sqrt(sum (change / std)^2 + changed categories), straight from the frames."""
    total = np.zeros(len(before))
    for name in X:
        if name in ("colour", "flag"):
            total += (before[name].to_numpy() != after[name].to_numpy()).astype(float)
            continue
        train, old, new = X[name], before[name], after[name]
        if name == "size":
            seen = {level: rank for rank, level in enumerate(s for s in SIZES if s in set(train))}
            train, old, new = (column.map(seen).astype(float) for column in (train, old, new))
        total += ((new - old).to_numpy(dtype=float) / np.std(train.to_numpy(dtype=float))) ** 2
    return np.sqrt(total)


def differences(before, after):
    """Which cells are not the same, (n, d)."""
    cells = [before[name].astype(object) != after[name].astype(object) for name in before]
    return np.column_stack(cells)


def grid_of(X):
    """Every row that takes each value from training."""
    values = [
        [level for level in SIZES if level in set(X[name])]
        if name == "size"
        else sorted(set(X[name]))
        for name in X
    ]
    grid = pd.DataFrame(list(itertools.product(*values)), columns=list(X))
    return grid.astype(X.dtypes.to_dict())


# --------------------------------------------------------------------- properties


@PROFILE
@given(problems(["whole", "tenth", "real", "size", "colour", "flag"]))
def test_every_answer_is_what_it_claims_to_be(problem):
    X, model, explainer, query, rules, more, target = problem
    result = explain(explainer, query, target, more)
    if result is None:
        return
    answers, good = result.counterfactuals, result.success
    # No row is lost, and a failed one is missing throughout.
    assert len(result) == len(query)
    pd.testing.assert_index_equal(answers.index, query.index)
    assert answers[~good].isna().all(axis=None)
    assert answers[good].notna().all(axis=None)
    assert not result.changed[~good].any()
    if good.all():
        assert answers.dtypes.equals(query.dtypes)
    # The statuses are true.
    predicted = model.predict(query)
    already = np.zeros(len(query), dtype=bool) if target is None else predicted == target
    invalid = result.status == Status.INVALID_INPUT
    assert ((result.status == Status.ALREADY_TARGET) == already & ~invalid).all()
    assert ((result.status == Status.FOUND) == good).all()
    assert (result.prediction[~invalid] == predicted[~invalid]).all()
    # Successes are valid, keep every rule and the budget, and stay within the training range.
    before, after = query[good], answers[good].astype(query.dtypes.to_dict())
    if good.any():
        assert (model.predict(after) == result.target[good]).all()
    assert target is None or (result.target[good] == target).all()
    assert (result.target[good] != predicted[good]).all()
    assert not rules.violations(explainer.space_, query, answers).any()
    if explainer.max_changes is not None:
        assert (result.n_changes[good] <= explainer.max_changes).all()
    for name in (name for name in NUMBERS if name in query):
        low = np.minimum(X[name].min(), before[name])
        high = np.maximum(X[name].max(), before[name])
        assert ((after[name] >= low) & (after[name] <= high)).all()
    # Changes and distances, recomputed.
    changed = differences(before, after)
    np.testing.assert_array_equal(result.changed[good], changed)
    np.testing.assert_array_equal(result.n_changes[good], changed.sum(axis=1))
    assert (result.n_changes[good] >= 1).all()
    np.testing.assert_allclose(result.distance[good], distances(X, before, after), atol=1e-9)
    where, features = np.nonzero(result.changed)
    lines = result.changes
    assert lines["row"].tolist() == query.index[where].tolist()
    assert lines["feature"].tolist() == [query.columns[j] for j in features]
    for (_, line), i, j in zip(lines.iterrows(), where, features, strict=True):
        assert line["from"] == query.iloc[i, j]
        assert line["to"] == answers.iloc[i, j]
    if good.any():
        chance = model.predict_proba(after)
        np.testing.assert_allclose(
            result.probability_after[good],
            chance[np.arange(len(after)), result.target[good].astype(int)],
        )


@PROFILE
@given(problems(["whole", "tenth", "size", "colour", "flag"]))
def test_an_exhaustive_search_agrees(problem):
    X, model, explainer, query, rules, more, target = problem
    result = explain(explainer, query, target, more)
    if result is None:
        return
    grid = grid_of(X)
    labels = model.predict(grid)
    anchors = pd.concat([X[model.predict(X) == label] for label in range(len(explainer.classes_))])
    for i in range(len(query)):
        status = result.status[i]
        if status in (Status.ALREADY_TARGET, Status.INVALID_INPUT):
            continue
        wanted = labels != model.predict(query[i : i + 1]) if target is None else labels == target
        reachable = may_become(rules, explainer, query, i, grid) & wanted
        if status == Status.FOUND:
            assert reachable.any()
        elif status in (Status.UNREACHABLE, Status.CONFLICTING_RULES):
            assert not reachable.any() or status == Status.CONFLICTING_RULES
        elif explainer.max_changes is None:
            # The search gives up only where no training row of the target may be taken over.
            given_label = model.predict(anchors)
            fits = (
                given_label != model.predict(query[i : i + 1])
                if target is None
                else (given_label == target)
            )
            assert not (may_become(rules, explainer, query, i, anchors) & fits).any()


def may_become(rules, explainer, query, i, rows):
    """Which rows the i-th of the query may become, by the rules and the budget."""
    before = query.iloc[np.full(len(rows), i)].set_axis(rows.index)
    repeated = repeat_rules(rules, i, len(rows))
    allowed = ~repeated.violations(explainer.space_, before, rows).any(axis=1)
    count = differences(before, rows).sum(axis=1)
    allowed &= count > 0
    return allowed if explainer.max_changes is None else allowed & (count <= explainer.max_changes)


def repeat_rules(rules, i, n):
    """The rules of the i-th row, for n rows."""

    def spread(value):
        if isinstance(value, np.ndarray):
            return np.full(n, value[i])
        if isinstance(value, tuple):
            return tuple(spread(item) for item in value)
        return value

    parameters = {}
    for name in ("immutable", "increasing", "decreasing", "ranges"):
        value = getattr(rules, name)
        is_map = isinstance(value, dict)
        parameters[name] = {key: spread(item) for key, item in value.items()} if is_map else value
    parameters["transitions"] = rules.transitions and {
        name: [item[i]] * n if isinstance(item, list) else item
        for name, item in rules.transitions.items()
    }
    also = [repeat_rules(other, i, n) for other in rules.also or ()]
    return Rules(**parameters, also=also or None)


@settings(PROFILE, max_examples=15)
@given(problems(["whole", "real", "size", "colour"]), st.permutations(range(N_QUERY)))
def test_rows_do_not_depend_on_their_company(problem, order):
    _, _, explainer, query, _, _, target = problem
    together = explain(explainer, query, target, None)
    turned = explain(explainer, query.iloc[order], target, None)
    alone = [explain(explainer, query[i : i + 1], target, None) for i in range(N_QUERY)]
    for position, i in enumerate(order):
        for other in (turned[position], alone[i]):
            assert other.status.tolist() == together[i].status.tolist()
            assert other.target.tolist() == together[i].target.tolist()
            left, right = other.counterfactuals, together[i].counterfactuals
            for name in query:
                if name == "real":
                    values = left[name].to_numpy(), right[name].to_numpy()
                    np.testing.assert_allclose(*values, rtol=0, atol=1e-6)
                elif together.success[i]:
                    assert left[name].tolist() == right[name].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_more_freedom_never_costs_an_answer(seed):
    rng = np.random.default_rng(seed)
    columns = ["whole", "tenth", "size", "colour", "flag"]
    X, query = random_frame(rng, columns, N_TRAIN), random_frame(rng, columns, 12)
    model, y = random_model(rng, "net", X, 2)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    free = explain(explainer, query, 1, None)
    tied = explain(explainer, query, 1, Rules(immutable=["colour", "whole"]))
    assert (free.success | ~tied.success).all()
    assert (free.success | (free.status == Status.ALREADY_TARGET)).all()
