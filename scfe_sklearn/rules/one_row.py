"""Rules between columns of one row, as the exact methods read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from scfe_sklearn.rules.base import BoundRule

_STILL = 2e-9  # of a unit: a number that moves less has not moved


@dataclass(frozen=True, eq=False)
class RowRelation:
    """``low <= sum of coefficient * number <= high`` over columns of a row.

    Parameters
    ----------
    columns : ndarray of shape (k,), int
        The columns.
    coefficients : ndarray of shape (k,)
        What a unit of each counts.
    numbers : sequence of ndarray or None
        For a column with levels what each level (L,) counts, NaN for nothing: a row with such
        a level is not judged. None for a column of numbers.
    low, high : float
        The limits, infinite where there is none.
    tolerance : float
        How far the sum may be beyond them.
    of_change : bool
        Whether a number counts by how far it has moved; what is missing has not moved then.
    """

    columns: np.ndarray
    coefficients: np.ndarray
    numbers: Sequence[np.ndarray | None]
    low: float
    high: float
    tolerance: float = 0.0
    of_change: bool = False

    def counted(self, k: int, value: np.ndarray, factual: float) -> np.ndarray:
        """Return the numbers of options (M,) of the k-th column; NaN: not judged."""
        numbers = self.numbers[k]
        if numbers is not None:
            return np.asarray(numbers[value.astype(np.intp)])
        if not self.of_change:
            return value
        return np.nan_to_num(np.abs(value - factual), nan=0.0)


@dataclass(frozen=True, eq=False)
class RowAtom:
    """Condition on one column.

    Parameters
    ----------
    column : int
        The column.
    low, high : float
        A closed interval of numbers.
    member : ndarray of shape (L,), bool, or None
        The levels instead, of a column that has levels.
    """

    column: int
    low: float = -np.inf
    high: float = np.inf
    member: np.ndarray | None = None

    def holds(self, value: np.ndarray, missing: bool) -> np.ndarray:
        """Whether the atom holds for numbers or positions of levels; NaN counts as `missing`."""
        if self.member is not None:
            return np.asarray(self.member[value.astype(np.intp)])
        with np.errstate(invalid="ignore"):
            inside = (value >= self.low) & (value <= self.high)
        return np.where(np.isnan(value), missing, inside)


@dataclass(frozen=True, eq=False)
class RowImplication:
    """Implication: if every atom of the condition holds, so does every atom of the consequence.

    A missing number fulfils no condition and breaks no consequence.
    """

    condition: tuple[RowAtom, ...]
    consequence: tuple[RowAtom, ...]


@dataclass(frozen=True, eq=False)
class RowRules:
    """All joint rules of one row.

    Parameters
    ----------
    linear : tuple of RowRelation
        Relations and budgets.
    implications : tuple of RowImplication
        Implications.
    """

    linear: tuple[RowRelation, ...] = ()
    implications: tuple[RowImplication, ...] = ()
    _atoms: dict[int, list[RowAtom]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Sort the atoms by their columns."""
        atoms: dict[int, list[RowAtom]] = {}
        for rule in self.implications:
            for atom in (*rule.condition, *rule.consequence):
                atoms.setdefault(atom.column, []).append(atom)
        object.__setattr__(self, "_atoms", atoms)

    @classmethod
    def of(cls, rules: Iterable[BoundRule], row: int) -> RowRules:
        """Gather the rules of one of the bound rows."""
        found = [rule.of_row(row) for rule in rules]
        return cls(
            tuple(rule for rule in found if isinstance(rule, RowRelation)),
            tuple(rule for rule in found if isinstance(rule, RowImplication)),
        )

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self.linear or self.implications)

    @property
    def columns(self) -> set[int]:
        """Columns that some rule names."""
        named = {int(j) for rule in self.linear for j in rule.columns}
        return named | set(self._atoms)

    @property
    def loose(self) -> set[int]:
        """Columns of which a relation needs more than the choice of the nearest values.

        A relation between values may need a number deep within a cell, or one that moves within
        its own. A budget of changes is best kept at the nearest end of a cell.
        """
        return {int(j) for rule in self.linear if not rule.of_change for j in rule.columns}

    def cuts(self, column: int, factual: float, unit: float) -> np.ndarray:
        """Ends of cells ``(below, above]`` of numbers within which rules make no difference."""
        found = []
        for atom in self._atoms.get(column, []):
            found += [np.nextafter(atom.low, -np.inf), atom.high]
        if column in self.loose and not np.isnan(factual):
            still = _STILL * unit
            found += [np.nextafter(factual - still, -np.inf), factual + still]
        cuts = np.array(found, dtype=np.float64)
        return cuts[np.isfinite(cuts)]

    def patterns(self, column: int, value: np.ndarray, factual: float) -> np.ndarray:
        """Flags (k, M) that distinguish the options of one column as the rules do."""
        flags = [np.isnan(value)]
        flags += [atom.holds(value, False) for atom in self._atoms.get(column, [])]
        if column in self.loose:
            with np.errstate(invalid="ignore"):
                flags += [value < factual, value > factual]
        return np.stack(flags)

    def kept_by(self, values: np.ndarray, factual: np.ndarray) -> bool:
        """Whether a row keeps all rules, by its numbers and positions of levels (J,)."""
        for rule in self.linear:
            total = 0.0
            for k, (j, c) in enumerate(zip(rule.columns, rule.coefficients, strict=True)):
                total += float(c) * float(rule.counted(k, values[[j]], float(factual[j]))[0])
            if total > rule.high + rule.tolerance or total < rule.low - rule.tolerance:
                return False  # a sum that is missing is neither
        for implication in self.implications:
            held, met = (
                all(bool(atom.holds(values[[atom.column]], missing)[0]) for atom in side)
                for side, missing in (
                    (implication.condition, False),
                    (implication.consequence, True),
                )
            )
            if held and not met:
                return False
        return True
