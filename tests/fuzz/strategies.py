"""Strategies of the fuzzer: damaged frames and files, any target, rules and parameters."""

import contextlib

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from scfe_sklearn import Interval, Probability, Rules
from scfe_sklearn.rules import Relative
from tests.contract.test_hostile_input import HALF, HOSTILE

RANDOM = st.randoms(use_true_random=False)
ODD_NUMBERS = [0, -1, 2, 1.5, True, np.nan, np.inf, -np.inf, 1e308, 1e-320, 10**400, 2**63, 1j]
TEXTS = st.sampled_from([*HOSTILE, HALF, "", "red", "large", "whole", "size"])
LEAVES = st.one_of(
    st.none(),
    st.sampled_from([*ODD_NUMBERS, np.float32(2), np.int8(1), pd.NA, pd.NaT, np.str_("whole")]),
    TEXTS,
    st.sampled_from([b"\xff", object(), len, int, pd.Timestamp(0), Relative(-1, 1), Rules()]),
)
"""Single values of any kind."""

TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(TEXTS, st.integers(-1, 4)), inner, max_size=3),
        st.lists(inner, max_size=3).map(lambda items: np.array([*items, None], dtype=object)[:-1]),
    ),
    max_leaves=6,
)
"""Values of any kind within lists, tuples, dicts and arrays."""


# ---------------------------------------------------------------------------------------- frames

DTYPES = ["float32", "float16", "object", "str", "string", "category", "int8", "Int64", "complex",
          "bool", "datetime64[ns]"]  # fmt: skip


@st.composite
def queries(draw, every):
    """Six rows of a frame, with some damage, in some container."""
    rows = every.iloc[draw(st.lists(st.integers(0, len(every) - 1), min_size=6, max_size=6))]
    rows = rows.reset_index(drop=True)
    for _ in range(draw(st.integers(0, 2))):
        rows = draw(st.sampled_from(DAMAGES))(draw, rows)
    return draw(st.sampled_from(CONTAINERS))(rows)


def _cell(draw, rows):
    """Another value in one cell."""
    if not rows.size:
        return rows
    j, value = draw(st.integers(0, rows.shape[1] - 1)), draw(LEAVES)
    rows = rows.copy()
    column = rows.iloc[:, j].astype(object)
    cells = column.to_numpy(copy=True)
    cells[draw(st.integers(0, len(rows) - 1))] = value
    rows.isetitem(j, pd.Series(cells, index=rows.index, dtype=object))
    return rows


def _dtype(draw, rows):
    """Another dtype of one column."""
    if not rows.shape[1]:
        return rows
    j, dtype = draw(st.integers(0, rows.shape[1] - 1)), draw(st.sampled_from(DTYPES))
    rows = rows.copy()
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        rows.isetitem(j, rows.iloc[:, j].astype(dtype))
    return rows


def _columns(draw, rows):
    """Columns in another order, twice, missing, or of other names."""
    order = draw(st.lists(st.integers(0, max(rows.shape[1] - 1, 0)), max_size=5))
    rows = rows.iloc[:, [j for j in order if j < rows.shape[1]]]
    if draw(st.booleans()):
        names = list(rows)
        names[:1] = [draw(st.one_of(TEXTS, st.integers(0, 3), st.none()))][: len(names[:1])]
        rows = rows.set_axis(pd.Index(names, dtype=object), axis=1)
    return rows


def _labels(draw, rows):
    """Another index."""
    cells = st.one_of(TEXTS.filter(lambda text: text != HALF), st.integers(0, 2), st.none())
    labels = draw(st.lists(cells, min_size=len(rows), max_size=len(rows)))
    if draw(st.booleans()):
        return rows.set_axis(pd.MultiIndex.from_arrays([range(len(rows)), labels]), axis=0)
    return rows.set_axis(pd.Index(labels, dtype=object), axis=0)


def _fewer(draw, rows):
    """Some rows, or none."""
    return rows.iloc[: draw(st.integers(0, 2))]


DAMAGES = [_cell, _cell, _dtype, _columns, _labels, _fewer]
CONTAINERS = [lambda rows: rows] * 8 + [
    lambda rows: rows.to_numpy(),
    lambda rows: rows.to_numpy().tolist(),
    lambda rows: rows.iloc[:, 0] if rows.shape[1] else rows,
    lambda rows: rows.to_numpy()[None],
]


