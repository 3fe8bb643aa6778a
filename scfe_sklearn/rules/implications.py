"""Implications between columns: if these values, then those."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scfe_sklearn.data import (
    FeatureSpace,
    is_listing,
    is_number,
)
from scfe_sklearn.rules.atoms import Atom, BoundAtom, capped, forgiven
from scfe_sklearn.rules.base import BoundRule, ColumnRule, JointRule, Kind, RawRows
from scfe_sklearn.rules.bounds import Narrowing
from scfe_sklearn.rules.one_row import RowImplication
from scfe_sklearn.rules.reading import (
    Labelled,
    find_column,
    first_column,
    level_set,
    limits_text,
    number_text,
    of_columns,
    pair_in_row_order,
    read_limits,
    subject,
    wrong,
)

EDGE = 4e-9
"""How far a condition that holds on its edge is from no longer holding."""


@dataclass(frozen=True, eq=False)
class Implication(JointRule):
    """Implication: if every atom of the condition holds, so does every atom of the consequence."""

    condition: tuple[Atom, ...]
    consequence: tuple[Atom, ...]
    _by_row = ("condition", "consequence")

    @property
    def features(self) -> tuple[int, ...]:  # type: ignore[override]
        """Positions of the columns."""
        return tuple(atom.feature for atom in (*self.condition, *self.consequence))

    def outside(self, rows: RawRows) -> np.ndarray:
        return _all_hold(self.condition, rows, False) & ~_all_hold(self.consequence, rows, True)

    def breaks(self, old: RawRows, new: RawRows, changed: np.ndarray) -> np.ndarray:
        already = self.outside(old)
        fulfilled = np.ones(len(changed), dtype=bool)
        for atom in self.consequence:
            if atom.levels is None:
                atom = atom.towards(np.where(already, old.numbers(atom.feature), np.nan))
            fulfilled &= atom.holds(new, True) | (already & ~changed[:, atom.feature])
        return _all_hold(self.condition, new, False) & ~fulfilled

    def bind(self, rows: RawRows, Z: np.ndarray, strict: bool) -> BoundImplication:
        already = self.outside(rows) & (not strict)
        return BoundImplication(
            tuple(atom.bind(rows) for atom in self.condition),
            tuple(atom.bind(rows).with_factual(rows, Z, already) for atom in self.consequence),
        )


def _all_hold(atoms: Sequence[Atom], rows: RawRows, unknown: bool) -> np.ndarray:
    return np.logical_and.reduce([atom.holds(rows, unknown) for atom in atoms])


@dataclass(frozen=True, eq=False)
class BoundImplication(BoundRule):
    """An implication that the factual rows keep: their own values are in its consequence."""

    condition: tuple[BoundAtom, ...]
    consequence: tuple[BoundAtom, ...]
    _by_row = ("condition", "consequence")

    @property
    def features(self) -> tuple[int, ...]:  # type: ignore[override]
        """Positions of the features."""
        return tuple(atom.j for atom in (*self.condition, *self.consequence))

    def requirement(self, allowed: np.ndarray) -> BoundImplication:
        return self

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The larger of the distances out of the condition and into the consequence."""

        def least(slack: Callable, atoms: tuple[BoundAtom, ...]) -> torch.Tensor:
            found = []
            for atom in atoms:
                margin = atom.margin(z, rows)
                known = ~torch.isnan(margin)
                margin = torch.where(known, margin, torch.zeros_like(margin))
                found.append(slack(margin, known, atom.tolerance))
            return torch.stack(found).amin(dim=0)

        inside = least(_inside, self.consequence)
        held = least(_held, self.condition)
        return capped(torch.maximum(-held, inside))

    def narrow(self, narrowing: Narrowing) -> None:
        """A certain condition makes the consequence a limit."""
        certain = [atom.certain(narrowing) for atom in self.condition]
        always_holds = np.logical_and.reduce(certain)
        for atom in self.consequence:
            atom.restrict(narrowing, always_holds)
        never = np.logical_or.reduce([atom.excluded(narrowing) for atom in self.consequence])
        for k, atom in enumerate(self.condition):
            if atom.member is not None:
                rest = np.logical_and.reduce([never, *certain[:k], *certain[k + 1 :]])
                narrowing.restrict_levels(atom.j, ~atom.member | ~rest[:, None])

    def infeasible(self, narrowing: Narrowing) -> np.ndarray:
        held = np.logical_and.reduce([atom.certain(narrowing) for atom in self.condition])
        never = np.logical_or.reduce([atom.excluded(narrowing) for atom in self.consequence])
        return held & never

    def of_row(self, row: int) -> RowImplication:
        return RowImplication(
            tuple(atom.of_row(row) for atom in self.condition),
            tuple(atom.of_row(row) for atom in self.consequence),
        )


