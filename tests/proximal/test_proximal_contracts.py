"""What every operator promises, whatever its formula. A new operator is tested by adding a line.

Each case maps (v, rows) to a result: v is (n, 6), ``rows`` selects the rows of its row-wise
parameters, so that a batch can be compared with its rows bit for bit.
"""

import numpy as np
import pytest
import torch

from scfe_sklearn.proximal import (
    INTERVAL,
    L0,
    L1,
    SIMPLEX,
    VERTICES,
    Box,
    Budget,
    FeatureSets,
    LHalf,
    LpBall,
    LTwoThirds,
    Simplex,
)

N, D = 7, 6
GROUPS = torch.tensor([0, 0, 1, 2, 2, 2])
RNG = np.random.default_rng(0)
LOWER = torch.tensor(-RNG.uniform(0, 2, (N, D)))
UPPER = torch.tensor(RNG.uniform(0, 2, (N, D)))
AWAY_LOWER, AWAY_UPPER = LOWER + 1.5, UPPER + 1.5
STEP = torch.tensor(RNG.uniform(0.1, 1, N))
WEIGHT = torch.tensor(RNG.uniform(0.1, 1, (N, D)))
RADIUS = torch.tensor(RNG.uniform(0.5, 2, N))
COUNT = torch.tensor([0, 1, 2, 3, 1, 2, 1])
LEVEL = torch.tensor(RNG.integers(0, 3, N))
ORIGIN = torch.zeros(N, D, dtype=torch.float64)
ORIGIN[:, :3] = torch.tensor(RNG.normal(size=(N, 3)))
ORIGIN[:, 3:] = torch.nn.functional.one_hot(LEVEL, 3).double()


def sets(kind, stay=True, lattice=(0.0, 0.0, 0.5, 0, 0, 0)):
    return FeatureSets(
        GROUPS,
        kinds=[INTERVAL, INTERVAL, kind],
        lower=LOWER + ORIGIN,
        upper=UPPER + ORIGIN,
        step=lattice,
        origin=ORIGIN,
        stay=stay,
    )


def penalty(cls, groups=None, boxed=True, lower=LOWER, upper=UPPER):
    def call(v, rows):
        lo, hi = (lower[rows].to(v), upper[rows].to(v)) if boxed else (None, None)
        weight = (WEIGHT if groups is None else WEIGHT[:, :3])[rows].to(v)
        return cls(0.3, groups=groups).prox(v, STEP[rows].to(v), lo, hi, weight)

    return call


def on_sets(kind, **options):
    whole = sets(kind, **options)

    def call(v, rows):
        return Budget(COUNT[rows], whole.take(rows).to(dtype=v.dtype)).project(v)

    return call


def over_sets(cls, **options):
    whole = FeatureSets(
        [0, 1, 2, 3, 3, 3],
        kinds=[INTERVAL] * 3 + [VERTICES],
        lower=LOWER + ORIGIN,
        upper=UPPER + ORIGIN,
        step=[0.0, 0.25, 0.5, 0, 0, 0],
        origin=ORIGIN,
        **options,
    )

    def call(v, rows):
        part = whole.take(rows).to(dtype=v.dtype)
        return part.prox(v, STEP[rows].to(v), 0.5, cls.exponent, COUNT[rows])

    return call


def ball(p, method, boxed):
    def call(v, rows):
        box = (LOWER[rows].to(v), UPPER[rows].to(v)) if boxed else ()
        return getattr(LpBall(p, RADIUS[rows].to(v)), method)(v, *box)

    return call


CASES = {
    "l0": penalty(L0),
    "l0 away": penalty(L0, lower=AWAY_LOWER, upper=AWAY_UPPER),
    "l1/2": penalty(LHalf),
    "l1/2 away": penalty(LHalf, lower=AWAY_LOWER, upper=AWAY_UPPER),
    "l2/3": penalty(LTwoThirds),
    "l2/3 away": penalty(LTwoThirds, lower=AWAY_LOWER, upper=AWAY_UPPER),
    "l1": penalty(L1),
    "group l0": penalty(L0, GROUPS),
    "group l1": penalty(L1, GROUPS),
    "group l1 free": penalty(L1, GROUPS, boxed=False),
    "group l1/2 free": penalty(LHalf, GROUPS, boxed=False),
    "group l2/3 free": penalty(LTwoThirds, GROUPS, boxed=False),
    "budget vertices": on_sets(VERTICES),
    "budget simplex": on_sets(SIMPLEX),
    "budget forced": on_sets(VERTICES, stay=False, lattice=(0.0,) * 6),
    "sets l0": over_sets(L0),
    "sets l1/2": over_sets(LHalf),
    "sets l2/3": over_sets(LTwoThirds),
    "sets l1": over_sets(L1),
    "sets lmo": lambda v, rows: sets(VERTICES).take(rows).to(dtype=v.dtype).lmo(v, COUNT[rows]),
    "box": lambda v, rows: Box(LOWER[rows], UPPER[rows]).project(v),
    "box lmo": lambda v, rows: Box(LOWER[rows], UPPER[rows]).lmo(v),
    "simplex": lambda v, rows: Simplex(RADIUS[rows]).project(v),
    "simplex lmo": lambda v, rows: Simplex(RADIUS[rows]).lmo(v),
}
for p in (1, 1.3, 2, 4, float("inf")):
    CASES[f"l{p} ball"] = ball(p, "project", False)
    CASES[f"l{p} ball lmo"] = ball(p, "lmo", False)
    CASES[f"l{p} ball box lmo"] = ball(p, "lmo", True)
    if p in (1, 2, float("inf")):
        CASES[f"l{p} ball box"] = ball(p, "project", True)