# --------------------------------------------------------------------------------------- targets


def targets(labels, n):
    """Targets that a user may give, and others."""
    label = st.one_of(st.sampled_from(labels), st.sampled_from(labels), LEAVES)
    number = st.one_of(st.floats(0, 1), st.sampled_from(ODD_NUMBERS))
    several = st.lists(label, min_size=n - 1, max_size=n)
    return st.one_of(
        st.none(),
        st.sampled_from(labels),
        label,
        st.builds(_probability, label, number),
        st.builds(_interval, number, number),
        st.sets(st.sampled_from([*labels, 7, "x"]), max_size=3),
        several,
        several.map(lambda cells: pd.Series(cells, dtype=object)),
        TREES,
    )


def _probability(label, number):
    """A Probability, or what it is made of where that is refused."""
    try:
        return Probability(label, number)
    except (ValueError, TypeError):
        return (label, number)


def _interval(low, high):
    try:
        return Interval(low, high)
    except (ValueError, TypeError):
        return (low, high)


# ------------------------------------------------------------------------------ rules, parameters

RULES = ("immutable", "increasing", "decreasing", "ranges", "transitions", "relations",
         "implications", "costs", "fillable", "strict")  # fmt: skip


@st.composite
def rules(draw, points):
    """None, rules that the suite knows, or parameters of any kind."""
    kind = draw(st.sampled_from(["none", "known", "any"]))
    if kind == "none":
        return None
    if kind == "known":
        return draw(points.ANY_RULE)[0]
    return Rules(**draw(parameters(RULES, points.COLUMNS)))


@st.composite
def parameters(draw, names, columns):
    """Some parameters with values of any kind, mostly about columns that exist."""
    number = st.one_of(st.floats(-2, 5), st.sampled_from(ODD_NUMBERS))
    pair = st.tuples(st.one_of(st.none(), number), st.one_of(st.none(), number))
    column = st.sampled_from(columns)
    sides = st.dictionaries(column, st.one_of(pair, st.sets(TEXTS, max_size=2), LEAVES), max_size=2)
    values = st.one_of(
        TREES,
        LEAVES,
        number,
        st.lists(column, max_size=3),
        st.dictionaries(column, st.one_of(pair, number, TREES), max_size=2),
        st.lists(st.tuples(sides, sides), max_size=2),
        st.lists(st.sampled_from(["whole <= few", "2 * whole >= few + 1", "whole < ", "size <= 1"]),
                 max_size=2),
        st.sampled_from(["kde", "gmm", "knn", "lof", "l0", "l1", "auto", "milp", "apg", "search",
                         "fewest", "std", "thorough"]),
    )  # fmt: skip
    chosen = draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=2))
    return {name: draw(values) for name in chosen}


@st.composite
def call_options(draw):
    """Some options of ``explain``."""
    options = {}
    if draw(st.booleans()):
        options["n_counterfactuals"] = draw(st.one_of(st.sampled_from([1, 2]), LEAVES))
    if draw(st.booleans()):
        options["best_effort"] = draw(st.one_of(st.booleans(), LEAVES))
    if not draw(st.integers(0, 3)):
        options["time_limit"] = draw(st.one_of(st.sampled_from([0.001, 5]), LEAVES))
    if not draw(st.integers(0, 3)):
        options["checkpoint"] = True
    return options


# ----------------------------------------------------------------------------------------- files


@st.composite
def damaged(draw, content):
    """Bytes with some places changed, cut or doubled; or as they are."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 40)))
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from(SPLICES)))
        kind = draw(st.sampled_from(["replace", "insert", "cut", "double"]))
        if kind == "cut":
            content = content[:at]
        elif kind == "double":
            content = content[:end] + content[at:]
        else:
            content = content[:at] + new + content[at if kind == "insert" else end :]
    return content


SPLICES = [b"[" * 50_000, b"NaN", b"1e999", b'"', b"\r\n", b",", b"-1", b"9" * 400, b"PK\x05\x06",
           b"\xff\xfe", b"\x00", b'{"is": "array"}', b"null"]  # fmt: skip
