"""Rules: constraints on a counterfactual, and the kinds of rules that there are."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from scfe_sklearn._utils import Documented, KeepsLists, by_label, row_index
from scfe_sklearn.data import FeatureSpace, is_listing, open_table
from scfe_sklearn.rules.base import ColumnRule, JointRule, Kind
from scfe_sklearn.rules.bounds import Actionability
from scfe_sklearn.rules.costs import CostKind
from scfe_sklearn.rules.flags import (
    DecreasingKind,
    FillableKind,
    FlagKind,
    ImmutableKind,
    IncreasingKind,
    check_directions,
)
from scfe_sklearn.rules.implications import ImplicationKind
from scfe_sklearn.rules.parsed import ParsedRules
from scfe_sklearn.rules.ranges import RangeKind
from scfe_sklearn.rules.relations import RelationKind
from scfe_sklearn.rules.transitions import TransitionKind

KINDS: tuple[Kind, ...] = (
    ImmutableKind(),
    IncreasingKind(),
    DecreasingKind(),
    FillableKind(),
    RangeKind(),
    TransitionKind(),
    RelationKind(),
    ImplicationKind(),
    CostKind(),
)
"""Every kind of rule; each is a parameter of `Rules`."""

PARAMETERS = (*(kind.parameter for kind in KINDS), "strict")
"""Parameters of rules, other than the rules that are merged into them."""

FLAGS = {kind.parameter: kind.phrase for kind in KINDS if isinstance(kind, FlagKind)}
"""Parameters that list columns, each with its part of a sentence."""


class Rules(KeepsLists, Documented, BaseEstimator):
    """Rules that every change must keep.

    A value that breaks a rule already may stay as it is, unless the rules are `strict`.

    Parameters
    ----------
    immutable : list of columns or dict, default=None
        Columns that must not change. A dict ``{column: bool or (n,) bool array}`` applies to
        each of the n rows; a data frame of booleans is such a dict.
    increasing, decreasing : list of columns or dict, default=None
        Numeric or ordinal columns that may change in one direction only; dict as above.
    ranges : dict, default=None
        ``{column: (low, high)}`` limits new values, with None for no limit and arrays (n,) for
        limits row by row (NaN: none). ``{column: Relative(low, high)}`` limits the change.
        Limits of an ordinal column are levels.
    transitions : dict, default=None
        ``{column: {level: [levels that it may become]}}``; a level that is not named may
        become any. Row by row: ``{column: [item, ...]}`` with n items, each such a dict of
        levels, a list of the levels that the row may take, or None. A missing value
        becomes a new value only where a transition names it.
    relations : list of str or Linear, default=None
        Linear relations between numeric, ordinal or boolean columns, such as
        ``"rent + 0.3 * food <= 1000"``. Each holds in the answer; a row that breaks one
        already must not break it more. Where a number is missing, it is not judged.
    implications : list of (dict, dict), default=None
        Pairs (condition, consequence) of dicts ``{column: level, set of levels, or
        (low, high)}``: where the row's answer fulfils all of the condition, it must fulfil all
        of the consequence, or be no further from it than the row is already. The ends of an
        interval may be None or arrays (n,); those of an ordinal column are levels.
        None is the level "missing"; a missing number fulfils no condition and breaks no
        consequence.
    costs : dict, default=None
        ``{column: weight}`` or ``{column: (n,) weights}``: price of a change of the column;
        1 is the default. Weights of merged rules are multiplied.
    fillable : list of columns or dict, default=None
        Numeric or ordinal columns in which a missing value may become a known one; without it
        a missing value stays missing. Dict as in `immutable`.
    also : sequence of Rules, default=None
        Further rules that must hold too; `merged` fills it.
    strict : bool, default=False
        Whether an answer must end within all rules about values: absolute ranges, levels that a
        row may take, relations and implications. Otherwise a value that breaks a rule already
        may stay as it is. One part that is strict makes all parts strict.

    Notes
    -----
    Wherever an array (n,) gives values row by row, a pandas Series may: if the rows are a pandas
    data frame, its values are taken by the labels of the rows, else by position. Labels of other
    rows may be in it. An iterator, such as a generator, is read once and kept as a list.

    Examples
    --------
    >>> import pandas as pd
    >>> from scfe_sklearn.data import FeatureSpace
    >>> from scfe_sklearn.rules import Rules
    >>> X = pd.DataFrame({"age": [30, 40, 50], "job": ["a", "b", "a"]})
    >>> space = FeatureSpace().fit(X)
    >>> rules = Rules(increasing=["age"], transitions={"job": {"a": []}})
    >>> rules.describe(space)
    ['age may only increase', "job may not change from 'a'"]
    >>> space.decode(rules.bind(space, X, space.encode(X)).upper, like=X)["age"].tolist()
    [50, 50, 50]
    >>> rules.violations(space, X, X.assign(age=[29, 41, 50], job="b"))
    array([[ True,  True],
           [False, False],
           [False,  True]])
    """

    def __init__(
        self,
        *,
        immutable: Sequence[Hashable] | Mapping[Hashable, Any] | None = None,
        increasing: Sequence[Hashable] | Mapping[Hashable, Any] | None = None,
        decreasing: Sequence[Hashable] | Mapping[Hashable, Any] | None = None,
        ranges: Mapping[Hashable, Any] | None = None,
        transitions: Mapping[Hashable, Any] | None = None,
        relations: Sequence[Any] | None = None,
        implications: Sequence[tuple[Mapping, Mapping]] | None = None,
        costs: Mapping[Hashable, Any] | None = None,
        fillable: Sequence[Hashable] | Mapping[Hashable, Any] | None = None,
        also: Sequence[Rules] | None = None,
        strict: bool = False,
    ) -> None:
        self.immutable = immutable
        self.increasing = increasing
        self.decreasing = decreasing
        self.ranges = ranges
        self.transitions = transitions
        self.relations = relations
        self.implications = implications
        self.costs = costs
        self.fillable = fillable
        self.also = also
        self.strict = strict

    def parts(self) -> Iterator[Rules]:
        """These rules and all that were merged into them, one by one."""
        yield from self._parts(())

    def _parts(self, around: tuple[Rules, ...]) -> Iterator[Rules]:
        """Parts of rules that stand within the rules ``around``."""
        yield self
        around = (*around, self)
        also = () if self.also is None else self.also
        if isinstance(also, Rules) or not is_listing(also):
            raise ValueError(
                f"The 'also' parameter of Rules must be a sequence of Rules. Got {also!r} instead."
            )
        for other in also:
            if not isinstance(other, Rules):
                raise ValueError(
                    "The 'also' parameter of Rules must be a sequence of Rules. "
                    f"Got {other!r} in it."
                )
            if any(other is rules for rules in around):
                raise ValueError(
                    "The 'also' parameter of Rules must not contain the rules that it belongs to. "
                    "Got Rules that contain themselves."
                )
            yield from other._parts(around)

    def in_row_order(self, X: Any) -> Rules:
        """The same rules with every Series as an array in the order of the rows.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            The rows. The labels of a pandas data frame are those that a Series has to have.

        Returns
        -------
        Rules
            New rules, all parts side by side.

        Raises
        ------
        ValueError
            If a Series lacks the label of a row, or has it more than once.
        """
        index = row_index(X)

        def labelled(value: Any, parameter: str, name: Hashable) -> Any:
            return by_label(value, index, f"The {parameter!r} parameter of Rules, for {name!r},")

        first, *others = (
            {
                "strict": part.strict,
                **{kind.parameter: kind.in_row_order(part.of(kind), labelled) for kind in KINDS},
            }
            for part in self.parts()
        )
        own = type(self)
        return own(**first, also=tuple(own(**other) for other in others) or None)

    def of(self, kind: Kind) -> Any:
        """The parameter of a kind of rule, merged rules left out."""
        return getattr(self, kind.parameter)

    def one_by_one(self) -> Iterator[Rules]:
        """Every rule by itself, merged ones too; all are strict if one part is."""
        parts = list(self.parts())
        strict = any(part.strict for part in parts)
        for part in parts:
            for kind in KINDS:
                given = part.of(kind)
                for one in () if given is None else given:
                    only: Any = {one: given[one]} if isinstance(given, Mapping) else [one]
                    yield type(self)(strict=strict, **{kind.parameter: only})

    def parsed(self, space: FeatureSpace, n: int) -> ParsedRules:
        """Check the rules and all that were merged into them, for ``n`` rows.

        Raises
        ------
        ValueError
            If a rule names an unknown column or level, does not fit the kind of its column, has
            the wrong length, or contradicts another rule in every row.
        """
        parts = list(self.parts())
        for part in parts:
            if not isinstance(part.strict, (bool, np.bool_)):
                raise ValueError(
                    f"The 'strict' parameter of Rules must be a bool. Got {part.strict!r} instead."
                )
        given = ((kind, part.of(kind)) for kind in KINDS for part in parts)
        found = [
            rule
            for kind, value in given
            if value is not None
            for rule in kind.parse(value, space, n)
        ]
        columns = tuple(rule for rule in found if isinstance(rule, ColumnRule))
        check_directions(columns, space)
        joint = tuple(rule for rule in found if isinstance(rule, JointRule))
        return ParsedRules(columns, joint, any(bool(part.strict) for part in parts))

    def merged(self, other: Rules) -> Rules:
        """Rules that hold where both hold.

        Parameters
        ----------
        other : Rules
            The other rules.

        Returns
        -------
        Rules
            New rules; neither of the two is changed.
        """
        parameters = self.get_params(deep=False)
        parameters["also"] = (*(self.also or ()), other)
        return type(self)(**parameters)

    def bind(self, space: FeatureSpace, X: Any, Z: np.ndarray) -> Actionability:
        """Work out where each row may go.

        Besides the rules, no number leaves the training range (or goes further outside of it
        than the row is already), no feature that is constant in training moves, and no value
        becomes missing.

        Parameters
        ----------
        space : FeatureSpace
            The fitted space.
        X : DataFrame or ndarray of shape (n, d)
            Factual rows.
        Z : ndarray of shape (n, D)
            ``space.encode(X)``.

        Returns
        -------
        Actionability
            Bounds and allowed levels, rounded inward to values that the data can have, costs,
            and what relations and implications require jointly.

        Raises
        ------
        ValueError
            If a rule names an unknown column or level, does not fit the kind of its column,
            has the wrong length, or contradicts another rule in all rows. Contradictions in
            single rows are reported in ``conflict``.
        """
        Z = np.asarray(Z, dtype=np.float64)
        n = open_table(X).n_rows
        if len(Z) != n:
            raise ValueError(f"X and Z must have the same number of rows. Got {n} and {len(Z)}.")
        return self.in_row_order(X).parsed(space, n).bind(space, X, Z)

    def violations(self, space: FeatureSpace, before: Any, after: Any) -> np.ndarray:
        """Judge changed rows by their raw values.

        Parameters
        ----------
        space : FeatureSpace
            The fitted space, for names, kinds and the order of levels.
        before, after : DataFrame or ndarray of shape (n, d)
            Factual and changed rows.

        Returns
        -------
        ndarray of shape (n, d), bool
            True where the change of a feature breaks a rule. Rows of ``after`` that are all
            missing break none; a single value that turns missing breaks any rule about it, and
            a number or rank must neither turn missing nor, unless it is fillable, known. A
            relation or implication that is broken marks each of its columns that changed. Of
            strict rules every column of ``after`` that is outside of a rule is marked.
            Differences below 1e-9 training standard deviations do not count.
        """
        n, m = open_table(before).n_rows, open_table(after).n_rows
        if n != m:
            raise ValueError(f"before and after must have the same rows. Got {n} and {m} rows.")
        return self.in_row_order(before).parsed(space, n).violations(space, before, after)

    def describe(self, space: FeatureSpace) -> list[str]:
        """The rules as plain sentences.

        Parameters
        ----------
        space : FeatureSpace
            The fitted space, for the order of the columns.

        Returns
        -------
        list of str
            Sentences such as "age may only increase", in the order of the columns.
        """
        parts = list(self.in_row_order(None).parts())
        given = [(kind, part.of(kind)) for part in parts for kind in KINDS]
        given = [(kind, value) for kind, value in given if value is not None]
        found = [one for kind, value in given for one in kind.describe(value, space)]
        found.sort(key=lambda one: one[0])
        breakable = [kind for kind, value in given if kind.may_be_broken(value)]
        sentences = dict.fromkeys(sentence for _, sentence in found)
        return [*sentences, *_about_breaches(breakable, any(part.strict for part in parts))]


def _about_breaches(breakable: Sequence[Kind], strict: bool) -> list[str]:
    """Sentences about rows that break one of some kinds of rules already."""
    if not breakable:
        return []
    if strict:
        return ["an answer must end within these rules, also where the row breaks one already"]
    found = ["a value that breaks a rule already may stay as it is"]
    if not all(kind.by_column for kind in breakable):
        found.append(
            "a row that breaks a relation or an implication already must not break it more"
        )
    return found
