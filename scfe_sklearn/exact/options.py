"""Options of one row: per column the few values that matter, and the cost of each.

Between two neighbouring thresholds of a number the ensemble does not distinguish values, so only
the one nearest to the factual value can be part of a cheapest answer. That makes every
separable cost linear in the choice of an option, and exact. Where a relation joins the number to
others, that value is where the option begins, and it spans the rest of its cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from scfe_sklearn.exact.requirements import Ensemble, Values
from scfe_sklearn.rules import RowRules


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
    far : ndarray of shape (M,)
        The value that is as far from the factual one as a number may go within its option; most
        options are one value.
    step : ndarray of shape (M,)
        In steps of what; 0 for any.
    curve : ndarray of shape (M,)
        What the square of a raw difference adds to the squared distance, for numbers.
    rules : RowRules
        What the row must keep in several columns together.
    values : Values or None
        The representable numbers.
    """

    factual: np.ndarray
    starts: np.ndarray
    value: np.ndarray
    distance: np.ndarray
    stay: np.ndarray
    numeric: np.ndarray
    offsets: np.ndarray
    far: np.ndarray = field(default=None)  # type: ignore[arg-type]
    step: np.ndarray = field(default=None)  # type: ignore[arg-type]
    curve: np.ndarray = field(default=None)  # type: ignore[arg-type]
    rules: RowRules = field(default_factory=RowRules)
    values: Values | None = None

    def __post_init__(self) -> None:
        """Options are single values by default."""
        for name in ("far", "step", "curve"):
            if getattr(self, name) is None:
                given = self.value if name == "far" else np.zeros(len(self.value))
                object.__setattr__(self, name, given)

    @property
    def column(self) -> np.ndarray:
        """Column of each option (M,)."""
        return np.repeat(np.arange(len(self.stay)), np.diff(self.starts))

    @property
    def changed(self) -> np.ndarray:
        """Return which options are changes (M,)."""
        out = np.ones(len(self.value), dtype=bool)
        out[self.stay] = False
        return out

    @property
    def home(self) -> np.ndarray:
        """Factual number, or position of the factual level, of each column (J,)."""
        return self.value[self.stay]

    @property
    def away(self) -> np.ndarray:
        """Distance of each option (M,) from the factual number; 0 of a missing one."""
        return np.nan_to_num(np.abs(self.value - self.home[self.column]), nan=0.0)

    @property
    def span(self) -> np.ndarray:
        """Signed length (M,) of each option."""
        return np.nan_to_num(self.far - self.value, nan=0.0)

    def further(self, chosen: np.ndarray, more: np.ndarray) -> np.ndarray:
        """Squared distance (..., J) that numbers add which go `more` beyond their options."""
        return self.curve[chosen] * more * (2 * self.away[chosen] + more)

    def point(self, chosen: np.ndarray, more: np.ndarray | float = 0.0) -> np.ndarray:
        """Rows of column space of chosen options.

        Parameters
        ----------
        chosen : ndarray of shape (n, J), int
            One option per column.
        more : ndarray of shape (n, J), default=0
            How far numbers go beyond the values of their options.

        Returns
        -------
        ndarray of shape (n, U)
        """
        u = np.zeros((len(chosen), len(self.factual)))
        rows = np.arange(len(chosen))
        counted = self._moved(chosen, np.broadcast_to(more, chosen.shape))
        for j, numeric in enumerate(self.numeric):
            value = counted[:, j]
            if numeric:
                u[:, self.offsets[j]] = value
            else:
                u[rows, self.offsets[j] + value.astype(np.intp)] = 1.0
        return u

    def _moved(self, chosen: np.ndarray, more: np.ndarray) -> np.ndarray:
        """Numbers and positions of levels (n, J), representable where an option is a span."""
        value, span = self.value[chosen], self.span[chosen]
        moved = (more > 0) & (span != 0)
        if not moved.any():
            return value
        raw = value + np.sign(span) * more
        if self.values is not None:
            whole = self.step[chosen]
            given = np.where(moved, raw, 0.0)[:, self.numeric]
            # of a lattice with steps the nearest, else the next one
            down = self.values.at_most(given + 0.5 * whole[:, self.numeric])
            near = raw.copy()
            near[:, self.numeric] = down
            raw = np.where(np.isfinite(near), near, raw)
        far = self.far[chosen]
        raw = np.clip(raw, np.minimum(value, far), np.maximum(value, far))
        return np.where(moved, raw, value)

    def located(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the option (J,) of each column of a point, and how far (J,) it goes beyond it."""
        chosen, more = self.stay.copy(), np.zeros(len(self.stay))
        for j, numeric in enumerate(self.numeric):
            part = slice(int(self.starts[j]), int(self.starts[j + 1]))
            at = slice(int(self.offsets[j]), int(self.offsets[j + 1]))
            value = u[at][0] if numeric else float(u[at].argmax())
            first, far = self.value[part], self.far[part]
            low, high = np.minimum(first, far), np.maximum(first, far)
            hit = np.flatnonzero((value >= low) & (value <= high))
            if len(hit):
                chosen[j] = part.start + hit[0]
                more[j] = abs(value - first[hit[0]])
        return chosen, more

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
            far=self.far[some],
            step=self.step[some],
            curve=self.curve[some],
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
    rules: RowRules | None = None,
) -> Options:
    """List the options of one row.

    Parameters
    ----------
    ensemble : Ensemble
        The trees, whose thresholds cut the numbers.
    factual : ndarray of shape (U,)
        The row. A missing number stays missing, or becomes any known one, which adds 1 to the
        squared distance, if it is allowed to move.
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
    rules : RowRules, default=None
        What the row must keep in several columns together.

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
    >>> from scfe_sklearn.data import Column
    >>> from scfe_sklearn.models import read_trees
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0], [2.0]], [0, 1, 0])
    >>> ensemble = read_trees(tree, [Column(0, None)])
    >>> options = row_options(ensemble, np.array([2.0]), lower=np.array([0.0]),
    ...     upper=np.array([9.0]), allowed=np.array([True]), unit=np.array([1.0]))
    >>> options.value.round(3), options.distance.round(3)
    (array([0.5, 1.5, 2. ]), array([2.25, 0.25, 0.  ]))
    """
    columns, offsets = ensemble.columns, np.asarray(ensemble.starts, dtype=np.intp)
    arrays = {"factual": factual, "lower": lower, "upper": upper, "allowed": allowed}
    _check_shapes(arrays, unit, int(offsets[-1]), len(columns))
    factual, unit = np.asarray(factual, dtype=np.float64), np.asarray(unit, dtype=np.float64)
    allowed = np.asarray(allowed, dtype=bool)
    numeric = np.array([column.levels is None for column in columns], dtype=bool)
    at = offsets[:-1][numeric]
    rules = RowRules() if rules is None else rules
    cuts = [ensemble.thresholds()[k] for k in at]
    for i, j in enumerate(np.flatnonzero(numeric).tolist()):
        if j in rules.columns:
            more = rules.cuts(j, float(factual[at[i]]), float(unit[j]))
            cuts[i] = np.union1d(cuts[i], more)
    numbers = iter(
        _number_options(
            cuts,
            factual[at],
            np.where(allowed[at], lower[at], np.inf),
            np.where(allowed[at], upper[at], -np.inf),
            values,
        )
    )
    loose, listed = rules.loose, []
    for j, column in enumerate(columns):
        if numeric[j]:
            listed.append(_of_number(*next(numbers), float(unit[j]), j in loose))
        else:
            block = slice(int(offsets[j]), int(offsets[j + 1]))
            own = _level_options(factual[block], allowed[block], column.name)
            listed.append(_of_levels(*own, float(unit[j])))
    counts = [len(part.value) for part in listed]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    steps = np.zeros(len(columns))
    if values is not None:
        steps[numeric] = values.step
    return Options(
        factual,
        starts,
        _joined([part.value for part in listed]),
        _joined([part.distance for part in listed]),
        starts[:-1] + np.array([part.stay for part in listed], dtype=np.intp),
        numeric,
        offsets,
        _joined([part.far for part in listed]),
        np.repeat(steps, counts),
        np.repeat([part.curve for part in listed], counts),
        rules,
        values,
    )


def _check_shapes(
    arrays: Mapping[str, np.ndarray], unit: np.ndarray, width: int, n_columns: int
) -> None:
    """Refuse arrays that do not have one entry per coordinate, or per column."""
    shapes = {**dict.fromkeys(arrays, (width,)), "unit": (n_columns,)}
    for name, array in {**arrays, "unit": unit}.items():
        if np.shape(array) != shapes[name]:
            raise ValueError(
                f"The {name!r} parameter of row_options must have shape {shapes[name]}. "
                f"Got {np.shape(array)} instead."
            )


@dataclass(frozen=True, eq=False)
class _Listed:
    """The options of one column, as in `Options`, and which of them stays."""

    value: np.ndarray
    distance: np.ndarray
    stay: int
    far: np.ndarray
    curve: float


def _of_number(value: np.ndarray, stay: int, far: np.ndarray, unit: float, loose: bool) -> _Listed:
    """Options of a column of numbers; they are single values unless they are ``loose``."""
    curve = 0.0 if np.isnan(value[stay]) else unit**-2.0
    distance = _squares((value - value[stay]) / unit, stay)
    return _Listed(value, distance, stay, far if loose else value, curve)


def _of_levels(value: np.ndarray, stay: int, unit: float) -> _Listed:
    """Options of a column of levels: their positions."""
    step = value - value[stay]
    step = (step != 0) * 1.0 if np.isnan(unit) else step / unit
    return _Listed(value, _squares(step, stay), stay, value, 0.0)


def _squares(step: np.ndarray, stay: int) -> np.ndarray:
    """Squares of steps; 1 from a number that was missing, and 0 for staying."""
    distance = np.nan_to_num(step**2, nan=1.0)
    distance[stay] = 0.0
    return distance


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0)


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
) -> list[tuple[np.ndarray, int, np.ndarray]]:
    """For each number the nearest value to the factual one in every cell, and the farthest.

    In the order of the values, with the place of the factual one.
    """
    count, k = max((len(t) for t in thresholds), default=0), len(thresholds)
    cuts = np.full((count, k), np.inf)
    for j, own in enumerate(thresholds):
        cuts[: len(own), j] = own
    edge = np.full((1, k), np.inf)
    below, above = np.vstack([-edge, cuts]), np.vstack([cuts, edge])  # cells (below, above]
    first = np.maximum(np.nextafter(below, np.inf), lower)
    last = np.minimum(above, upper)
    unknown = np.broadcast_to(np.isnan(factual), below.shape)
    with np.errstate(invalid="ignore"):
        # from above come to the last value of a cell, from below to the first
        down, up = factual > above, (factual <= below) | unknown
    start, stop = _representable(first, last, values)
    nearest, farthest = np.where(down, stop, start), np.where(down, start, stop)
    inside = (nearest > below) & (nearest <= above) & (nearest >= lower) & (nearest <= upper)
    keep = inside & (down | up) & np.isfinite(nearest)
    farthest = np.where(np.isfinite(farthest), farthest, nearest)
    out = []
    for j in range(k):
        found, end = nearest[keep[:, j], j], farthest[keep[:, j], j]
        stay = 0 if np.isnan(factual[j]) else int(np.searchsorted(found, factual[j]))
        ends = np.insert(end, stay, factual[j])
        out.append((np.insert(found, stay, factual[j]), stay, ends))
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
