"""Trees of each family of scikit-learn, and their combination."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from scfe_sklearn.models.compiled import UnsupportedModelError, unwrap
from scfe_sklearn.models.trees.nodes import ParsedTrees, Tree
from scfe_sklearn.models.trees.preprocessing import Preprocessor

_PRECISE = 1e-10


def collect(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    """Read a fitted estimator behind a preprocessor."""
    estimator = unwrap(estimator)
    module = type(estimator).__module__.split(".")[0]
    if module in ("xgboost", "lightgbm", "catboost"):
        import scfe_sklearn.models.trees.boosting as extras

        return extras.collect_extra(estimator, preprocessor)
    if module != "sklearn":
        raise _unsupported(estimator)
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list) or getattr(estimator, "n_outputs_", 1) != 1:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} was fitted for several outputs; one output is supported."
        )
    return read_family(estimator, preprocessor)


def _unsupported(estimator: Any) -> UnsupportedModelError:
    names = sorted(cls.__name__ for cls in read_family.registry if cls is not object)
    return UnsupportedModelError(
        f"{type(estimator).__name__} cannot be read as trees. Supported: {', '.join(names)}, "
        "and gradient boosting of xgboost, lightgbm and catboost."
    )


@singledispatch
def read_family(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    """Read one family (register new ones here)."""
    raise _unsupported(estimator)


@read_family.register(Pipeline)
def _pipeline(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    for _, step in estimator.steps[:-1]:
        preprocessor = preprocessor.then(step)
    return collect(estimator.steps[-1][1], preprocessor)


def sklearn_tree(tree: Any, value: np.ndarray) -> Tree:
    """Nodes of a ``tree_`` with the given values (n, K)."""
    return Tree(
        left=tree.children_left.astype(np.intp),
        right=tree.children_right.astype(np.intp),
        feature=tree.feature.astype(np.intp),
        threshold=tree.threshold.astype(np.float64),
        missing_left=tree.missing_go_to_left.astype(bool),
        value=np.asarray(value, dtype=np.float64),
        single=True,
    )


def _own_values(estimator: Any) -> np.ndarray:
    """Probabilities (n, C) or the regression value (n, 1) of every node."""
    value = estimator.tree_.value[:, 0, :]
    return np.array(value[:, : estimator.n_classes_] if is_classifier(estimator) else value[:, :1])


def _averaged(
    estimator: Any, trees: list[tuple[Preprocessor, Tree]], divisor: float, n_classes: int
) -> ParsedTrees:
    return ParsedTrees(
        trees,
        "mean",
        np.zeros(n_classes or 1),
        n_classes,
        "predict_proba" if n_classes else "predict",
        divisor=divisor,
        tolerance=_PRECISE,
    )


def _count(estimator: Any) -> int:
    return len(estimator.classes_) if is_classifier(estimator) else 0


@read_family.register(DecisionTreeClassifier)
@read_family.register(DecisionTreeRegressor)
@read_family.register(ExtraTreeClassifier)
@read_family.register(ExtraTreeRegressor)
def _tree(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    tree = sklearn_tree(estimator.tree_, _own_values(estimator))
    return _averaged(estimator, [(preprocessor, tree)], 1.0, _count(estimator))


@read_family.register(RandomForestClassifier)
@read_family.register(RandomForestRegressor)
@read_family.register(ExtraTreesClassifier)
@read_family.register(ExtraTreesRegressor)
def _forest(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    trees = [(preprocessor, sklearn_tree(t.tree_, _own_values(t))) for t in estimator.estimators_]
    return _averaged(estimator, trees, float(len(trees)), _count(estimator))


@read_family.register(GradientBoostingClassifier)
@read_family.register(GradientBoostingRegressor)
def _gradient_boosting(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    init = estimator.init_
    if not (isinstance(init, (DummyClassifier, DummyRegressor)) or str(init) == "zero"):
        raise UnsupportedModelError(
            f"{type(estimator).__name__}(init={type(init).__name__}) cannot be read as trees. "
            "Supported: init=None and init='zero'."
        )
    zeros = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    baseline = np.asarray(estimator._raw_predict_init(zeros), dtype=np.float64)[0]
    width = len(baseline)
    trees = []
    for row in estimator.estimators_:
        for k, member in enumerate(row):
            value = np.zeros((member.tree_.node_count, width))
            value[:, k] = estimator.learning_rate * member.tree_.value[:, 0, 0]
            trees.append((preprocessor, sklearn_tree(member.tree_, value)))
    slope = 2.0 if getattr(estimator, "loss", "") == "exponential" else 1.0
    return _boosted(estimator, trees, baseline, zero_class=1, slope=slope)


def _boosted(
    estimator: Any,
    trees: list[tuple[Preprocessor, Tree]],
    baseline: np.ndarray,
    zero_class: int,
    slope: float = 1.0,
) -> ParsedTrees:
    n_classes = _count(estimator)
    if not n_classes:
        return ParsedTrees(trees, "mean", baseline, 0, "predict", tolerance=_PRECISE)
    kind = "margin" if len(baseline) == 1 else "scores"
    return ParsedTrees(
        trees,
        kind,  # type: ignore[arg-type]
        baseline,
        n_classes,
        "decision_function",
        zero_class=zero_class,
        slope=slope,
        tolerance=_PRECISE,
    )


@read_family.register(HistGradientBoostingClassifier)
@read_family.register(HistGradientBoostingRegressor)
def _hist_gradient_boosting(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    loss = getattr(estimator, "loss", "squared_error")
    if not is_classifier(estimator) and loss in ("poisson", "gamma"):
        raise UnsupportedModelError(
            f"{type(estimator).__name__}(loss={loss!r}) cannot be read as a sum of trees: its "
            "predictions are exponentials of one."
        )
    if estimator._preprocessor is not None:  # categories become codes, and come first
        preprocessor = preprocessor.apply(estimator._preprocessor.transform)
    baseline = np.ravel(np.asarray(estimator._baseline_prediction, dtype=np.float64))
    trees = []
    for row in estimator._predictors:
        for k, member in enumerate(row):
            trees.append((preprocessor, _hist_tree(member, k, len(baseline))))
    return _boosted(estimator, trees, baseline, zero_class=0)


def _hist_tree(member: Any, k: int, width: int) -> Tree:
    nodes = member.nodes
    leaf = nodes["is_leaf"].astype(bool)
    value = np.zeros((len(nodes), width))
    value[:, k] = nodes["value"]
    categorical = nodes["is_categorical"].astype(bool) & ~leaf
    bits = np.zeros((len(nodes), 256), dtype=bool)
    if categorical.any():
        words = member.raw_left_cat_bitsets[nodes["bitset_idx"][categorical]].astype(np.uint32)
        bits[categorical] = (words[:, :, None] >> np.arange(32, dtype=np.uint32) & 1).reshape(
            -1, 256
        )
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.intp)),
        right=np.where(leaf, -1, nodes["right"].astype(np.intp)),
        feature=nodes["feature_idx"].astype(np.intp),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=value,
        single=False,
        categorical=categorical,
        bits=bits,
    )


@read_family.register(AdaBoostClassifier)
def _adaboost(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    if getattr(estimator, "algorithm", "SAMME") == "SAMME.R":
        raise UnsupportedModelError("AdaBoostClassifier(algorithm='SAMME.R') cannot be read.")
    count, trees = len(estimator.classes_), []
    for member, weight in zip(estimator.estimators_, estimator.estimator_weights_, strict=False):
        inner = _single_tree(collect(member, preprocessor), estimator)
        code = np.searchsorted(estimator.classes_, member.classes_[inner[1].value.argmax(axis=1)])
        votes = np.where(code[:, None] == np.arange(count), weight, -1 / (count - 1) * weight)
        trees.append((inner[0], _with_value(inner[1], votes)))
    return ParsedTrees(
        trees,
        "signed" if count == 2 else "scores",
        np.zeros(count),
        count,
        "decision_function",
        divisor=float(estimator.estimator_weights_.sum()),
        tolerance=_PRECISE,
    )


@read_family.register(AdaBoostRegressor)
def _adaboost_regressor(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    trees = [_single_tree(collect(m, preprocessor), estimator) for m in estimator.estimators_]
    return ParsedTrees(
        trees,
        "median",
        np.zeros(1),
        0,
        "predict",
        weights=np.asarray(estimator.estimator_weights_[: len(trees)], dtype=np.float64),
        tolerance=_PRECISE,
    )


def _single_tree(reading: ParsedTrees, owner: Any) -> tuple[Preprocessor, Tree]:
    if reading.kind != "mean" or len(reading.trees) != 1 or np.any(reading.baseline):
        raise UnsupportedModelError(
            f"{type(owner).__name__} can be read where each of its members is one decision tree."
        )
    return reading.trees[0]


def _with_value(tree: Tree, value: np.ndarray) -> Tree:
    return replace(tree, value=value)


@read_family.register(BaggingClassifier)
@read_family.register(BaggingRegressor)
def _bagging(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    members = list(estimator.estimators_)
    whole = np.arange(estimator.n_features_in_)
    fronts = [
        preprocessor if np.array_equal(chosen, whole) else preprocessor.take(chosen)
        for chosen in estimator.estimators_features_
    ]
    return _combined(estimator, members, fronts, np.ones(len(members)))


@read_family.register(VotingClassifier)
@read_family.register(VotingRegressor)
def _voting(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    if is_classifier(estimator) and estimator.voting != "soft":
        raise UnsupportedModelError(
            "VotingClassifier(voting='hard') cannot be read as trees. Supported: voting='soft'."
        )
    members = list(estimator.estimators_)
    weights = estimator._weights_not_none
    weights = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=np.float64)
    return _combined(estimator, members, [preprocessor] * len(members), weights)


def _combined(
    estimator: Any, members: list[Any], fronts: list[Preprocessor], weights: np.ndarray
) -> ParsedTrees:
    """Weighted mean of members that are means themselves."""
    n_classes = _count(estimator)
    baseline, trees = np.zeros(n_classes or 1), []
    for member, preprocessor, weight in zip(members, fronts, weights, strict=True):
        inner = collect(member, preprocessor)
        if inner.kind != "mean":
            raise UnsupportedModelError(
                f"{type(estimator).__name__} of {type(unwrap(member)).__name__} cannot be read "
                "as trees. Supported: members whose probabilities or values are means over trees."
            )
        factor = weight / inner.divisor
        # members of an ensemble are trained on the positions of its classes
        at = np.asarray(unwrap(member).classes_, dtype=np.intp) if n_classes else np.zeros(1, int)
        baseline[at] += factor * inner.baseline
        for own, tree in inner.trees:
            value = np.zeros((len(tree.value), n_classes or 1))
            value[:, at] = tree.value if factor == 1.0 else factor * tree.value
            trees.append((own, _with_value(tree, value)))
    reading = _averaged(estimator, trees, float(weights.sum()), n_classes)
    return replace(reading, baseline=baseline)
