"""What a row may become: nothing inadmissible, and nothing cheaper left out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.exact import row_options
from tests.exact.conftest import CLASSIFIERS, Tenths, make_case


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_cell_has_its_nearest_admissible_value(seed):
    case = make_case(CLASSIFIERS["pure forest"](), seed)
    options = case.options(Tenths())
    for k in range(3):
        cuts = case.ensemble.thresholds()[k]
        rows = np.unique(case.lattice_rows()[:, k])
        cell = np.searchsorted(cuts, rows)
        own = np.searchsorted(cuts, case.row[k])
        block = slice(options.starts[k], options.starts[k + 1])
        expected = [
            case.row[k]
            if c == own
            else rows[cell == c][np.abs(rows[cell == c] - case.row[k]).argmin()]
            for c in np.unique(cell)
        ]
        assert np.array_equal(options.value[block], expected)
        assert options.value[options.stay[k]] == case.row[k]
        distance = ((np.array(expected) - case.row[k]) / case.unit[k]) ** 2
        assert np.allclose(options.distance[block], distance)


def test_levels_are_the_allowed_ones_and_the_factual_one():
    case = make_case(CLASSIFIERS["tree"](), 0)
    own = int(case.row[3])
    case.allowed[3:] = False
    options = case.options()
    assert options.value[options.starts[3] :].tolist() == [own]
    case.allowed[3:] = True
    options = case.options()
    assert options.value[options.starts[3] :].tolist() == [0, 1, 2]
    assert options.distance[options.starts[3] :].tolist() == [float(k != own) for k in range(3)]
    assert not options.changed[options.stay].any()
    assert options.changed.sum() == len(options.value) - 4


def test_ordered_levels_are_as_far_as_their_ranks():
    case = make_case(CLASSIFIERS["tree"](), 0)
    case.allowed[3:] = True
    case.unit[3] = 0.5
    options = case.options()
    ranks = np.arange(3) - case.row[3]
    assert options.distance[options.starts[3] :].tolist() == ((ranks / 0.5) ** 2).tolist()


def test_a_row_outside_its_interval_stays_or_jumps_into_it():
    case = make_case(CLASSIFIERS["pure forest"](), 0)
    case.lower[0], case.upper[0], case.allowed[0] = -200.0, -100.0, True
    options = case.options()
    assert options.value[: options.starts[1]].tolist() == [-100.0, case.row[0]]


def test_points_are_rows_of_column_space():
    case = make_case(CLASSIFIERS["tree"](), 0)
    options = case.options()
    assert np.array_equal(options.point(options.stay[None])[0], case.factual)


@pytest.mark.parametrize("name", ["factual", "lower", "upper", "allowed", "unit"])
def test_shapes_are_checked(name):
    case = make_case(CLASSIFIERS["tree"](), 0)
    arrays = {
        "factual": case.factual,
        "lower": case.lower,
        "upper": case.upper,
        "allowed": case.allowed,
        "unit": case.unit,
    }
    arrays[name] = arrays[name][:-1]
    with pytest.raises(ValueError, match=f"'{name}' parameter of row_options must have shape"):
        row_options(case.ensemble, **arrays)


def test_a_row_without_a_level_is_refused():
    case = make_case(CLASSIFIERS["tree"](), 0)
    factual = case.factual
    factual[3:] = 0.0
    with pytest.raises(ValueError, match="must have a level in column 3"):
        row_options(
            case.ensemble,
            factual,
            lower=case.lower,
            upper=case.upper,
            allowed=case.allowed,
            unit=case.unit,
        )
