"""Random data, rules of every kind and models of every kind, against a list of all points.

The rules are judged by a second reading of them, written here on plain values: nothing of the
package's own rule code decides what is lawful.
"""

import itertools
import warnings

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from scfe_sklearn import CounterfactualExplainer, Interval, Probability
from scfe_sklearn.rules import Relative, Rules
from scfe_sklearn.status import Status

SIZES, COLOURS = ["small", "medium", "large", "huge"], ["blue", "green", "red"]
COLUMNS = ["whole", "few", "size", "colour"]
WHOLE, FEW = range(5), range(4)
GRID = [
    dict(zip(COLUMNS, row, strict=True)) for row in itertools.product(WHOLE, FEW, SIZES, COLOURS)
]
N_QUERY = 6
PROFILE = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # a failure would take minutes to shrink
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def as_frame(rows):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["size"] = pd.Categorical(frame["size"], SIZES, ordered=True)
    return frame


EVERY = as_frame(GRID)


def ranked(name, value):
    return SIZES.index(value) if name == "size" else value


# --------------------------------------------------------------------- rules, read twice


def unmoved(name, before, after):
    return before[name] == after[name]


@st.composite
def one_way(draw, word):
    """Immutable, increasing or decreasing columns: a list, or flags row by row."""
    names = COLUMNS if word == "immutable" else COLUMNS[:3]
    name = draw(st.sampled_from(names))
    flags = np.array(draw(st.lists(st.booleans(), min_size=N_QUERY, max_size=N_QUERY)))
    flags = np.ones(N_QUERY, dtype=bool) if draw(st.booleans()) else flags

    def lawful(i, before, after):
        if not flags[i] or unmoved(name, before, after):
            return True
        up = ranked(name, after[name]) > ranked(name, before[name])
        return {"immutable": False, "increasing": up, "decreasing": not up}[word]

    return Rules(**{word: {name: flags}}), lawful


@st.composite
def ranges(draw):
    name, values = draw(st.sampled_from([("whole", WHOLE), ("few", FEW)]))
    low, high = sorted(draw(st.tuples(st.sampled_from(values), st.sampled_from(values))))
    kind = draw(st.sampled_from(["box", "open", "relative", "rows"]))
    lows, highs = np.full(N_QUERY, float(low)), np.full(N_QUERY, float(high))
    given_ = (low, high)
    if kind == "open":
        given_, lows = (None, high), np.full(N_QUERY, -np.inf)
    elif kind == "relative":
        given_ = Relative(-low, high)
    elif kind == "rows":
        lows = np.array(draw(st.lists(st.sampled_from(values), min_size=N_QUERY, max_size=N_QUERY)))
        highs = lows + high
        given_ = (lows.astype(float), highs.astype(float))

    def lawful(i, before, after):
        if unmoved(name, before, after):
            return True
        if kind == "relative":
            return -low <= after[name] - before[name] <= high
        return lows[i] <= after[name] <= highs[i]

    return Rules(ranges={name: given_}), lawful


@st.composite
def transitions(draw):
    name, levels = draw(st.sampled_from([("colour", COLOURS), ("size", SIZES)]))
    subset = st.lists(st.sampled_from(levels), unique=True)
    if draw(st.booleans()):
        told = draw(st.dictionaries(st.sampled_from(levels), subset, min_size=1))

        def lawful(i, before, after):
            goals = told.get(before[name], levels)
            return unmoved(name, before, after) or after[name] in goals

        return Rules(transitions={name: told}), lawful
    items = draw(st.lists(st.one_of(st.none(), subset), min_size=N_QUERY, max_size=N_QUERY))

    def lawful_by_row(i, before, after):
        return unmoved(name, before, after) or items[i] is None or after[name] in items[i]

    return Rules(transitions={name: items}), lawful_by_row


@st.composite
def relations(draw):
    a, b = draw(st.integers(-2, 2)), draw(st.integers(1, 2))
    limit = draw(st.integers(-2, 9))
    sign = draw(st.sampled_from(["<=", ">="]))

    def excess(row):
        total = a * row["whole"] + b * row["few"] - limit
        return max(total if sign == "<=" else -total, 0)

    def lawful(i, before, after):
        return excess(after) <= excess(before)

    return Rules(relations=[f"{a} * whole + {b} * few {sign} {limit}"]), lawful


