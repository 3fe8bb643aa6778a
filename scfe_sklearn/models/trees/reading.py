"""Convert a fitted tree ensemble and its preprocessing to thresholds of raw columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.data import Column
from scfe_sklearn.models.categorical_inputs import categorical_columns
from scfe_sklearn.models.compiled import UnsupportedModelError, split_pipeline, unwrap
from scfe_sklearn.models.transformers import is_missing
from scfe_sklearn.models.trees.ensemble import TreeEnsemble
from scfe_sklearn.models.trees.families import collect
from scfe_sklearn.models.trees.nodes import LevelSets, ParsedTrees, Tree, raw_nodes
from scfe_sklearn.models.trees.preprocessing import (
    Preprocessor,
    PreprocessorMap,
    Probe,
    require_column_wise,
)

_CHECKED_ROWS = 256
_CHECKED_TRAINING_ROWS = 1000
_MOST_LEAVES = 500
_MOST_CELLS = 2**28  # splits times leaves, of which each is a bit


def read_trees(estimator: Any, columns: Sequence[Column], X: Any = None) -> TreeEnsemble:
    """Read a fitted tree ensemble as splits of raw columns.

    Single trees, forests, boosting, bagging, AdaBoost and soft voting of trees are read,
    classifiers and regressors, behind transformers that are column-wise: scalers, power and
    quantile transformers, encoders, imputers, selectors. Thresholds are those of the raw
    numbers in float64, exact to the last bit. xgboost, lightgbm and catboost are read where
    they are installed.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        FrozenEstimator and hyper-parameter searches are unwrapped.
    columns : sequence of Column
        Layout of column space, as for `as_torch`.
    X : DataFrame or ndarray of shape (n, d), default=None
        Raw training rows: their container and dtypes are used to find the thresholds,
        and the trees are compared with the estimator on (up to 1000 of) them. Without them
        numbers are float64, and the comparison is on made-up rows only.

    Returns
    -------
    TreeEnsemble
        The trees, which reproduce the estimator on rows at, and one float beside, their own
        thresholds.

    Raises
    ------
    UnsupportedModelError
        The estimator is no such ensemble, a transformer before it mixes columns, or the
        trees do not reproduce the estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn.data import Column
    >>> X, y = np.arange(20.0)[:, None], np.arange(20) > 9
    >>> forest = RandomForestClassifier(3, random_state=0)
    >>> model = make_pipeline(StandardScaler(), forest).fit(X, y)
    >>> ensemble = read_trees(model, [Column(0, None)], X)
    >>> np.array_equal(ensemble.value(X), model.predict_proba(X))
    True
    """
    columns = tuple(columns)
    inner = unwrap(estimator)
    if not hasattr(inner, "fit"):
        raise UnsupportedModelError(
            f"{type(inner).__name__} is no estimator of scikit-learn: its trees are not known."
        )
    check_is_fitted(inner)
    _refuse_encoded_numbers(inner, columns)
    probe = _probe(inner, columns, X)
    parsed = collect(inner, Preprocessor(probe))
    ensemble = _assemble(parsed, inner, probe)
    _verify_made_up(ensemble, inner, probe, parsed.tolerance)
    if X is not None:
        some = X[:_CHECKED_TRAINING_ROWS]
        _compare(ensemble, inner, some, encode(some, columns), parsed.tolerance)
    return ensemble


def read_matrix_trees(
    estimator: Any, columns: Sequence[Column], matrix: Callable[[np.ndarray], np.ndarray], last: Any
) -> TreeEnsemble:
    """Read trees behind a known preprocessing, in a fraction of the time.

    The trees are not compared with the estimator.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        Its trees are read.
    columns : sequence of Column
        Layout of column space.
    matrix : callable
        Points of column space (n, U) to the matrix that the last estimator reads.
    last : estimator
        The last step of the pipeline.

    Returns
    -------
    TreeEnsemble

    Raises
    ------
    UnsupportedModelError
        The estimator is no such ensemble, a transformer before it mixes columns, or the trees
        have more than 500 leaves on average, or too many different splits.
    """
    columns = tuple(columns)
    _refuse_encoded_numbers(estimator, columns)
    for step in split_pipeline(estimator)[0]:
        require_column_wise(step)
    probe = _MatrixProbe(columns, None, None, matrix)
    parsed = collect(last, Preprocessor(probe))
    _refuse_large([tree for _, tree in parsed.trees])
    return _assemble(parsed, last, probe)


def _refuse_large(trees: list[Tree]) -> None:
    """Raise if the trees take too long to read, or have too many cells."""
    leaves = sum(int((tree.left < 0).sum()) for tree in trees)
    tests = [
        np.stack([tree.feature, tree.threshold], axis=1)[tree.left >= 0].astype(np.float64)
        for tree in trees
    ]
    if leaves <= _MOST_LEAVES * len(trees):
        splits = len(np.unique(np.concatenate(tests), axis=0))
        if splits * leaves <= _MOST_CELLS:
            return
    raise UnsupportedModelError(
        "The trees are too large to be read: thresholds times leaves must not exceed "
        f"{_MOST_CELLS}."
    )


@dataclass(frozen=True, eq=False)
class _MatrixProbe(Probe):
    """Rows of the matrix that the trees read, from numbers and level codes."""

    matrix: Callable[[np.ndarray], np.ndarray]

    def rows(self, numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
        parts = [
            numbers[:, j, None]
            if column.levels is None
            else np.eye(len(column.levels))[codes[:, j]]
            for j, column in enumerate(self.columns)
        ]
        return self.matrix(np.concatenate(parts, axis=1))


def encode(X: Any, columns: Sequence[Column]) -> np.ndarray:
    """Column space (n, U) of raw rows; an unknown level is all zero.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n, d)
        Raw rows.
    columns : sequence of Column
        Layout.

    Returns
    -------
    ndarray of shape (n, U)

    Examples
    --------
    >>> import numpy as np
    >>> encode(np.array([[3, 1], [4, 0]]), [Column(0, None), Column(1, np.array([0, 1]))])
    array([[3., 0., 1.],
           [4., 1., 0.]])
    """
    blocks = []
    for j, column in enumerate(columns):
        raw = X[:, j] if isinstance(X, np.ndarray) else X[column.name]
        if column.levels is None:
            if hasattr(raw, "to_numpy") and raw.dtype.__class__.__module__.startswith("pandas"):
                raw = raw.to_numpy(dtype=np.float64, na_value=np.nan)
            blocks.append(np.asarray(raw, dtype=np.float64)[:, None])
            continue
        values = np.asarray(raw, dtype=object)
        gone, lost = is_missing(values), is_missing(column.levels)
        block = np.zeros((len(values), len(column.levels)))
        for k, level in enumerate(column.levels.tolist()):
            same = gone if lost[k] else ~gone & (values == level)
            block[:, k] = same
        blocks.append(block)
    return np.hstack(blocks) if blocks else np.empty((len(X), 0))


def _refuse_encoded_numbers(estimator: Any, columns: tuple[Column, ...]) -> None:
    names = [column.name for column in columns]
    for name in categorical_columns(estimator, names):
        if columns[names.index(name)].levels is None:
            raise UnsupportedModelError(
                f"An encoder reads column {name!r} as categories, but it has no levels here: "
                "declare it as categorical."
            )


def _probe(estimator: Any, columns: tuple[Column, ...], X: Any) -> Probe:
    expected = getattr(estimator, "feature_names_in_", None)
    names = {column.name for column in columns}
    frame = hasattr(X, "iloc")
    if expected is not None and set(expected) <= names:
        wanted: tuple[Any, ...] | None = tuple(expected)
    else:
        wanted = tuple(X.columns) if frame else None
    template = X if frame or isinstance(X, np.ndarray) else None
    return Probe(columns, template, wanted)


# --------------------------------------------------------------------------------- assembling


def _assemble(parsed: ParsedTrees, estimator: Any, probe: Probe) -> TreeEnsemble:
    """Join the trees, with splits of raw columns."""
    columns = probe.columns
    starts = np.concatenate([[0], np.cumsum([c.width for c in columns])]).astype(np.intp)
    maps: dict[int, PreprocessorMap] = {}
    parts, sizes = [], []
    grouped: dict[tuple[int, bool], list[int]] = {}
    for t, (preprocessor, tree) in enumerate(parsed.trees):
        if id(preprocessor) not in maps:
            maps[id(preprocessor)] = PreprocessorMap.of(preprocessor)
        grouped.setdefault((id(preprocessor), tree.single), []).append(t)
    switched: dict[int, np.ndarray] = {}
    for (key, single), members in grouped.items():
        points = _switch(maps[key], [parsed.trees[t][1] for t in members], single)
        switched.update(zip(members, points, strict=True))
    offset, sets = 0, LevelSets(int(starts[-1]))
    for t, (preprocessor, tree) in enumerate(parsed.trees):
        parts.append(raw_nodes(tree, maps[id(preprocessor)], switched[t], starts, offset, sets))
        sizes.append(len(tree.left))
        offset += len(tree.left)
    names = ("left", "right", "column", "coordinate", "threshold", "missing_left", "level_set")
    joined = {
        name: np.concatenate([part[k] for part in parts]) if parts else np.empty(0, int)
        for k, name in enumerate(names)
    }
    values = [tree.value for _, tree in parsed.trees]
    return TreeEnsemble(
        columns=columns,
        roots=np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.intp),
        level_sets=sets.table(),
        values=np.concatenate(values) if values else np.empty((0, len(parsed.baseline))),
        baseline=parsed.baseline,
        divisor=parsed.divisor,
        kind=parsed.kind,
        n_classes=parsed.n_classes,
        readable=_readable(estimator, probe, starts),
        response_method=parsed.response_method,
        zero_class=parsed.zero_class,
        slope=parsed.slope,
        weights=parsed.weights,
        **joined,
    )


def _switch(preprocessor: PreprocessorMap, trees: list[Tree], single: bool) -> list[np.ndarray]:
    """Raw thresholds of the nodes of trees that share a preprocessor, NaN where there are none."""
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    inner = np.concatenate([tree.left for tree in trees]) >= 0
    owner = preprocessor.owner[np.where(inner, feature, 0)]
    if np.any(inner & (owner == -2)):
        raise UnsupportedModelError(
            "A column that the trees split on depends on several raw columns."
        )
    levels = np.array(
        [column.levels is not None for column in preprocessor.preprocessor.probe.columns]
    )
    numbers = inner & (owner >= 0) & ~levels[owner]
    out = np.full(len(feature), np.nan)
    if numbers.any():
        pairs = np.stack([feature[numbers].astype(np.float64), threshold[numbers]], axis=1)
        pairs, back = np.unique(pairs, axis=0, return_inverse=True)
        found = preprocessor.switch_points(pairs[:, 0].astype(np.intp), pairs[:, 1], single)
        out[numbers] = found[np.ravel(back)]
    return np.split(out, np.cumsum([len(tree.feature) for tree in trees])[:-1])


def _readable(estimator: Any, probe: Probe, starts: np.ndarray) -> np.ndarray:
    """Whether numbers may be missing, by predictions of the estimator."""
    out = np.ones(int(starts[-1]), dtype=bool)
    numbers = [j for j, column in enumerate(probe.columns) if column.levels is None]
    if _reads_missing(estimator, probe, numbers):  # then also one by one
        return out
    for j in numbers:
        out[starts[j]] = _reads_missing(estimator, probe, [j])
    return out


def _reads_missing(estimator: Any, probe: Probe, missing: list[int]) -> bool:
    """Whether an estimator predicts a row in which some numbers are missing."""
    numbers = np.ones((1, len(probe.columns)))
    numbers[0, missing] = np.nan
    try:
        _answers(estimator, probe.rows(numbers, np.zeros(numbers.shape, dtype=np.intp)))
    except (TypeError, ValueError):
        return False
    return True


# ---------------------------------------------------------------------------------- verifying


def _answers(estimator: Any, rows: Any, method: str = "predict") -> np.ndarray:
    with ignore_warnings():
        return np.asarray(getattr(estimator, method)(rows))


def _verify_made_up(ensemble: TreeEnsemble, estimator: Any, probe: Probe, tolerance: float) -> None:
    """Compare on rows of random levels and numbers at, or one float beside, the thresholds."""
    rng = np.random.default_rng(0)
    columns, starts, n = ensemble.columns, ensemble.starts, _CHECKED_ROWS
    numbers, codes = np.ones((n, len(columns))), np.zeros((n, len(columns)), dtype=np.intp)
    u = np.zeros((n, int(starts[-1])))
    single, thresholds = probe.single(), ensemble.thresholds()
    for j, column in enumerate(columns):
        if column.levels is not None:
            codes[:, j] = rng.integers(len(column.levels), size=n)
            u[np.arange(n), starts[j] + codes[:, j]] = 1.0
            continue
        cuts = thresholds[int(starts[j])]
        cuts = cuts[np.abs(cuts) < 1e30]
        if len(cuts):
            at = rng.choice(cuts, n)
            above = np.nextafter(at, np.inf)
            if single[j]:
                above = np.nextafter(at.astype(np.float32), np.float32(np.inf)).astype(float)
            numbers[:, j] = np.where(rng.random(n) < 0.5, at, above)
        u[:, starts[j]] = numbers[:, j]
    _compare(ensemble, estimator, probe.rows(numbers, codes), u, tolerance)


def _compare(
    ensemble: TreeEnsemble, estimator: Any, rows: Any, u: np.ndarray, tolerance: float
) -> None:
    """Raise if the trees do not reproduce the estimator."""
    name = type(unwrap(estimator)).__name__
    known = ~np.isnan(ensemble.scores(u)).any(axis=1)
    if not known.all():
        keep = np.flatnonzero(known)
        rows, u = (rows.iloc[keep] if hasattr(rows, "iloc") else rows[keep]), u[keep]
    if not len(u):
        return
    got = ensemble.value(u)
    method = ensemble.response_method
    expected = _answers(estimator, rows, method).astype(np.float64)
    gap = np.abs(got - expected.reshape(got.shape)) if got.size == expected.size else np.inf
    if not np.all(gap <= tolerance * (1 + np.abs(got))):
        raise UnsupportedModelError(
            f"The trees read from {name} differ from its {method} by up to {np.max(gap):.3g}, "
            "so it does more than they show."
        )
    if ensemble.n_classes:
        _compare_classes(ensemble, estimator, rows, u, name, tolerance)


def _compare_classes(
    ensemble: TreeEnsemble, estimator: Any, rows: Any, u: np.ndarray, name: str, tolerance: float
) -> None:
    """Raise if the trees give other classes, except for ties within rounding."""
    classes = np.asarray(estimator.classes_)
    predicted = _answers(estimator, rows).reshape(-1)
    code = np.argmax(predicted[:, None] == classes[None, :], axis=1)
    scores = ensemble.scores(u)
    if scores.shape[1] == 1:
        scores = np.hstack([-scores, scores])
    lead = scores.max(axis=1) - scores[np.arange(len(u)), code]
    wrong = (ensemble.decide(u) != code) & (lead > tolerance * (1 + np.abs(scores).max(axis=1)))
    if wrong.any():
        raise UnsupportedModelError(
            f"The trees read from {name} give another class than its predict for "
            f"{int(wrong.sum())} of {len(u)} rows."
        )
