"""Gradient boosting of xgboost, lightgbm and catboost, where they are installed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from scfe_sklearn.models.compiled import UnsupportedModelError
from scfe_sklearn.models.trees.nodes import ParsedTrees, Tree
from scfe_sklearn.models.trees.preprocessing import Preprocessor

_SINGLE = 2e-5  # xgboost adds up in float32


def collect_extra(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    """Read a fitted estimator of one of the three packages."""
    family = type(estimator).__module__.split(".")[0]
    if not hasattr(estimator, "predict"):
        raise UnsupportedModelError(f"{type(estimator).__name__} is no estimator.")
    if family == "xgboost":
        return _xgboost(estimator, preprocessor)
    return (
        _lightgbm(estimator, preprocessor)
        if family == "lightgbm"
        else _catboost(estimator, preprocessor)
    )


def _refuse(estimator: Any, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{type(estimator).__name__} cannot be read as trees: {why}.")


def _reading(
    estimator: Any,
    trees: list[tuple[Preprocessor, Tree]],
    baseline: np.ndarray,
    slope: float = 1.0,
) -> ParsedTrees:
    """Combine the trees; there is no decision function, so probabilities verify the sums."""
    n_classes = len(estimator.classes_) if is_classifier(estimator) else 0
    if not n_classes:
        return ParsedTrees(trees, "mean", baseline, 0, "predict", tolerance=_SINGLE)
    return ParsedTrees(
        trees,
        "margin" if len(baseline) == 1 else "scores",
        baseline,
        n_classes,
        "predict_proba",
        slope=slope,
        tolerance=_SINGLE,
    )


# ---------------------------------------------------------------------------------- xgboost


def _xgboost(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    learner = json.loads(bytes(estimator.get_booster().save_raw("json")))["learner"]
    objective = learner["objective"]["name"]
    known = ("binary:logistic", "multi:softprob", "multi:softmax", "reg:squarederror")
    booster = learner["gradient_booster"]
    if objective not in known or booster["name"] != "gbtree":
        raise _refuse(estimator, f"objective {objective!r} with booster {booster['name']!r}")
    count = max(int(learner["learner_model_param"]["num_class"]), 1)
    stored = learner["learner_model_param"]["base_score"]
    base = np.array(
        json.loads(stored) if str(stored).startswith("[") else [float(stored)], dtype=float
    )
    if objective == "binary:logistic":
        base = np.log(base) - np.log1p(-base)
    baseline = np.broadcast_to(base, (count,)).astype(np.float64)
    model = booster["model"]
    best = getattr(estimator, "best_iteration", None) if estimator.early_stopping_rounds else None
    stop = len(model["trees"])
    if best is not None:
        stop = int(model["iteration_indptr"][best + 1])
    trees = [
        (preprocessor, _xgboost_tree(estimator, tree, int(k), count))
        for tree, k in zip(model["trees"][:stop], model["tree_info"][:stop], strict=True)
    ]
    return _reading(estimator, trees, baseline)


def _xgboost_tree(estimator: Any, tree: dict[str, Any], k: int, count: int) -> Tree:
    if any(tree["split_type"]):
        raise _refuse(estimator, "native categories; encode them before")
    left = np.asarray(tree["left_children"], dtype=np.intp)
    condition = np.asarray(tree["split_conditions"], dtype=np.float32)
    value = np.zeros((len(left), count))
    value[:, k] = condition
    return Tree(
        left=left,
        right=np.asarray(tree["right_children"], dtype=np.intp),
        feature=np.asarray(tree["split_indices"], dtype=np.intp),
        # it goes left where x < threshold
        threshold=np.nextafter(condition, np.float32(-np.inf)).astype(np.float64),
        missing_left=np.asarray(tree["default_left"], dtype=bool),
        value=value,
        single=True,
    )


# --------------------------------------------------------------------------------- lightgbm


def _lightgbm(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    model = estimator.booster_.dump_model()
    objective = model["objective"].split(" ")
    if objective[0] not in ("binary", "multiclass", "regression") or model["average_output"]:
        raise _refuse(estimator, f"objective {model['objective']!r}")
    if "sqrt" in objective:
        raise _refuse(estimator, "a regression on square roots")
    slope = next((float(p[8:]) for p in objective if p.startswith("sigmoid:")), 1.0)
    count = int(model["num_tree_per_iteration"])
    stop = (estimator.best_iteration_ or 0) * count or len(model["tree_info"])
    trees = [
        (preprocessor, _lightgbm_tree(estimator, tree["tree_structure"], i % count, count))
        for i, tree in enumerate(model["tree_info"][:stop])
    ]
    return _reading(estimator, trees, np.zeros(count), slope)


def _lightgbm_tree(estimator: Any, root: dict[str, Any], k: int, count: int) -> Tree:
    nodes, left, right = [root], [-1], [-1]
    for at, node in enumerate(nodes):  # the list grows while it is read
        if "split_feature" in node:
            left[at], right[at] = len(nodes), len(nodes) + 1
            nodes += [node["left_child"], node["right_child"]]
            left += [-1, -1]
            right += [-1, -1]
    inner = np.array(left) >= 0
    splits = [node for node in nodes if "split_feature" in node]
    if any(node["decision_type"] != "<=" for node in splits):
        raise _refuse(estimator, "native categories; encode them before")
    if any(node["missing_type"] == "Zero" for node in splits):
        raise _refuse(estimator, "zero_as_missing=True")
    n = len(nodes)
    feature, threshold = np.zeros(n, dtype=np.intp), np.full(n, np.nan)
    missing_left, value = np.zeros(n, dtype=bool), np.zeros((n, count))
    feature[inner] = [node["split_feature"] for node in splits]
    threshold[inner] = [node["threshold"] for node in splits]
    # without missing values in training, a missing one is read as zero
    missing_left[inner] = [
        node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
        for node in splits
    ]
    value[~inner, k] = [node["leaf_value"] for node in nodes if "split_feature" not in node]
    return Tree(np.array(left), np.array(right), feature, threshold, missing_left, value, False)


# --------------------------------------------------------------------------------- catboost


def _catboost(estimator: Any, preprocessor: Preprocessor) -> ParsedTrees:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json")
        model = json.loads(path.read_text(encoding="utf-8"))
    info = model["features_info"]
    others = [kind for kind, listed in info.items() if listed and kind != "float_features"]
    if others or "oblivious_trees" not in model:
        raise _refuse(estimator, "features that are no numbers; encode them before")
    loss = estimator.get_all_params()["loss_function"]
    if loss not in ("Logloss", "MultiClass", "RMSE"):
        raise _refuse(estimator, f"loss {loss!r}")
    scale, bias = model["scale_and_bias"]
    baseline = np.asarray(bias, dtype=np.float64).reshape(-1)
    count = len(estimator.classes_) if loss == "MultiClass" else 1
    baseline = np.broadcast_to(baseline, (count,)).copy() if len(baseline) != count else baseline
    # what a missing value counts as: below or above every number
    as_low = {
        f["feature_index"]: f.get("nan_value_treatment", "AsIs") == "AsFalse"
        for f in info["float_features"]
    }
    position = {f["feature_index"]: f["flat_feature_index"] for f in info["float_features"]}
    trees = [
        (preprocessor, _catboost_tree(tree, float(scale), count, as_low, position))
        for tree in model["oblivious_trees"]
    ]
    return _reading(estimator, trees, baseline)


def _catboost_tree(
    tree: dict[str, Any],
    scale: float,
    count: int,
    as_low: dict[int, bool],
    position: dict[int, int],
) -> Tree:
    """Write an oblivious tree, the same split on a whole level, as a full binary tree."""
    splits = (tree["splits"] or [])[::-1]  # the last one is the highest bit of a leaf's number
    depth = len(splits)
    inner, n = 2**depth - 1, 2 ** (depth + 1) - 1
    at = np.arange(n)
    level = np.floor(np.log2(at + 1)).astype(np.intp)
    is_inner = at < inner
    of_level = np.minimum(level, max(depth - 1, 0))
    features = [s["float_feature_index"] for s in splits] or [0]
    borders = np.array([s["border"] for s in splits] or [np.nan], dtype=np.float64)
    lows = np.array([as_low.get(f, False) for f in features])
    value = np.zeros((n, count))
    value[inner:] = scale * np.asarray(tree["leaf_values"], dtype=np.float64).reshape(-1, count)
    return Tree(
        left=np.where(is_inner, 2 * at + 1, -1),
        right=np.where(is_inner, 2 * at + 2, -1),
        feature=np.array([position.get(f, f) for f in features])[of_level],
        threshold=borders[of_level],  # it goes right where x > border
        missing_left=lows[of_level],
        value=value,
        single=True,
    )