@st.composite
def implications(draw):
    condition = draw(
        st.sampled_from([{"colour": "red"}, {"size": {"large", "small"}}, {"few": (2, None)}])
    )
    consequence = draw(
        st.sampled_from(
            [
                {"whole": (2, None)},
                {"whole": (None, 1)},
                {"whole": (1, 3), "colour": {"blue", "red"}},
                {"colour": {"green"}},
            ]
        )
    )

    def fits(name, wanted, row):
        if isinstance(wanted, tuple):
            low, high = wanted
            return (low is None or row[name] >= low) and (high is None or row[name] <= high)
        return row[name] in ({wanted} if isinstance(wanted, str) else wanted)

    def holds(side, row):
        return all(fits(name, wanted, row) for name, wanted in side.items())

    def no_worse(name, wanted, before, after):
        """For what was broken before: unmoved, or on the way from the factual to the limit."""
        if unmoved(name, before, after) or fits(name, wanted, after):
            return True
        if not isinstance(wanted, tuple):
            return False
        low, high = (
            v if v is not None else s * np.inf for v, s in zip(wanted, (-1, 1), strict=True)
        )
        return min(low, before[name]) <= after[name] <= max(high, before[name])

    def lawful(i, before, after):
        if not holds(condition, after) or holds(consequence, after):
            return True
        already = holds(condition, before) and not holds(consequence, before)
        return already and all(no_worse(n, w, before, after) for n, w in consequence.items())

    return Rules(implications=[(condition, consequence)]), lawful


ANY_RULE = st.one_of(
    *(one_way(word) for word in ("immutable", "increasing", "decreasing")),
    ranges(),
    transitions(),
    relations(),
    implications(),
)


# --------------------------------------------------------------------- models


def training_rows(rng):
    """Rows that hold every value."""
    rows = [GRID[k] for k in rng.integers(len(GRID), size=80)]
    return as_frame([*rows, GRID[0], GRID[-1], {**GRID[0], "size": "medium", "colour": "green"}])


def pipeline(last):
    encode = make_column_transformer(
        (StandardScaler(), ["whole", "few"]), (OneHotEncoder(), ["size", "colour"])
    )
    return make_pipeline(encode, last)


MODELS = {
    "linear": lambda: LogisticRegression(C=10),
    "net": lambda: MLPClassifier((4,), solver="lbfgs", max_iter=60, random_state=0),
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": lambda: RandomForestClassifier(5, max_depth=4, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0),
    "neighbours": lambda: KNeighborsClassifier(3),
}


def labelled(rng, X, n_classes):
    coded = np.column_stack([X["whole"], X["few"], *(X[["size", "colour"]].to_numpy().T == "red")])
    coded = np.column_stack([coded.astype(float), X["size"].cat.codes])
    score = coded @ rng.normal(size=coded.shape[1]) + 0.5 * rng.normal(size=len(X))
    shares = [rng.uniform(0.55, 0.85), rng.uniform(0.2, 0.45)][: n_classes - 1]
    cuts = np.quantile(score, sorted(shares))
    return np.digitize(score, cuts), score