def always(atom: BoundAtom) -> BoundImplication:
    """The rule that an atom holds, as an implication from every known value."""
    return BoundImplication((atom.anything(),), (atom,))


def _inside(margin: torch.Tensor, known: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Slack of an atom of a consequence; a missing value breaks nothing."""
    return capped(forgiven(margin, tolerance), known)


def _held(margin: torch.Tensor, known: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Slack of an atom of a condition, away from zero; a missing value fulfils nothing."""
    edge = torch.where(margin >= -tolerance, margin.clamp(min=EDGE), margin)
    return -capped(-(margin + (edge - margin).detach()), known)


class ImplicationKind(Kind):
    """`Rules(implications=...)`."""

    parameter, by_column = "implications", False

    def in_row_order(self, given: Any, labelled: Labelled) -> Any:
        if not isinstance(given, (list, tuple)):
            return given

        def sided(side: Any) -> Any:
            return of_columns(side, "implications", lambda *of: pair_in_row_order(labelled, *of))

        return [
            tuple(map(sided, item)) if isinstance(item, (tuple, list)) else item for item in given
        ]

    def parse(self, given: Any, space: FeatureSpace, n: int) -> Iterator[ColumnRule | JointRule]:
        if isinstance(given, Mapping) or not is_listing(given):
            raise _no_pair(given)
        for item in given:
            pair = isinstance(item, (tuple, list)) and len(item) == 2
            if not pair or not all(isinstance(side, Mapping) and side for side in item):
                raise _no_pair(item)
            yield Implication(
                *(
                    tuple(_atom(name, wanted, space, n) for name, wanted in side.items())
                    for side in item
                )
            )

    def describe(self, given: Any, space: FeatureSpace) -> Iterator[tuple[int, str]]:
        for condition, consequence in given:
            first = first_column(space, [*condition, *consequence], "implications")
            if_, then = (
                " and ".join(
                    f"{subject(name)} {verb} {_wanted_text(name, wanted, space)}"
                    for name, wanted in side.items()
                )
                for side, verb in ((condition, "is"), (consequence, "must be"))
            )
            yield first, f"if {if_}, {then}"

    def may_be_broken(self, given: Any) -> bool:
        return bool(given)


def _no_pair(given: Any) -> ValueError:
    must = (
        "be a list of pairs (condition, consequence) of dicts such as "
        "({'job': 'student'}, {'income': (None, 30000)})"
    )
    return wrong("implications", must, given)


def _no_atom(name: Hashable, must: str, given: Any) -> ValueError:
    return wrong("implications", f"have {must} for {name!r}", given)


def _atom(name: Hashable, wanted: Any, space: FeatureSpace, n: int) -> Atom:
    """One condition on one column."""
    j = find_column(space, name, "implications")
    kind, pair = space.kinds_[j], "a number or a pair (low, high)"
    free = np.full(n, -np.inf), np.full(n, np.inf)
    if kind == "categorical" or (kind == "ordinal" and not isinstance(wanted, tuple)):
        if isinstance(wanted, Mapping):
            raise _no_atom(name, "a level or a set of levels", wanted)
        listed = list(wanted) if is_listing(wanted) else [wanted]
        if not listed:
            raise _no_atom(name, "at least one level", wanted)
        return Atom(j, *free, level_set(listed, j, space, "implications"))
    if not isinstance(wanted, (tuple, list)):
        if not is_number(wanted):
            raise _no_atom(name, pair, wanted)
        wanted = (wanted, wanted)
    if len(wanted) != 2:
        raise _no_atom(name, pair, wanted)
    low, high = read_limits(wanted, j, space, n, "implications", kind == "ordinal")
    if (low > high).any():
        raise _no_atom(name, "low <= high", wanted)
    return Atom(j, low, high)


def _wanted_text(name: Hashable, wanted: Any, space: FeatureSpace) -> str:
    """A condition in a sentence."""
    kind = space.kinds_[first_column(space, [name], "implications")]
    if not is_listing(wanted):
        return _value_text(wanted)
    if kind in ("numeric", "integer") or (kind == "ordinal" and isinstance(wanted, tuple)):
        return limits_text(wanted[0], wanted[1], _value_text) or "any value"
    return " or ".join(sorted(_value_text(v) for v in wanted))


def _value_text(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, np.generic):
        value = value.item()
    if is_number(value) and not isinstance(value, bool):
        return number_text(value)
    return repr(value)
