"""Record the answers of small problems, and compare them after a change that must not alter any.

Run before and after the change, on the same machine::

    python -m benchmarks.record_answers --save before.pickle
    python -m benchmarks.record_answers --compare before.pickle

Data are generated anew and records are not committed. Answers of the search and of the exact
solver, bounds of rows, violations and texts must agree bit by bit; coordinates of gradient answers
up to 1e-9.
"""

import argparse
import itertools
import pickle
import sys
import warnings

import numpy as np
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from scfe_sklearn import (
    CounterfactualExplainer,
    Interval,
    Linear,
    Probability,
    Relative,
    Rules,
)
from scfe_sklearn.datasets import make_loan_applications

N = 8
TOLERANCE = 1e-9
X, Y = make_loan_applications(240, random_state=0)
MODELS = {
    "logistic": LogisticRegression(),
    "mlp": MLPClassifier((8,), solver="lbfgs", max_iter=60, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=12, max_depth=2, random_state=0),
    "forest": RandomForestClassifier(8, max_depth=4, random_state=0),
    "black box": KNeighborsClassifier(7),
}
WITH_GRADIENT = {"logistic", "mlp"}
FLAGS = np.arange(N) % 3 > 0
LIMITS = np.where(FLAGS, 700.0 + 10 * np.arange(N), np.nan)
PURPOSES = sorted(set(X["purpose"]))
RULES = {
    "flags": {"immutable": ["sex", "purpose"], "increasing": ["age", "education"]},
    "flags by row": {"immutable": {"age": FLAGS}, "decreasing": {"late_payments": FLAGS}},
    "ranges": {
        "ranges": {
            "debt_ratio": (0.05, 0.4),
            "credit_score": Relative(-40, 60),
            "income": Relative(0.9, 1.25, factor=True),
            "education": ("secondary", "master"),
        }
    },
    "ranges by row": {"ranges": {"credit_score": (None, LIMITS), "education": Relative(-1, 1)}},
    "transitions": {
        "transitions": {
            "housing": {"rent": ["mortgage"], "mortgage": ["own"], "own": []},
            "education": {"secondary": ["master"], "primary": ["secondary", "doctorate"]},
        }
    },
    "transitions by row": {
        "transitions": {
            "housing": [["own"] if flag else None for flag in FLAGS],
            "purpose": [{PURPOSES[0]: PURPOSES[1:3]} if flag else PURPOSES[:4] for flag in FLAGS],
        }
    },
    "relations": {
        "relations": [
            "loan_amount <= 0.5 * income",
            "employment_years + 16 <= age",
            "education + has_cosigner >= 2",
        ]
    },
    "budget": {
        "relations": [
            Linear({"savings": 1, "income": 1}, at_most=15_000, of="change"),
            Linear({"education": 1, "housing": 2, "has_cosigner": 1}, at_most=2, of="change"),
        ]
    },
    "implications": {
        "implications": [
            ({"housing": "own"}, {"savings": (2_000, None)}),
            ({"education": ("bachelor", None)}, {"age": (21, None)}),
            ({"late_payments": (2, None), "has_cosigner": False}, {"purpose": set(PURPOSES[:3])}),
        ]
    },
    "costs": {"costs": {"income": 3.0, "age": 0.5, "housing": 1.0 + np.arange(N)}},
}
STRICT = {
    "ranges": {"debt_ratio": (0.05, 0.45), "education": ("secondary", None)},
    "transitions": {"housing": [["own", "rent"] if flag else None for flag in FLAGS]},
    "relations": RULES["relations"]["relations"],
    "implications": RULES["implications"]["implications"],
    "strict": True,
}


def pipeline(last):
    """A pipeline of the loan data with a fitted last step."""
    encode = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(encode, last).fit(X, Y)


def answers(result):
    """Return the content of a result as arrays."""
    frame = result.to_frame()
    return {
        "numbers": frame.select_dtypes("number").to_numpy(np.float64),
        "words": frame.select_dtypes(exclude="number").to_numpy(object).astype(str),
        "rules": np.array(result.rules_text, dtype=str),
    }


def explained(model, name, query=None, target="approved", options=None, **parameters):
    """Answers of an explainer of one of the models."""
    explainer = CounterfactualExplainer(FrozenEstimator(model), random_state=0, **parameters)
    explainer.fit(X, Y)
    rows = X[model.predict(X) == "refused"][:N] if query is None else query
    options = dict(options or {})
    if options.pop("pareto", False):
        return answers(explainer.pareto(rows, target, factors=(0, 1), budgets=(1, 2)))
    return answers(explainer.explain(rows, target, **options))


def cells():
    """Every cell: its name, whether it moves along a gradient, and the call."""
    fitted = {name: pipeline(model) for name, model in MODELS.items()}

    def cell(model, **more):
        return lambda: explained(fitted[model], model, **more)

    for density, model in itertools.product(("lof", "kde", "knn", "gmm"), MODELS):
        yield f"{density}, {model}", model in WITH_GRADIENT, cell(model, density=density)
    for (rule, given), model in itertools.product(RULES.items(), ("logistic", "forest")):
        options = {"rules": Rules(**given)}
        yield f"{rule}, {model}", model in WITH_GRADIENT, cell(model, options=options)
    for model in ("mlp", "boosting"):
        options = {"rules": Rules(**STRICT)}
        yield f"strict, {model}", model in WITH_GRADIENT, cell(model, options=options)
        every = Rules(also=[Rules(**RULES[name]) for name in ("flags", "ranges", "relations")])
        options = {"rules": every, "best_effort": True}
        yield f"merged, {model}", model in WITH_GRADIENT, cell(model, options=options)
        options = {"n_counterfactuals": 3}
        yield f"options, {model}", model in WITH_GRADIENT, cell(model, options=options)
        yield f"pareto, {model}", model in WITH_GRADIENT, cell(model, options={"pareto": True})
        target = Probability("approved", at_least=0.8)
        yield f"probability, {model}", model in WITH_GRADIENT, cell(model, target=target)
        yield f"budget 2, {model}", model in WITH_GRADIENT, cell(model, max_changes=2)
    for rule in ("ranges", "relations", "budget", "implications"):
        options = {"rules": Rules(**RULES[rule])}
        yield f"milp, {rule}", False, cell("boosting", solver="milp", options=options)
    yield "regression", False, regression
    yield "missing", True, missing