def fitted(kind, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline(MODELS[kind]()).fit(X, y)


def explained(explainer, query, target, rules):
    """The result, or None where the rules contradict each other for all rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return explainer.explain(query, target, rules=rules)
        except ValueError as error:
            assert "must not name the same column" in str(error)
            return None


# --------------------------------------------------------------------- the property


def check(result, query, lawful, budget, wanted, already):
    """Against all points: ``wanted`` (n, points) says what would do, rules are read again."""
    rows = query.to_dict("records")
    answers = result.counterfactuals
    assert len(result) == len(rows)
    place = {tuple(row.values()): k for k, row in enumerate(GRID)}
    for i, before in enumerate(rows):
        status = result.status[i]
        assert (status == Status.FOUND) == result.success[i]
        assert (status == Status.ALREADY_TARGET) == already[i]
        if already[i]:
            continue
        if status == Status.FOUND:
            cells = answers.iloc[i].to_dict()
            after = {**cells, "whole": int(cells["whole"]), "few": int(cells["few"])}
            changes = sum(before[name] != after[name] for name in COLUMNS)
            assert changes == result.n_changes[i] and 0 < changes <= budget
            assert wanted[i, place[tuple(after.values())]]
            for rule in lawful:
                assert rule(i, before, after)
            continue
        # No answer where there is none, and only there: the grid is small enough to be listed.
        assert answers.iloc[i].isna().all()
        if status == Status.CONFLICTING_RULES:
            # Rules that leave a column no new value at all: whoever wrote them should know.
            (stuck,) = (name for name in COLUMNS if repr(name) in result.reason[i])
            moves = [{**before, stuck: row[stuck]} for row in GRID if row[stuck] != before[stuck]]
            assert not any(all(rule(i, before, row) for rule in lawful) for row in moves)
            continue
        assert status == Status.UNREACHABLE
        for k in np.flatnonzero(wanted[i]):
            after = GRID[k]
            changes = sum(before[name] != after[name] for name in COLUMNS)
            lawless = not all(rule(i, before, after) for rule in lawful)
            assert changes > budget or changes == 0 or lawless


@PROFILE
@given(st.data())
def test_classes(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    kind = data.draw(st.sampled_from(list(MODELS)))
    n_classes = data.draw(st.sampled_from([2, 3]))
    X, query = training_rows(rng), EVERY.iloc[rng.integers(len(GRID), size=N_QUERY)]
    y, _ = labelled(rng, X, n_classes)
    model = fitted(kind, X, y)
    budget = data.draw(st.sampled_from([None, None, 1, 2]))
    told = data.draw(st.lists(ANY_RULE, max_size=4))
    explainer = CounterfactualExplainer(
        FrozenEstimator(model) if data.draw(st.booleans()) else model.predict,
        density=data.draw(st.sampled_from(["kde", "lof"])),
        max_changes=budget,
        tau=data.draw(st.sampled_from([0.0, 2.0])),
    ).fit(X, y)
    rules = None
    for rule, _ in told:
        rules = rule if rules is None else rules.merged(rule)
    sure = hasattr(explainer.estimator_, "predict_proba")
    kinds = [None, 1, {0, 1}] + [Probability(1, 0.6)] * sure
    target = data.draw(st.sampled_from(kinds))
    result = explained(explainer, query, target, rules)
    if result is None:
        return
    labels, before = model.predict(EVERY), model.predict(query)
    if target is None:
        good = labels != before[:, None]
        already = np.zeros(N_QUERY, dtype=bool)
    else:
        wishes = target if isinstance(target, set) else {getattr(target, "label", target)}
        good, already = np.isin(labels, list(wishes)), np.isin(before, list(wishes))
        if isinstance(target, Probability):
            good &= model.predict_proba(EVERY)[:, 1] >= 0.6
            already &= model.predict_proba(query)[:, 1] >= 0.6
        good = np.broadcast_to(good, (N_QUERY, len(GRID)))
    check(result, query, [rule for _, rule in told], budget or 4, good, already)


@settings(PROFILE, max_examples=20)
@given(st.data())
def test_values(data):
    """A regression tree, whose values make steps."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    X, query = training_rows(rng), EVERY.iloc[rng.integers(len(GRID), size=N_QUERY)]
    _, score = labelled(rng, X, 2)
    model = pipeline(DecisionTreeRegressor(max_depth=5, random_state=0)).fit(X, score)
    told = data.draw(st.lists(ANY_RULE, max_size=3))
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, score)
    rules = None
    for rule, _ in told:
        rules = rule if rules is None else rules.merged(rule)
    low = np.quantile(
        score,
        np.array(data.draw(st.lists(st.floats(0.1, 0.9), min_size=N_QUERY, max_size=N_QUERY))),
    )
    high = low + data.draw(st.sampled_from([0.5, 2.0, np.inf]))
    result = explained(explainer, query, Interval(low, high), rules)
    if result is None:
        return
    values, before = model.predict(EVERY), model.predict(query)
    good = (values >= low[:, None]) & (values <= np.reshape(high, (-1, 1)))
    already = (before >= low) & (before <= high)
    check(result, query, [rule for _, rule in told], 4, good, already)
