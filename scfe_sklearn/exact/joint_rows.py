"""Joint rules as rows of the program, with variables for how far numbers go beyond an option.

An option of a number that a relation reads is a span: it begins at the value nearest to the
factual one and goes on away from it. A variable x, at most the length of the chosen option, is the
way along it: whole where the number has steps. What x adds to the squared distance is convex, so a
variable q above some of its tangents is a lower bound, and exact where a tangent touches; of
whole numbers the chords between neighbours serve, which are exact at two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.optimize import nnls

from scfe_sklearn.exact.options import Options
from scfe_sklearn.rules import RowRelation

_RELAXED = 1e-7  # scaled rows are wider by this: what is out of reach then is so for certain
_NARROWED = 2e-6  # and narrower, where an answer must not depend on the solver's tolerance
_NOTHING = 1e-7  # squares that small need no variable
_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of a continuous span, where tangents touch at first
_CHORDS = 12  # spans of at most this many steps have all their chords from the start


@dataclass(eq=False)
class TangentPoints:
    """Values of columns at which the squared distance must be exact; grows with every round."""

    at: dict[int, list[float]] = field(default_factory=dict)

    def add(self, options: Options, chosen: np.ndarray, more: np.ndarray) -> bool:
        """Add the values of a point; False if all of them are there."""
        new = False
        for j in np.flatnonzero((options.span[chosen] != 0) & (more > 0)).tolist():
            span = float(options.span[chosen[j]])
            value = float(options.value[chosen[j]] + np.sign(span) * more[j])
            near = 1e-10 * abs(span)
            listed = self.at.setdefault(j, [])
            if all(abs(value - other) > near for other in listed):
                listed.append(value)
                new = True
        return new


@dataclass(frozen=True, eq=False)
class JointRows:
    """Rows over the options (M,) and the further variables (E,): x of all spans, then their q.

    Parameters
    ----------
    over_options : ndarray of shape (rows, M)
        Coefficients of the choices.
    over_extra : ndarray of shape (rows, E)
        Coefficients of the further variables.
    low, high : ndarray of shape (rows,)
        Bounds of the rows.
    cost : ndarray of shape (E,)
        What the further variables cost.
    upper : ndarray of shape (E,)
        Their upper bounds; the lower ones are 0.
    whole : ndarray of shape (E,), bool
        Which are whole.
    option : ndarray of shape (S,), int
        The option of each x.
    unit : ndarray of shape (S,)
        Raw length of a unit of x.
    """

    over_options: np.ndarray
    over_extra: np.ndarray
    low: np.ndarray
    high: np.ndarray
    cost: np.ndarray
    upper: np.ndarray
    whole: np.ndarray
    option: np.ndarray
    unit: np.ndarray

    def over(
        self, pick: sparse.csr_array, pick_constant: np.ndarray, n_leaves: int
    ) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
        """Rows over binaries, leaves and further variables, and their bounds."""
        chosen = sparse.csr_array(self.over_options)
        shift = np.asarray(chosen @ pick_constant)
        rows = [chosen @ pick, sparse.csr_array((len(self.low), n_leaves))]
        rows.append(sparse.csr_array(self.over_extra))
        matrix = sparse.csr_array(sparse.hstack(rows, format="csr"))
        return matrix, self.low - shift, self.high - shift

    def more(self, extra: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return how far (J,) each column goes beyond its chosen option."""
        x = extra[: len(self.option)]
        x = np.where(self.whole[: len(x)], np.rint(x), x)
        by_option = dict(zip(self.option.tolist(), (x * self.unit).tolist(), strict=True))
        return np.array([max(by_option.get(int(p), 0.0), 0.0) for p in chosen])


def joint_rows(
    options: Options, further: bool, tangents: TangentPoints, margin: float
) -> JointRows:
    """Write down the joint rules of a row.

    Parameters
    ----------
    options : Options
        The options that are left, with the rules.
    further : bool
        Whether the squares of what goes beyond an option cost something.
    tangents : TangentPoints
        Where they must be exact.
    margin : float
        Positive for stricter relations, negative for looser ones.

    Returns
    -------
    JointRows
    """
    span = np.abs(options.span)
    option = np.flatnonzero(span > 0)
    size = len(option)
    stepped = options.step[option] > 0
    unit = np.where(stepped, options.step[option], span[option])
    count = np.where(stepped, np.rint(span[option] / unit), 1.0)
    curve = options.curve[option] * unit**2 if further else np.zeros(size)
    curved = curve * count**2 > _NOTHING
    rows = _Rows(len(options.value), 2 * size)
    for s, p in enumerate(option.tolist()):
        # beyond the value of an option only where it is chosen
        rows.add({p: -count[s]}, {s: 1.0}, -np.inf, 0.0)
    for s in np.flatnonzero(curved).tolist():
        p = int(option[s])
        touched = tangents.at.get(int(options.column[p]), [])
        far = np.array([abs(v - options.value[p]) for v in touched if _within(options, p, v)])
        points = _touching(far / unit[s], count[s], bool(stepped[s]))
        for slope, less in points:
            # q >= curve * (slope * x - less), and nothing where the option is not chosen
            rows.add({p: curve[s] * less}, {s: -curve[s] * slope, size + s: 1.0}, 0.0, np.inf)
    shift = -_NARROWED if margin > 0 else _RELAXED
    for rule in options.rules.linear:
        _add_linear(rows, options, rule, option, unit, shift)
    _add_implications(rows, options)
    upper = np.concatenate([count, np.where(curved, curve * count**2, 0.0)])
    linear = 2 * options.away[option] * options.curve[option] * unit if further else np.zeros(size)
    over_options, over_extra, low, high = rows.stacked()
    return JointRows(
        over_options,
        over_extra,
        low,
        high,
        np.concatenate([linear, np.ones(size)]),
        upper,
        np.concatenate([stepped, np.zeros(size, dtype=bool)]),
        option,
        unit,
    )