def regression():
    """Answers of a regressor with an interval as target."""
    numbers = X.select_dtypes("number")
    value = numbers["income"] / 1000 + numbers["credit_score"] / 100
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(numbers, value)
    explainer = CounterfactualExplainer(FrozenEstimator(model), random_state=0)
    explainer.fit(numbers, value)
    return answers(explainer.explain(numbers[:N], Interval(60, 80)))


def missing():
    """Answers with missing values, some of which may be filled in."""
    from sklearn.impute import SimpleImputer

    numbers = X[["income", "savings", "credit_score", "debt_ratio"]].astype(float)
    numbers = numbers.mask(np.random.default_rng(0).random(numbers.shape) < 0.1)
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(numbers, Y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), fillable=["savings"], random_state=0
    ).fit(numbers, Y)
    rows = numbers[model.predict(numbers) == "refused"][:N]
    return answers(explainer.explain(rows, "approved", rules=Rules(increasing=["income"])))


# --------------------------------------------------------------------------- rules alone


def rule_cells():
    """Rules of every kind, alone and together: bounds, slacks, violations, texts."""
    model = pipeline(LogisticRegression())
    space = CounterfactualExplainer(FrozenEstimator(model)).fit(X, Y).space_
    rng = np.random.default_rng(1)
    before = X.iloc[rng.integers(len(X), size=N)].reset_index(drop=True)
    after = X.iloc[rng.integers(len(X), size=N)].reset_index(drop=True)
    half = before.where(rng.random(before.shape) < 0.5, after).astype(X.dtypes)
    together = Rules(also=[Rules(**given) for given in RULES.values()])
    everything = {name: Rules(**given) for name, given in RULES.items()}
    everything |= {"strict": Rules(**STRICT), "together": together}
    everything["strictly together"] = together.merged(Rules(strict=True))
    for name, rules in everything.items():
        yield f"rules: {name}", lambda rules=rules: bound(rules, space, before, (after, half))


def bound(rules, space, before, others):
    """Bounds, slacks at random points, violations and sentences of rules."""
    Z = space.encode(before)
    bounds = rules.bind(space, before, Z)
    rng = np.random.default_rng(2)
    points = torch.from_numpy(Z[np.repeat(np.arange(N), 5)] + rng.normal(size=(5 * N, Z.shape[1])))
    points = torch.cat([points, *(torch.from_numpy(space.encode(other)) for other in others)])
    rows = torch.from_numpy(np.concatenate([np.repeat(np.arange(N), 5), *[np.arange(N)] * 2]))
    slack = [one.slack(points, rows).numpy() for one in bounds.requirements]
    impossible = bounds.infeasible
    return {
        "lower": bounds.lower,
        "upper": bounds.upper,
        "allowed": bounds.allowed,
        "mutable": bounds.mutable,
        "cost": bounds.cost,
        "conflict": bounds.conflict.astype(str),
        "impossible": np.array(impossible).astype(str),
        "slack": np.array(slack),
        "violations": np.array([rules.violations(space, before, other) for other in others]),
        "sentences": np.array(rules.describe(space)),
    }


def recorded(only=""):
    """All records whose names hold a text."""
    found = {}
    for name, moves, call in [*((n, False, c) for n, c in rule_cells()), *cells()]:
        if only in name:
            found[name] = moves, call()
    return found


def differences(before, after):
    """Return the differences of two records."""
    for name, (moves, old) in before.items():
        if name not in after:
            yield f"{name}: missing"
            continue
        for key, value in old.items():
            new = after[name][1][key]
            if value.shape != new.shape:
                yield f"{name}, {key}: shape {value.shape} became {new.shape}"
            elif value.dtype.kind != "f":
                if not (value == new).all():
                    yield f"{name}, {key}: {int((value != new).sum())} words differ"
            elif not np.array_equal(value, new, equal_nan=True):
                near = moves and np.allclose(
                    value, new, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
                )
                if not near:
                    gap = np.nanmax(abs(value - new))
                    yield f"{name}, {key}: numbers differ by up to {gap:.3g}"


def main(arguments=None):
    """Save a record, or compare with one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--save", metavar="FILE")
    parser.add_argument("--compare", metavar="FILE")
    parser.add_argument("--only", default="", metavar="TEXT", help="cells whose names hold it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = recorded(options.only)
    if options.save:
        with open(options.save, "wb") as file:
            pickle.dump(found, file)
    if not options.compare:
        return 0
    with open(options.compare, "rb") as file:
        before = {name: old for name, old in pickle.load(file).items() if options.only in name}
    lines = list(differences(before, found))
    print(*lines, f"{len(before)} cells, {len(lines)} differences", sep="\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
