"""Snapping and change detection against loops over the definition."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn._utils import first_flagged
from scfe_sklearn.solvers.problem.domain import Domain

GROUPS = np.array([0, 1, 2, 3, 3, 4, 4, 4])
SCALAR = np.array([True, True, True, False, False, False, False, False])
STEP = np.array([0.5, 0.3, 0.0, 0, 0, 0, 0, 0])
OFFSET = np.array([0.2, -0.1, 0.0, 0, 0, 0, 0, 0])


def random_domain(rng, n, off_lattice):
    factual = rng.normal(size=(n, 8))
    stepped = STEP > 0
    safe = np.where(stepped, STEP, 1)
    on = OFFSET + safe * np.round((factual - OFFSET) / safe)
    factual = np.where(stepped & ~(off_lattice & (rng.random((n, 8)) < 0.5)), on, factual)
    factual[:, 3:5] = np.eye(2)[rng.integers(2, size=n)] / 2**0.5
    factual[:, 5:] = np.eye(3)[rng.integers(3, size=n)] / 2**0.5
    lower = OFFSET - safe * rng.integers(0, 4, (n, 8))
    upper = lower + safe * rng.integers(1, 7, (n, 8))
    allowed = rng.random((n, 8)) < 0.7
    tensors = [torch.from_numpy(x) for x in (factual, lower, upper, allowed, GROUPS, SCALAR)]
    return Domain(*tensors, torch.from_numpy(STEP), torch.from_numpy(OFFSET))


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 5), seed=st.integers(0, 10**6), off_lattice=st.booleans())
def test_snap(n, seed, off_lattice):
    rng = np.random.default_rng(seed)
    domain = random_domain(rng, n, off_lattice)
    factual = domain.factual.numpy()
    z = np.where(rng.random((n, 8)) < 0.3, factual, rng.normal(0, 2, (n, 8)))
    snapped = domain.snap(torch.from_numpy(z))
    torch.testing.assert_close(domain.snap(snapped), snapped, atol=1e-12, rtol=0)
    out = snapped.numpy()
    for i in range(n):
        for j in range(8):
            if not SCALAR[j]:
                assert out[i, j] == z[i, j]
            elif z[i, j] == factual[i, j]:
                assert out[i, j] == factual[i, j]
            elif abs(out[i, j] - factual[i, j]) > 1e-9:
                low, high = float(domain.lower[i, j]), float(domain.upper[i, j])
                assert low - 1e-12 <= out[i, j] <= high + 1e-12
                if STEP[j]:
                    ticks = (out[i, j] - OFFSET[j]) / STEP[j]
                    assert abs(ticks - round(ticks)) < 1e-9
                    # It is the nearest admissible lattice point.
                    grid = np.arange(low, high + STEP[j] / 2, STEP[j])
                    assert abs(out[i, j] - z[i, j]) <= abs(grid - z[i, j]).min() + 1e-9
                else:
                    assert out[i, j] == np.clip(z[i, j], low, high)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 5), K=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_changed(n, K, seed):
    rng = np.random.default_rng(seed)
    domain = random_domain(rng, n, False)
    factual = domain.factual.numpy()[:, None]
    noise = rng.choice([0.0, 1e-12, 0.4], size=(n, K, 8), p=[0.6, 0.2, 0.2])
    z = factual + noise
    expected = np.stack([(abs(noise[..., g == GROUPS]) > 1e-9).any(-1) for g in range(5)], -1)
    changed = domain.changed(torch.from_numpy(z))
    np.testing.assert_array_equal(changed, expected)
    np.testing.assert_array_equal(domain.changed(torch.from_numpy(z[:, 0])), expected[:, 0])
    assert domain.n_features == 5


def test_take_repeats_rows():
    domain = random_domain(np.random.default_rng(0), 4, True)
    rows = torch.tensor([2, 2, 0])
    part = domain.take(rows)
    for name in ("factual", "lower", "upper", "allowed"):
        assert torch.equal(getattr(part, name), getattr(domain, name)[rows])
    assert part.n_features == domain.n_features


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_the_first_flags_do_not_depend_on_the_width(seed, size):
    flags = torch.from_numpy(np.random.default_rng(seed).random((3, size)) < 0.3)
    for width in range(1, size + 1):
        there, position = first_flagged(flags, width)
        for i in range(3):
            expected = np.flatnonzero(flags[i].numpy())[:width]
            assert position[i][there[i]].tolist() == expected.tolist()
            assert there[i].tolist() == [k < len(expected) for k in range(width)]
            assert len(set(position[i].tolist())) == width
