"""Relations and implications: the exact method equals exhaustive search under them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn.data import Column
from scfe_sklearn.exact import (
    cheapest,
    class_wins,
    row_options,
)
from scfe_sklearn.models import read_trees
from scfe_sklearn.rules import RowAtom, RowImplication, RowRelation, RowRules
from tests.exact.conftest import CLASSIFIERS, Tenths, make_case, to_raw

SEEDS = st.integers(0, 10**6)
NEAR = 1e-9


class Told:
    """Random rules over the columns of a case, as arrays for the method and as plain checks."""

    def __init__(self, rng, case):
        self.row, self.sums, self.clauses = case.row, [], []
        rows = case.lattice_rows()
        for _ in range(rng.integers(0, 3)):
            weights = np.append(rng.choice([0.0, 1.0, -1.0, 0.5, -0.3, 2.0], 3), 0.0)
            scores = rng.choice([-1.0, 0.0, 2.0], 3) * (rng.random() < 0.5)
            total = self.total(rows, weights, scores)
            own = self.total(case.row[None], weights, scores)[0]
            low, high = np.sort(rng.choice(total, 2))
            low, high = ((low, np.inf), (-np.inf, high), (low, high), (low, low))[rng.integers(4)]
            # a row that breaks a relation already must not break it more
            self.sums.append((weights, scores, min(low, own), max(high, own), False))
        if rng.random() < 0.4:
            self.sums.append((rng.choice([0.0, 1.0, 2.0], 4), None, 0.0, rng.integers(1, 5), True))
        for _ in range(rng.integers(0, 3)):
            self.clauses.append(([self.atom(rng, rows)], [self.atom(rng, rows)]))
            if rng.random() < 0.5:
                self.clauses[-1][rng.integers(2)].append(self.atom(rng, rows))
        # a row must not break an implication as it is, or there is more to say than is told here
        own = case.row[None]
        self.clauses = [c for c in self.clauses if not self.broken(own, *c)[0]]

    @staticmethod
    def total(rows, weights, scores):
        return rows[:, :3] @ weights[:3] + scores[rows[:, 3].astype(int)]

    @staticmethod
    def atom(rng, rows):
        column = int(rng.integers(4))
        if column == 3:
            return column, rng.random(3) < 0.5
        low, high = np.sort(rng.choice(rows[:, column], 2))
        return column, ((low, high), (low, np.inf), (-np.inf, high))[rng.integers(3)]

    @staticmethod
    def inside(rows, atom):
        column, wanted = atom
        if column == 3:
            return wanted[rows[:, 3].astype(int)]
        return (rows[:, column] >= wanted[0] - NEAR) & (rows[:, column] <= wanted[1] + NEAR)

    def broken(self, rows, condition, consequence):
        held = np.all([self.inside(rows, atom) for atom in condition], axis=0)
        return held & ~np.all([self.inside(rows, atom) for atom in consequence], axis=0)

    def keeps(self, rows):
        """Which raw rows keep all rules."""
        good = np.ones(len(rows), dtype=bool)
        for weights, scores, low, high, of_change in self.sums:
            if of_change:
                total = np.abs(rows[:, :3] - self.row[:3]) @ weights[:3]
                total = total + weights[3] * (rows[:, 3] != self.row[3])
            else:
                total = self.total(rows, weights, scores)
            good &= (total >= low - NEAR) & (total <= high + NEAR)
        for condition, consequence in self.clauses:
            good &= ~self.broken(rows, condition, consequence)
        return good

    def rules(self):
        """The same for the exact method."""
        linear = []
        for weights, scores, low, high, of_change in self.sums:
            if of_change:
                scores = weights[3] * (np.arange(3) != self.row[3])
            columns = [j for j in range(3) if weights[j]] + [3]
            numbers = [None] * (len(columns) - 1) + [np.asarray(scores, float)]
            coefficients = np.append(weights[columns[:-1]], 1.0)
            linear.append(
                RowRelation(np.array(columns), coefficients, numbers, low, high, NEAR, of_change)
            )
        told = [[tuple(map(self.told, side)) for side in clause] for clause in self.clauses]
        return RowRules(tuple(linear), tuple(RowImplication(*sides) for sides in told))

    @staticmethod
    def told(atom):
        column, wanted = atom
        if column == 3:
            return RowAtom(3, member=wanted)
        return RowAtom(column, wanted[0] - NEAR, wanted[1] + NEAR)


def options_under(case, rules):
    return row_options(
        case.ensemble,
        case.factual,
        lower=case.lower,
        upper=case.upper,
        allowed=case.allowed,
        unit=case.unit,
        values=Tenths(),
        rules=rules,
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
@settings(max_examples=12, deadline=None)
@given(
    seed=SEEDS,
    objective=st.sampled_from(["distance", "cost", "changes"]),
    max_changes=st.sampled_from([None, 1, 2, 3]),
)
def test_it_equals_exhaustive_search(name, seed, objective, max_changes):
    case = make_case(CLASSIFIERS[name](), seed)
    told = Told(np.random.default_rng(seed), case)
    beta = 0.3 if objective == "cost" else 0.0
    options = options_under(case, told.rules())
    rows = case.lattice_rows()
    distance, changes = case.costs(rows, 0.0)
    cost = changes.astype(float) if objective == "changes" else distance + beta * changes
    lawful = told.keeps(rows) & (changes <= (4 if max_changes is None else max_changes))
    said = case.model.predict(rows)
    for code in (0, 1):
        answer = cheapest(
            case.ensemble,
            options,
            class_wins(case.ensemble, code),
            objective=objective,
            beta=beta,
            max_changes=max_changes,
        )
        fine = lawful & (said == code)
        if not fine.any():
            assert answer.status == "unreachable"
            continue
        assert answer.status == "optimal"
        at = np.flatnonzero((rows == to_raw(answer.u)).all(axis=1))
        assert fine[at].all() and len(at) == 1
        assert answer.cost == pytest.approx(cost[fine].min(), abs=1e-6)
        assert answer.cost == pytest.approx(cost[at[0]], abs=1e-9)
        assert answer.distance == pytest.approx(distance[at[0]])
        assert answer.changes == changes[at[0]]
        if objective == "changes":
            nearest = distance[fine & (changes == changes[fine].min())].min()
            assert answer.distance == pytest.approx(nearest, abs=1e-6)


class Plain:
    """Numbers with steps of given sizes; 0 for none."""

    def __init__(self, *step):
        self.step = np.array(step)

    def at_most(self, values):
        step = np.where(self.step > 0, self.step, 1.0)
        whole = np.floor(values / step + 1e-9) * step
        return np.where(self.step > 0, whole, values)

    def at_least(self, values):
        return -self.at_most(-values)


def two_numbers(seed, values, low, high, n=60):
    """A tree on two columns of numbers, and one of its rows."""
    rng = np.random.default_rng(seed)
    X = values.at_most(rng.uniform(low, high, (n, 2)))
    y = rng.random(n) < 0.3
    y[:2] = True, False
    model = DecisionTreeClassifier(max_depth=5, random_state=0).fit(X, y)
    row = X[model.predict(X) == 0][0]
    return rng, model, read_trees(model, [Column(0, None), Column(1, None)], X), row


def ask(ensemble, row, values, low, high, unit, rules, objective="distance"):
    options = row_options(
        ensemble,
        row,
        lower=np.full(2, low),
        upper=np.full(2, high),
        allowed=np.ones(2, bool),
        unit=np.full(2, unit),
        values=values,
        rules=rules,
    )
    return cheapest(ensemble, options, class_wins(ensemble, 1), objective=objective)


def band(rng, rows, row, unit):
    """A relation between two numbers, as a rule and as a check of rows."""
    weights = rng.choice([1.0, -1.0, 0.5, 3.0], 2) / unit
    total = rows @ weights
    low, high = np.quantile(total, np.sort(rng.random(2)))
    low, high = ((low, np.inf), (-np.inf, high), (low, high))[rng.integers(3)]
    low, high = min(low, row @ weights), max(high, row @ weights)
    rule = RowRelation(np.arange(2), weights, [None, None], low, high, 1e-9)
    return rule, (total >= low - 1e-9) & (total <= high + 1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, objective=st.sampled_from(["distance", "changes"]))
def test_many_steps_within_a_cell(seed, objective):
    values = Plain(1.0, 2.0)
    rng, model, ensemble, row = two_numbers(seed, values, 0.0, 300.0)
    rows = np.stack(np.meshgrid(np.arange(301.0), np.arange(0.0, 301.0, 2.0)), -1).reshape(-1, 2)
    rule, kept = band(rng, rows, row, 50.0)
    answer = ask(ensemble, row, values, 0.0, 300.0, 50.0, RowRules((rule,)), objective)
    fine = kept & (model.predict(rows) == 1)
    if not fine.any():
        assert answer.status == "unreachable"
        return
    distance = (((rows - row) / 50.0) ** 2).sum(axis=1)[fine]
    changes = (rows != row).sum(axis=1)[fine]
    assert answer.status == "optimal"
    assert (rows[fine] == answer.u).all(axis=1).sum() == 1
    if objective == "changes":
        assert answer.changes == changes.min()
        distance = distance[changes == changes.min()]
    assert answer.distance == pytest.approx(distance.min(), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, known=st.booleans())
def test_continuous_numbers_come_as_near_as_a_fine_grid(seed, known):
    values = Plain(0.0, 0.0)
    rng, model, ensemble, row = two_numbers(seed, values, 0.0, 1.0)
    ticks = np.linspace(0.0, 1.0, 401)
    rows = np.stack(np.meshgrid(np.union1d(ticks, row[0]), np.union1d(ticks, row[1])), -1).reshape(
        -1, 2
    )
    rule, kept = band(rng, rows, row, 1.0)
    answer = ask(ensemble, row, values if known else None, 0.0, 1.0, 1.0, RowRules((rule,)))
    fine = kept & (model.predict(rows) == 1)
    if answer.status == "unreachable":
        assert not fine.any()
        return
    assert answer.status == "optimal"
    assert model.predict(answer.u[None])[0] == 1
    total = answer.u @ rule.coefficients
    assert rule.low - 2e-9 <= total <= rule.high + 2e-9
    assert answer.cost == pytest.approx(((answer.u - row) ** 2).sum())
    if fine.any():
        assert answer.cost <= ((rows[fine] - row) ** 2).sum(axis=1).min() + 1e-5


def test_a_relation_moves_a_number_within_its_own_cell():
    """The tree asks the first number only; the second must follow, to the nearest of the line."""
    X = np.column_stack([np.linspace(0, 1, 21), np.arange(21.0) % 2])
    model = DecisionTreeClassifier().fit(X, X[:, 0] < 0.5)
    ensemble = read_trees(model, [Column(0, None), Column(1, None)], X)
    rule = RowRelation(np.arange(2), np.array([1.0, -1.0]), [None, None], 0.0, np.inf)  # v <= u
    row = np.array([0.9, 0.8])
    answer = ask(ensemble, row, None, 0.0, 1.0, 1.0, RowRules((rule,)))
    threshold = ensemble.thresholds()[0][0]
    np.testing.assert_allclose(answer.u, threshold, atol=1e-8)
    assert answer.u[1] <= answer.u[0]
    assert (answer.status, answer.changes, answer.gap) == ("optimal", 2, 0)
    # Both would have to stay above what one of them must go below.
    bound = RowRelation(np.arange(2), np.ones(2), [None, None], 1.6, np.inf)
    assert ask(ensemble, row, None, 0.0, 1.0, 1.0, RowRules((bound,))).status == "unreachable"
    less = RowRelation(np.arange(2), np.ones(2), [None, None], 1.3, np.inf)
    answer = ask(ensemble, row, None, 0.0, 1.0, 1.0, RowRules((rule, less)))
    assert answer.status == "unreachable"


@pytest.mark.parametrize("fillable", [False, True])
def test_a_missing_number_may_become_known_if_it_may(fillable):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 6, (150, 2)).astype(float)
    y = X[:, 0] >= 4
    X[rng.random(150) < 0.3, 0] = np.nan
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3).fit(X, y)
    ensemble = read_trees(model, [Column(0, None), Column(1, None)], X)
    row = np.array([np.nan, 1.0])
    assert not model.predict(row[None])[0]
    # What is not known is not judged; what becomes known is.
    relation = RowRelation(np.arange(2), np.array([1.0, -1.0]), [None, None], -np.inf, 2.0, 1e-9)
    options = row_options(
        ensemble,
        row,
        lower=np.zeros(2),
        upper=np.full(2, 5.0),
        allowed=np.array([fillable, True]),
        unit=np.ones(2),
        values=Plain(1.0, 1.0),
        rules=RowRules((relation,)),
    )
    answer = cheapest(ensemble, options, class_wins(ensemble, 1))
    fills = np.arange(6.0) if fillable else np.empty(0)
    rows = np.stack(np.meshgrid(np.append(fills, np.nan), np.arange(6.0)), -1).reshape(-1, 2)
    fine = model.predict(rows) & ~(rows[:, 0] - rows[:, 1] > 2)
    cost = ~np.isnan(rows[:, 0]) + (rows[:, 1] - 1.0) ** 2
    if fine.any():
        assert answer.status == "optimal"
        assert answer.cost == pytest.approx(cost[fine].min())
    else:
        assert answer.status == "unreachable"
    assert fine.any() == fillable


def test_refused_leaves_stay_left_out_under_rules():
    case = make_case(CLASSIFIERS["forest"](), 3)
    told = Told(np.random.default_rng(8), case)
    assert told.sums or told.clauses
    options, rows = options_under(case, told.rules()), case.lattice_rows()
    code = int(case.model.predict(case.row[None])[0] == 0)
    refused = []
    while len(refused) < 30:
        answer = cheapest(case.ensemble, options, class_wins(case.ensemble, code), refused=refused)
        if answer.u is None:
            break
        assert told.keeps(to_raw(answer.u)[None]).all()
        refused.append(answer.u)
    fine = told.keeps(rows) & (case.model.predict(rows) == code)
    leaves = case.ensemble.leaves(np.hstack([rows[:, :3], rows[:, 3:] == np.arange(3.0)]))
    distinct = np.unique(leaves[fine], axis=0)
    assert (len(refused), answer.status) == (len(distinct), "unreachable")


def test_without_time_nothing_is_claimed():
    case = make_case(CLASSIFIERS["forest"](), 1)
    told = Told(np.random.default_rng(5), case)
    options = options_under(case, told.rules())
    for code in (0, 1):
        want = class_wins(case.ensemble, code)
        answer = cheapest(case.ensemble, options, want, time_limit=0.0)
        sure = cheapest(case.ensemble, options, want)
        if answer.status in ("optimal", "unreachable"):
            assert answer.cost == pytest.approx(sure.cost)
        assert answer.bound <= sure.cost + 1e-9