# Powers differ in the last bit between vector and scalar units.
ROUNDED = {c for c in CASES if c.startswith(("l1.3 ", "l2 ball", "l4 "))} - {"l2 ball"}
ALL = torch.arange(N)


def draw(dtype=torch.float64, seed=1):
    return torch.tensor(np.random.default_rng(seed).normal(0, 1.5, (N, D)), dtype=dtype)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_equals_rows_bit_for_bit(case, dtype):
    v = draw(dtype)
    batch = CASES[case](v, ALL)
    rows = torch.cat([CASES[case](v[i : i + 1], ALL[i : i + 1]) for i in range(N)])
    assert batch.dtype == dtype
    assert batch.shape == v.shape
    if case in ROUNDED:
        torch.testing.assert_close(
            batch, rows, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14
        )
    else:
        assert torch.equal(batch, rows)


@pytest.mark.parametrize("case", CASES)
def test_arguments_are_never_changed(case):
    shared = (LOWER, UPPER, STEP, WEIGHT, RADIUS, COUNT, ORIGIN, GROUPS)
    before = [x.clone() for x in shared]
    v = draw()
    copy = v.clone()
    result = CASES[case](v, ALL)
    result.add_(1.0)  # and the result is not a view of the input
    assert torch.equal(v, copy)
    assert all(torch.equal(x, y) for x, y in zip(shared, before, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_single_precision_agrees_with_double(case):
    # Jumps are far from this draw; both precisions must take the same branch.
    single, double = CASES[case](draw(torch.float32), ALL), CASES[case](draw(), ALL)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.double(), double, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_row_of_nan_stays_visible_and_alone(case):
    v = draw()
    clean = CASES[case](v, ALL)
    v[2] = torch.nan
    result = CASES[case](v, ALL)
    others = ALL != 2
    assert torch.equal(result[others], clean[others])
    assert torch.isnan(result[2]).any()


@pytest.mark.parametrize("case", CASES)
def test_empty_batch(case):
    none = ALL[:0]
    assert CASES[case](draw()[:0], none).shape == (0, D)


@pytest.mark.parametrize("case", [c for c in CASES if "lmo" in c])
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6])
def test_linear_oracles_do_not_see_the_scale_of_a_gradient(case, scale):
    c = draw()
    np.testing.assert_allclose(CASES[case](c * scale, ALL), CASES[case](c, ALL), atol=1e-10)
    small = (c * scale).float()
    np.testing.assert_allclose(CASES[case](small, ALL), CASES[case](c.float(), ALL), atol=1e-5)


CONVEX = ["box", "simplex", "l1", "group l1"] + [
    f"l{p} ball{box}" for p in (1, 2, float("inf")) for box in ("", " box")
]


@pytest.mark.parametrize("case", [*CONVEX, "l1.3 ball", "l4 ball", "group l1 free"])
def test_convex_operators_are_firmly_nonexpansive(case):
    for seed in range(5):
        v, w = draw(seed=seed), draw(seed=seed + 100)
        a, b = CASES[case](v, ALL), CASES[case](w, ALL)
        moved = ((a - b) ** 2).sum(1)
        assert (moved <= ((a - b) * (v - w)).sum(1) + 1e-9).all()


PROJECTIONS = [c for c in CASES if c.startswith(("box", "simplex", "budget"))]
PROJECTIONS += [c for c in CASES if "ball" in c]
PROJECTIONS = [c for c in PROJECTIONS if "lmo" not in c]


@pytest.mark.parametrize("case", PROJECTIONS)
def test_projections_are_idempotent(case):
    once = CASES[case](draw(), ALL)
    np.testing.assert_allclose(CASES[case](once, ALL), once, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in PROJECTIONS if "ball" in c or c == "box"])
def test_interior_points_come_back_bit_for_bit(case):
    inside = torch.minimum(torch.maximum(draw() * 1e-2, LOWER), UPPER)
    assert torch.equal(CASES[case](inside, ALL), inside)