class _Rows:
    """Rows that are listed one by one."""

    def __init__(self, n_options: int, n_extra: int) -> None:
        self.shape = n_options, n_extra
        self.listed: list[tuple[np.ndarray, np.ndarray, float, float]] = []

    def add(
        self, over_options: dict[int, float], over_extra: dict[int, float], low: float, high: float
    ) -> None:
        """Add a row by its few coefficients."""
        both = np.zeros(self.shape[0]), np.zeros(self.shape[1])
        for row, coefficients in zip(both, (over_options, over_extra), strict=True):
            for at, value in coefficients.items():
                row[at] = value
        self.listed.append((*both, low, high))

    def stacked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All rows."""
        a, b = self.shape
        n = len(self.listed)
        over_options = np.array([row[0] for row in self.listed]).reshape(n, a)
        over_extra = np.array([row[1] for row in self.listed]).reshape(n, b)
        ends = np.array([row[2:] for row in self.listed], dtype=np.float64).reshape(n, 2)
        return over_options, over_extra, ends[:, 0], ends[:, 1]


def _within(options: Options, p: int, value: float) -> bool:
    first, far = float(options.value[p]), float(options.far[p])
    return min(first, far) <= value <= max(first, far)


def _touching(offsets: np.ndarray, count: float, stepped: bool) -> list[tuple[float, float]]:
    """Slopes and constants of lines below ``x * x``, for 0 <= x <= count."""
    if not stepped:
        return [(2 * a, a * a) for a in sorted({*_SHARES, *offsets.tolist()})]
    last = max(int(count) - 1, 0)
    if last < _CHORDS:
        starts = set(range(last + 1))
    else:
        starts = {0, last, *(2**i for i in range(last.bit_length()) if 2**i < last)}
        for x in np.rint(offsets).tolist():
            starts |= {min(max(int(x) - 1, 0), last), min(int(x), last)}
    return [(2.0 * a + 1.0, float(a) * (a + 1.0)) for a in sorted(starts)]


def _add_linear(
    rows: _Rows,
    options: Options,
    rule: RowRelation,
    option: np.ndarray,
    unit: np.ndarray,
    shift: float,
) -> None:
    """Add both limits of a relation, unless nothing can break them."""
    m, size = len(options.value), len(option)
    base, reach = np.zeros(m), np.zeros(m)
    slope, free = np.zeros(size), np.zeros(m, dtype=bool)
    least = most = centre = 0.0
    for k, j in enumerate(rule.columns.tolist()):
        part = slice(int(options.starts[j]), int(options.starts[j + 1]))
        c, home = float(rule.coefficients[k]), float(options.home[j])
        counted = c * rule.counted(k, options.value[part], home)
        free[part] = np.isnan(counted)
        if free[part].all():
            return  # never judged
        here = counted[int(options.stay[j]) - part.start]
        here = float(np.nanmin(counted)) if np.isnan(here) else float(here)
        centre += here
        base[part] = np.where(free[part], 0.0, counted - here)
        span = options.span[part]
        sign = c * (np.ones(len(span)) if rule.of_change else np.sign(span))
        reach[part] = sign * np.abs(span)
        own = (option >= part.start) & (option < part.stop)
        slope[own] = sign[option[own] - part.start] * unit[own]
        least += float(
            np.nanmin(np.where(free[part], np.nan, base[part] + np.fmin(reach[part], 0)))
        )
        most += float(np.nanmax(np.where(free[part], np.nan, base[part] + np.fmax(reach[part], 0))))
    low, high = rule.low - rule.tolerance - centre, rule.high + rule.tolerance - centre
    entries = np.abs(slope[slope != 0] if slope.any() else base[base != 0])
    scale = max(entries.min(), entries.max() / 1e6) if len(entries) else 1.0
    extra = np.append(slope, np.zeros(rows.shape[1] - size)) / scale
    if most > high:
        released = np.where(free, high - most, base) / scale
        rows.listed.append((released, extra, -np.inf, high / scale + shift))
    if least < low:
        released = np.where(free, low - least, base) / scale
        rows.listed.append((released, extra, low / scale - shift, np.inf))


def _add_implications(rows: _Rows, options: Options) -> None:
    """Add, for each atom of a consequence: it holds, or some atom of the condition does not."""
    nothing = np.zeros(rows.shape[1])
    for implication in options.rules.implications:
        condition = np.zeros(len(options.value))
        for atom in implication.condition:
            part = slice(int(options.starts[atom.column]), int(options.starts[atom.column + 1]))
            condition[part] += atom.holds(options.value[part], False)
        for atom in implication.consequence:
            row = -condition
            part = slice(int(options.starts[atom.column]), int(options.starts[atom.column + 1]))
            row[part] += atom.holds(options.value[part], True)
            rows.listed.append((row, nothing, 1.0 - len(implication.condition), np.inf))


# ---------------------------------------------------------------------------------- exact points


_LITTLE = 1e-4  # how far a number that costs nothing seems to be away, at most
_EMPTY = 1e-10  # a remainder of the dual problem that is none
_ROUNDING = 1e-12


def exact_point(options: Options, chosen: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Return how far numbers go beyond their options in the nearest point within the relations.

    The program's solution keeps them within the tolerance of its solver only. Numbers with
    steps stay where it has them; of the others this is a least-distance problem over a box
    and a few half-spaces, which non-negative least squares solves (Lawson and Hanson, 1974).

    Parameters
    ----------
    options : Options
        The options, with the rules.
    chosen : ndarray of shape (J,), int
        One option per column.
    more : ndarray of shape (J,)
        How far the program goes beyond them.

    Returns
    -------
    ndarray of shape (J,)
        `more` unchanged where there is no such point.
    """
    span = options.span[chosen]
    loose = np.flatnonzero((span != 0) & (options.step[chosen] == 0))
    if not len(loose):
        return more
    length, away = np.abs(span[loose]), options.away[chosen][loose]
    curve = options.curve[chosen][loose]
    weight = np.where(curve > 0, np.sqrt(curve), _LITTLE / length)
    fixed = more.copy()
    fixed[loose] = 0.0
    for tolerance in (0.0, 0.5, 1.0):
        # rows g @ y >= h over distances y from the factual values
        rows = [np.eye(len(loose)), -np.eye(len(loose))]
        bounds = [weight * away, -weight * (away + length)]
        for rule in options.rules.linear:
            line = _linear(options, rule, chosen, fixed)
            if line is None:
                continue
            constant, slope = line
            g = slope[loose] / weight
            constant -= float(slope[loose] @ away)
            near = tolerance * rule.tolerance
            for sign, limit in ((1.0, rule.low - near), (-1.0, rule.high + near)):
                if np.isfinite(limit) and g.any():
                    size = float(np.linalg.norm(g))
                    rows.append(sign * g[None] / size)
                    bounds.append(np.array([sign * (limit - constant) / size]))
        y = _least_distance(np.vstack(rows), np.concatenate(bounds))
        if y is not None:
            out = more.copy()
            out[loose] = np.clip(y / weight - away, 0.0, length)
            return out
    return more


