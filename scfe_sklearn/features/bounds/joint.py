"""Relations, implications and gaps in transitions of given rows, in solver coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.features.bounds.requirements import (
    UNJUDGED,
    ChangeRequirement,
    Choice,
    ImplicationRequirement,
    Ladder,
    LinearRequirement,
    Requirement,
    Span,
    Together,
)
from scfe_sklearn.features.bounds.transitions import open_ranks
from scfe_sklearn.features.kinds import VERTEX, match_levels
from scfe_sklearn.features.stated import (
    Atom,
    Opened,
    Relation,
    bits_of,
    breaks_already,
    level_numbers,
    margin_tolerance,
    own_levels,
    raw_numbers,
)

if TYPE_CHECKING:
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated import ParsedRules


@dataclass(frozen=True, eq=False)
class BoundRelation:
    """A relation that the factual rows keep: their own sum is within its limits.

    Parameters
    ----------
    relation : Relation
        The relation, relaxed to the factual sums.
    factual : list of ndarray of shape (n,)
        The number of each column in the factual rows.
    tolerance : float
        How far a sum may be beyond its limits.
    """

    relation: Relation
    factual: list[np.ndarray]
    tolerance: float


@dataclass(frozen=True, eq=False)
class BoundAtom:
    """Condition on one feature, in raw values, or in ranks of the levels of training.

    Parameters
    ----------
    feature : int
        The feature.
    low, high : ndarray of shape (n,)
        An interval.
    member : ndarray of shape (n, L), bool, or None
        The levels, instead of an interval.
    """

    feature: int
    low: np.ndarray
    high: np.ndarray
    member: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class BoundImplication:
    """An implication that the factual rows keep: their own values are in its consequence."""

    condition: tuple[BoundAtom, ...]
    consequence: tuple[BoundAtom, ...]


@dataclass(frozen=True, eq=False)
class Joint:
    """All relations and implications of some rows."""

    relations: tuple[BoundRelation, ...]
    implications: tuple[BoundImplication, ...]


def bind_joint(parsed: ParsedRules, space: FeatureSpace, opened: Opened, Z: np.ndarray) -> Joint:
    """Relax the joint rules to what the factual rows break already."""
    table, order = opened
    relations = []
    for relation in parsed.relations:
        factual = [raw_numbers(space, table, order[j], j) for j in relation.features]
        factual = [np.where(np.isfinite(values), values, np.nan) for values in factual]
        bits = [bits_of(space, j, opened) for j in relation.features]
        near = relation.tolerance(space, bits)
        if not relation.of_change and not parsed.strict:
            relation = relation.relaxed(relation.total(factual))
        relations.append(BoundRelation(relation, factual, near))
    implications = []
    for implication in parsed.implications:
        already = breaks_already(implication, space, opened) & (not parsed.strict)
        condition = tuple(_bound(atom, space, opened) for atom in implication.condition)
        consequence = tuple(
            _with_factual(_bound(atom, space, opened), already, space, opened, Z)
            for atom in implication.consequence
        )
        implications.append(BoundImplication(condition, consequence))
    implications += _gaps(parsed, space, Z)
    if parsed.strict:
        implications += _within(parsed, space, opened)
    return Joint(tuple(relations), tuple(implications))


def _gaps(parsed: ParsedRules, space: FeatureSpace, Z: np.ndarray) -> list[BoundImplication]:
    """Return implications that keep ordinal features to the ranks of their transitions.

    Bounds hold one interval of ranks, and transitions may leave gaps in it.
    """
    found = []
    for j in sorted({rule.feature for rule in parsed.moves}):
        if space.kinds_[j] != "ordinal":
            continue
        member = open_ranks(parsed.moves, space.features_[j], j, codes_of(space, j, Z))
        if member is None:
            continue
        free = np.full(len(member), np.inf)
        anything = BoundAtom(j, -free, free, np.ones_like(member))
        found.append(BoundImplication((anything,), (BoundAtom(j, -free, free, member),)))
    return found


def _within(parsed: ParsedRules, space: FeatureSpace, opened: Opened) -> list[BoundImplication]:
    """Return implications that keep features within their ranges and levels.

    Bounds let a factual value stay that is outside of them.
    """
    found = []
    for limits in parsed.limits:
        if not limits.relative:
            atom = Atom(limits.feature, limits.low, limits.high)
            found.append(_always(_bound(atom, space, opened), space))
    for move in parsed.moves:
        if move.anywhere is None:
            continue
        levels = own_levels(space.features_[move.feature])
        member = np.ones((opened[0].n_rows, len(levels)), dtype=bool)
        member[move.rows] = [v is None or v in move.anywhere for v in levels]
        free = np.full(len(member), np.inf)
        found.append(_always(BoundAtom(move.feature, -free, free, member), space))
    return found


def _always(atom: BoundAtom, space: FeatureSpace) -> BoundImplication:
    """An implication whose condition holds for every known value."""
    free = np.full(len(atom.low), np.inf)
    member = None
    if space.features_[atom.feature].kind == "categorical" or atom.member is not None:
        n_levels = len(own_levels(space.features_[atom.feature]))
        member = np.ones((len(atom.low), n_levels), dtype=bool)
    return BoundImplication((BoundAtom(atom.feature, -free, free, member),), (atom,))


def _bound(atom: Atom, space: FeatureSpace, opened: Opened) -> BoundAtom:
    feature = space.features_[atom.feature]
    if atom.levels is not None:
        member = np.array([level in atom.levels for level in own_levels(feature)], dtype=bool)
        member = np.repeat(member[None], len(atom.low), axis=0)
        return BoundAtom(atom.feature, atom.low, atom.high, member)
    if feature.levels is None:
        low, high = atom.ends(bits_of(space, atom.feature, opened))
        return BoundAtom(atom.feature, low, high)
    # Positions among all declared levels become ranks among those that training showed.
    seen = match_levels(np.asarray(feature.declared), np.asarray(feature.levels))
    low, high = np.searchsorted(seen, atom.low), np.searchsorted(seen, atom.high, "right") - 1
    return BoundAtom(
        atom.feature,
        np.where(np.isfinite(atom.low), low, atom.low),
        np.where(np.isfinite(atom.high), high, atom.high),
    )


def _with_factual(
    atom: BoundAtom, already: np.ndarray, space: FeatureSpace, opened: Opened, Z: np.ndarray
) -> BoundAtom:
    """The atom, with the factual value where the row breaks the implication already."""
    table, order = opened
    feature, j = space.features_[atom.feature], atom.feature
    values = table.numbers(order[j]) if feature.levels is None else codes_of(space, j, Z)
    if atom.member is None:
        values = np.where(already & np.isfinite(values), values, np.nan)
        return replace(atom, low=np.fmin(atom.low, values), high=np.fmax(atom.high, values))
    member, rows = atom.member.copy(), np.flatnonzero(already & ~np.isnan(values))
    member[rows, values[rows].astype(np.intp)] = True
    return replace(atom, member=member)


def codes_of(space: FeatureSpace, j: int, Z: np.ndarray) -> np.ndarray:
    """The level of each point as a float, NaN where it has none."""
    block = Z[:, space.slices_[j]]
    if space.kinds_[j] == "ordinal":
        return np.rint(space.center_[j] + space.scale_[j] * block[:, 0])
    return np.where(np.isnan(block).any(axis=1), np.nan, block.argmax(axis=1))


# --------------------------------------------------------------------- for the solver


def requirements_of(
    joint: Joint, space: FeatureSpace, allowed: np.ndarray, Z: np.ndarray, strict: bool = False
) -> tuple[Requirement, ...]:
    """The joint rules as functions of solver coordinates.

    Those of strict rules are one function: rows that break several begin outside of all.
    """
    out: list[Requirement] = []
    for bound in joint.relations:
        if bound.relation.of_change:
            out.append(_change_requirement(bound, space, Z))
        else:
            out.append(_linear_requirement(bound, space, allowed))
    for implication in joint.implications:
        condition = tuple(_requirement(atom, space) for atom in implication.condition)
        consequence = tuple(_requirement(atom, space) for atom in implication.consequence)
        out.append(ImplicationRequirement(condition, consequence))
    return (Together(tuple(out)),) if strict and len(out) > 1 else tuple(out)


def _ladder(space: FeatureSpace, j: int) -> Ladder:
    """The declared ranks of an ordinal feature."""
    feature = space.features_[j]
    numbers = level_numbers(feature, own_levels(feature))
    return Ladder(space.slices_[j].start, feature.center, feature.scale, numbers)


def _has_gaps(ladder: Ladder) -> bool:
    return bool((np.diff(ladder.numbers) != 1).any())


def _linear_requirement(
    bound: BoundRelation, space: FeatureSpace, allowed: np.ndarray
) -> LinearRequirement:
    relation = bound.relation
    coordinates: list[np.ndarray] = [np.empty(0, dtype=np.intp)]
    weights: list[np.ndarray] = [np.empty(0)]
    ladders, absent, bias = [], [], 0.0
    judged = np.ones(len(relation.low), dtype=bool)
    for j, c, factual in zip(
        relation.features, relation.coefficients.tolist(), bound.factual, strict=True
    ):
        feature, block = space.features_[j], space.slices_[j]
        if feature.kind == "categorical":
            numbers = level_numbers(feature, own_levels(feature))
            if feature.missing_level >= 0:
                absent.append(block.start + feature.missing_level)
            coordinates.append(np.arange(block.start, block.stop))
            weights.append(c * np.nan_to_num(numbers) / VERTEX)
            continue
        # A missing number that may become known is judged once it is.
        judged &= ~np.isnan(factual) | allowed[:, block.start]
        ladder = None if feature.levels is None else _ladder(space, j)
        if ladder is not None and _has_gaps(ladder):
            ladders.append((c, ladder))
            continue
        start = 0.0 if ladder is None else float(ladder.numbers[0])
        coordinates.append(np.array([block.start]))
        weights.append(np.array([c * feature.scale]))
        bias += c * (feature.center + start)
    return LinearRequirement(
        coordinates=np.concatenate(coordinates),
        weights=np.concatenate(weights),
        bias=bias,
        ladders=tuple(ladders),
        absent=np.array(absent, dtype=np.intp),
        low=relation.low,
        high=relation.high,
        judged=judged,
        norm=relation.norm,
        tolerance=bound.tolerance / relation.norm,
    )


def _change_requirement(
    bound: BoundRelation, space: FeatureSpace, Z: np.ndarray
) -> ChangeRequirement:
    relation, n = bound.relation, len(Z)
    coordinates, weights, ladders, homes = [], [], [], []
    levels: list[np.ndarray] = []
    prices = []
    for j, c, factual in zip(
        relation.features, relation.coefficients.tolist(), bound.factual, strict=True
    ):
        feature, block = space.features_[j], space.slices_[j]
        if feature.kind == "categorical":
            code = codes_of(space, j, Z)
            levels.append(np.where(np.isnan(code), -1, block.start + np.nan_to_num(code)))
            prices.append(c)
            continue
        ladder = None if feature.levels is None else _ladder(space, j)
        if ladder is not None and _has_gaps(ladder):
            ladders.append((c, ladder))
            homes.append(factual)
            continue
        coordinates.append(block.start)
        weights.append(c * feature.scale)
    at = np.array(coordinates, dtype=np.intp)
    home = Z[:, at]
    return ChangeRequirement(
        coordinates=at,
        weights=np.array(weights, dtype=np.float64),
        home=np.where(np.isfinite(home), home, np.nan),
        ladders=tuple(ladders),
        ladder_home=np.stack(homes, axis=1) if homes else np.empty((n, 0)),
        level=np.stack(levels, axis=1).astype(np.int64) if levels else np.empty((n, 0), np.int64),
        prices=np.array(prices, dtype=np.float64),
        high=relation.high,
        norm=relation.norm,
        tolerance=bound.tolerance / relation.norm,
    )


def _requirement(atom: BoundAtom, space: FeatureSpace) -> Span | Choice:
    j = atom.feature
    feature, block = space.features_[j], space.slices_[j]
    if atom.member is None:
        # No point is so far out; finite ends keep infinities out of the arithmetic.
        low, high = (
            np.clip((end - feature.center) / feature.scale, -UNJUDGED, UNJUDGED)
            for end in (atom.low, atom.high)
        )
        return Span(
            block.start,
            low,
            high,
            margin_tolerance(feature) / feature.scale,
        )
    if feature.kind == "categorical":
        return Choice(block, atom.member)
    numbers = atom.member.astype(np.float64)
    ladder = Ladder(block.start, feature.center, feature.scale, numbers)
    return Choice(block, atom.member, ladder)
