"""What one row may become: per column the few values that matter, and what each costs.

Between two neighbouring thresholds of a number the ensemble cannot tell values apart, so only
the one nearest to the factual value can be part of a cheapest answer. That makes every
separable cost linear in the choice of an option, and exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scfe_sklearn.exact.protocols import Ensemble, Values


@dataclass(frozen=True, eq=False)
class Options:
    """The values that each column of one row may take; the factual value is always one.

    Parameters
    ----------
    factual : ndarray of shape (U,)
        The row.
    starts : ndarray of shape (J + 1,), int
        The options of column ``j`` are ``starts[j]`` to ``starts[j + 1] - 1``; those of a
        number ascend.
    value : ndarray of shape (M,)
        Raw number, or position of the level within its column.
    distance : ndarray of shape (M,)
        What the option adds to the squared distance.
    stay : ndarray of shape (J,), int
        The option that keeps the factual value.
    numeric : ndarray of shape (J,), bool
        Whether the column holds numbers.
    offsets : ndarray of shape (J + 1,), int
        First coordinate of each column in column space.
    """

    factual: np.ndarray
    starts: np.ndarray
    value: np.ndarray
    distance: np.ndarray
    stay: np.ndarray
    numeric: np.ndarray
    offsets: np.ndarray

    @property
    def column(self) -> np.ndarray:
        """Column of each option (M,)."""
        return np.repeat(np.arange(len(self.stay)), np.diff(self.starts))

    @property
    def changed(self) -> np.ndarray:
        """Which options are changes (M,)."""
        out = np.ones(len(self.value), dtype=bool)
        out[self.stay] = False
        return out

    def point(self, chosen: np.ndarray) -> np.ndarray:
        """Rows of column space of chosen options.

        Parameters
        ----------
        chosen : ndarray of shape (n, J), int
            One option per column.

        Returns
        -------
        ndarray of shape (n, U)
        """
        u = np.zeros((len(chosen), len(self.factual)))
        rows = np.arange(len(chosen))
        for j, numeric in enumerate(self.numeric):
            value = self.value[chosen[:, j]]
            if numeric:
                u[:, self.offsets[j]] = value
            else:
                u[rows, self.offsets[j] + value.astype(np.intp)] = 1.0
        return u

    def keep(self, some: np.ndarray) -> Options:
        """The options that a mask (M,) flags; the factual ones must be among them."""
        counts = np.add.reduceat(some.astype(np.intp), self.starts[:-1])
        place = np.cumsum(some) - 1
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
            value=self.value[some],
            distance=self.distance[some],
            stay=place[self.stay],
        )


def row_options(
    ensemble: Ensemble,
    factual: np.ndarray,
    *,
    lower: np.ndarray,
    upper: np.ndarray,
    allowed: np.ndarray,
    unit: np.ndarray,
    values: Values | None = None,
) -> Options:
    """List the options of one row.

    Parameters
    ----------
    ensemble : Ensemble
        The trees, whose thresholds cut the numbers.
    factual : ndarray of shape (U,)
        The row. A missing number stays missing.
    lower, upper : ndarray of shape (U,)
        Raw interval of each number, both ends included. The factual value may lie outside:
        then it stays, or jumps into the interval. Not read at levels.
    allowed : ndarray of shape (U,), bool
        For a number whether it may move, for a level whether it may be the new one.
    unit : ndarray of shape (J,)
        Raw difference that counts as 1 (the training standard deviation); for a column with
        ordered levels the same of their ranks. NaN: a change of level adds 1 to the squared
        distance, whichever it is.
    values : Values, default=None
        The representable numbers, one coordinate per column of numbers, in their order. None:
        every float.

    Returns
    -------
    Options

    Raises
    ------
    ValueError
        If shapes do not fit, or the factual row has no level in some column.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from scfe_sklearn.columns import Column
    >>> from scfe_sklearn.models import read_trees
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0], [2.0]], [0, 1, 0])
    >>> ensemble = read_trees(tree, [Column(0, None)])
    >>> options = row_options(ensemble, np.array([2.0]), lower=np.array([0.0]),
    ...     upper=np.array([9.0]), allowed=np.array([True]), unit=np.array([1.0]))
    >>> options.value.round(3), options.distance.round(3)
    (array([0.5, 1.5, 2. ]), array([2.25, 0.25, 0.  ]))
    """
    columns, offsets = ensemble.columns, ensemble.starts
    width = int(offsets[-1])
    arrays = {"factual": factual, "lower": lower, "upper": upper, "allowed": allowed}
    for name, array in arrays.items():
        if np.shape(array) != (width,):
            raise ValueError(
                f"The {name!r} parameter of row_options must have shape ({width},). "
                f"Got {np.shape(array)} instead."
            )
    if np.shape(unit) != (len(columns),):
        raise ValueError(
            f"The 'unit' parameter of row_options must have shape ({len(columns)},). "
            f"Got {np.shape(unit)} instead."
        )
    factual, unit = np.asarray(factual, dtype=np.float64), np.asarray(unit, dtype=np.float64)
    allowed = np.asarray(allowed, dtype=bool)
    numeric = np.array([column.levels is None for column in columns], dtype=bool)
    at = offsets[:-1][numeric]
    numbers = iter(
        _number_options(
            [ensemble.thresholds()[k] for k in at],
            factual[at],
            np.where(allowed[at], lower[at], np.inf),
            np.where(allowed[at], upper[at], -np.inf),
            values,
        )
    )
    parts, distances, stays = [], [], []
    for j in range(len(columns)):
        if numeric[j]:
            value, stay = next(numbers)
            step = (value - value[stay]) / unit[j]
        else:
            block = slice(int(offsets[j]), int(offsets[j + 1]))
            value, stay = _level_options(factual[block], allowed[block], columns[j].name)
            step = value - value[stay]
            step = (step != 0) * 1.0 if np.isnan(unit[j]) else step / unit[j]
        distance = step**2
        distance[stay] = 0.0  # also of a missing number
        parts.append(value)
        distances.append(distance)
        stays.append(stay)
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.intp)
    return Options(
        factual,
        starts,
        np.concatenate(parts) if parts else np.empty(0),
        np.concatenate(distances) if parts else np.empty(0),
        starts[:-1] + np.array(stays, dtype=np.intp),
        numeric,
        np.asarray(offsets, dtype=np.intp),
    )


def _level_options(
    weights: np.ndarray, allowed: np.ndarray, name: object
) -> tuple[np.ndarray, int]:
    """Levels that may be taken, by position, and which of them is the factual one."""
    if not weights.max(initial=0.0) > 0:
        raise ValueError(f"The factual row must have a level in column {name!r}.")
    own = int(weights.argmax())
    keep = allowed.copy()
    keep[own] = True
    found = np.flatnonzero(keep)
    return found.astype(np.float64), int(np.searchsorted(found, own))


def _number_options(
    thresholds: list[np.ndarray],
    factual: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    values: Values | None,
) -> list[tuple[np.ndarray, int]]:
    """For each number the value nearest to the factual one in every cell between thresholds."""
    count, k = max((len(t) for t in thresholds), default=0), len(thresholds)
    cuts = np.full((count, k), np.inf)
    for j, own in enumerate(thresholds):
        cuts[: len(own), j] = own
    edge = np.full((1, k), np.inf)
    below, above = np.vstack([-edge, cuts]), np.vstack([cuts, edge])  # cells (below, above]
    first = np.maximum(np.nextafter(below, np.inf), lower)
    last = np.minimum(above, upper)
    with np.errstate(invalid="ignore"):
        # from above come to the last value of a cell, from below to the first
        down, up = factual > above, factual <= below
    start, stop = _representable(first, last, values)
    nearest = np.where(down, stop, start)
    inside = (nearest > below) & (nearest <= above) & (nearest >= lower) & (nearest <= upper)
    keep = inside & (down | up) & np.isfinite(nearest)
    out = []
    for j in range(k):
        found = nearest[keep[:, j], j]
        stay = int(np.searchsorted(found, factual[j])) if not np.isnan(factual[j]) else 0
        found = found[:0] if np.isnan(factual[j]) else found
        out.append((np.insert(found, stay, factual[j]), stay))
    return out


def _representable(
    first: np.ndarray, last: np.ndarray, values: Values | None
) -> tuple[np.ndarray, np.ndarray]:
    """Round the ends of intervals inward; infinite ends stay."""
    if values is None:
        return first, last
    start = values.at_least(np.where(np.isfinite(first), first, 0.0))
    stop = values.at_most(np.where(np.isfinite(last), last, 0.0))
    return np.where(np.isfinite(first), start, first), np.where(np.isfinite(last), stop, last)