def infeasible(options: Options, chosen: np.ndarray) -> bool:
    """Whether a choice of options breaks a relation wherever in them the numbers are."""
    span = np.abs(options.span[chosen])
    for rule in options.rules.linear:
        line = _linear(options, rule, chosen, np.zeros(len(chosen)))
        if line is None:
            continue
        constant, slope = line
        reach = slope * span
        low = constant + np.minimum(reach, 0.0).sum()
        high = constant + np.maximum(reach, 0.0).sum()
        hair = _ROUNDING * (abs(constant) + np.abs(reach).sum())
        if low > rule.high + rule.tolerance + hair or high < rule.low - rule.tolerance - hair:
            return True
    return False


def _linear(
    options: Options, rule: RowRelation, chosen: np.ndarray, more: np.ndarray
) -> tuple[float, np.ndarray] | None:
    """The sum at the values of options plus `more`, and its slope (J,) in the rest, or None."""
    total, slope = 0.0, np.zeros(len(chosen))
    for k, j in enumerate(rule.columns.tolist()):
        c, p = float(rule.coefficients[k]), int(chosen[j])
        counted = float(rule.counted(k, options.value[[p]], float(options.home[j]))[0])
        if np.isnan(counted):
            return None
        slope[j] = c * (1.0 if rule.of_change else np.sign(options.span[p]))
        slope[j] *= options.span[p] != 0
        total += c * counted + slope[j] * more[j]
    return total, slope


def _least_distance(g: np.ndarray, h: np.ndarray) -> np.ndarray | None:
    """The shortest y with ``g @ y >= h``, or None."""
    last = np.zeros(g.shape[1] + 1)
    last[-1] = 1.0
    dual = np.vstack([g.T, h])
    try:
        u, _ = nnls(dual, last)
    except RuntimeError:
        return None
    rest = dual @ u - last
    if np.linalg.norm(rest) < _EMPTY or abs(rest[-1]) < _EMPTY**2:
        return None
    return np.asarray(-rest[:-1] / rest[-1])
