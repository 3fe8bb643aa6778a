"""The exact point of a choice of options: nearest to the row, on the right side of relations."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from scfe_sklearn.exact.options import Options
from scfe_sklearn.rules import RowRelation

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
