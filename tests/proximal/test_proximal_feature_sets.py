"""Sets, budgets and their prox against the enumeration of all supports and all discrete points."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.proximal import INTERVAL, SIMPLEX, VERTICES, Budget, FeatureSets

GROUPS = np.array([0, 1, 2, 2, 3, 3, 3])
D, d = 7, 4
quick = settings(deadline=None, max_examples=30)


def draw_problem(seed, kind, single=False):
    """One row: an interval, a lattice, a pair of intervals (or a 2-level one), three levels."""
    rng = np.random.default_rng(seed)
    r = 1 / np.sqrt(2)
    z0 = rng.normal(size=D)
    z0[4:] = r * np.eye(3)[rng.integers(3)]
    low, high = z0 - rng.uniform(-0.3, 2, D), z0 + rng.uniform(-0.3, 2, D)
    low, high = np.minimum(low, high), np.maximum(low, high)
    step = np.zeros(D)
    step[1] = rng.choice([0.3, 0.7, 5.0])
    offset = np.zeros(D)
    offset[1] = z0[1] + step[1] * rng.choice([-3, 0.0, 0.4])
    allowed = rng.random(D) < 0.8
    kinds = [INTERVAL, INTERVAL, INTERVAL, kind]
    if single:
        z0[2:4] = r * np.eye(2)[rng.integers(2)]
        kinds[2] = VERTICES
    return {
        "kinds": kinds,
        "lower": low,
        "upper": high,
        "step": step,
        "offset": offset,
        "allowed": allowed,
        "origin": z0,
        "radius": r,
    }


def candidates(problem, g, v, dense=False, corners=False):
    """All changes of group g that can be optimal, straight from the definition of its set."""
    q = {k: np.asarray(x)[g == GROUPS] for k, x in problem.items() if k not in ("kinds", "radius")}
    v, r, size = v[g == GROUPS], problem["radius"], (g == GROUPS).sum()
    if problem["kinds"][g] == VERTICES or (corners and problem["kinds"][g] == SIMPLEX):
        return [r * np.eye(size)[k] - q["origin"] for k in range(size) if q["allowed"][k]]
    if problem["kinds"][g] == SIMPLEX:
        found = []
        levels = np.flatnonzero(q["allowed"])
        for k in range(1, len(levels) + 1):
            for face in map(list, itertools.combinations(levels, k)):
                z = np.zeros(size)
                z[face] = (v + q["origin"])[face]
                z[face] -= (z[face].sum() - r) / k
                if (z >= -1e-12).all():
                    found.append(z - q["origin"])
        return found
    axes = []
    for i in range(size):
        low, high = q["lower"][i] - q["origin"][i], q["upper"][i] - q["origin"][i]
        if not q["allowed"][i]:
            axes.append([0.0])
        elif q["step"][i] > 0:
            points = q["offset"][i] - q["origin"][i] + q["step"][i] * np.arange(-80, 81)
            points = points[(points >= low - 1e-9) & (points <= high + 1e-9)]
            axes.append(np.where(np.abs(points) < 1e-9, 0, points))
        elif corners:
            axes.append([low, high, np.clip(0, low, high)])
        else:
            more = np.linspace(low, high, 3001) if dense else []
            axes.append(np.unique([*np.clip([v[i], 0.0], low, high), *more]))
    return [np.array(point) for point in itertools.product(*axes)]


def cost(w, v, lam, p):
    norm = np.linalg.norm(w)
    return 0.5 * ((w - v) ** 2).sum() + (lam * (1.0 if p == 0 else norm**p) if norm > 0 else 0)


def brute_minimum(problem, v, m, stay, lam=0.0, p=0, dense=False):
    """Smallest objective over all supports of at most m groups and all points of their sets."""
    move, keep = np.full(d, np.inf), np.full(d, np.inf)
    for g in range(d):
        part, points = v[g == GROUPS], candidates(problem, g, v, dense)
        if stay or any(np.abs(x).max() < 1e-12 for x in points):
            keep[g] = 0.5 * (part**2).sum()
        if points:
            move[g] = min(cost(x, part, lam, p) for x in points)
    return min(
        sum(move[g] if g in support else keep[g] for g in range(d))
        for k in range(m + 1)
        for support in itertools.combinations(range(d), k)
    )


def total(w, v, lam=0.0, p=0):
    return sum(cost(w[g == GROUPS], v[g == GROUPS], lam, p) for g in range(d))


def feasible(problem, w, stay):
    ok = []
    for g in range(d):
        part = w[g == GROUPS]
        near = candidates(problem, g, w)
        inside = any(np.abs(part - x).max() < 1e-9 for x in near)
        ok.append(inside or (stay and (part == 0).all()))
    return ok


@pytest.mark.parametrize("kind", [VERTICES, SIMPLEX])
@pytest.mark.parametrize("stay", [True, False])
@quick
@given(seed=st.integers(0, 2**32 - 1), m=st.integers(0, 4))
def test_budget_against_all_supports_and_points(kind, stay, seed, m):
    problem = draw_problem(seed, kind)
    v = np.random.default_rng(seed + 1).normal(0, 1.5, D)
    sets = FeatureSets(GROUPS, **problem, stay=stay)
    w = Budget(m, sets).project(torch.tensor(v)[None])[0].numpy()
    best = brute_minimum(problem, v, m, stay)
    if np.isinf(best):
        assert np.isnan(w).all()
        return
    assert total(w, v) == pytest.approx(best, abs=1e-10)
    assert all(feasible(problem, w, stay))
    assert sets.contains(torch.tensor(w)[None]).all()
    if stay:
        moved = [np.abs(w[g == GROUPS]).max() > 0 for g in range(d)]
        assert sum(moved) <= m


@pytest.mark.parametrize("stay", [True, False])
@quick
@given(seed=st.integers(0, 2**32 - 1), lam=st.floats(0, 2), m=st.integers(0, 4))
def test_group_l0_prox_and_budget_together(stay, seed, lam, m):
    problem = draw_problem(seed, VERTICES)
    v = np.random.default_rng(seed + 1).normal(0, 1.5, D)
    sets = FeatureSets(GROUPS, **problem, stay=stay)
    for budget, limit in ((None, d), (m, m)):
        w = sets.prox(torch.tensor(v)[None], lam / 2, 2.0, 0.0, budget)[0].numpy()
        best = brute_minimum(problem, v, limit, stay, lam)
        if np.isinf(best):
            assert np.isnan(w).all()
        else:
            assert total(w, v, lam) == pytest.approx(best, abs=1e-10)


@pytest.mark.parametrize("p", [0.5, 2 / 3, 1.0])
@pytest.mark.parametrize("stay", [True, False])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), lam=st.floats(0.01, 2), m=st.integers(0, 4))
def test_separable_penalties_over_sets(p, stay, seed, lam, m):
    problem = draw_problem(seed, VERTICES, single=True)
    v = np.random.default_rng(seed + 1).normal(0, 1.5, D)
    sets = FeatureSets(GROUPS, **problem, stay=stay)
    w = sets.prox(torch.tensor(v)[None], lam, 1.0, p, m)[0].numpy()
    best = brute_minimum(problem, v, m, stay, lam, p, dense=True)
    if np.isinf(best):
        assert np.isnan(w).all()
        return
    # The dense grid is never below the true minimum, and above by its resolution at most.
    assert best - 1e-5 <= total(w, v, lam, p) <= best + 1e-10
    assert all(feasible(problem, w, stay))


@pytest.mark.parametrize("kind", [VERTICES, SIMPLEX])
@quick
@given(seed=st.integers(0, 2**32 - 1), m=st.integers(0, 4))
def test_lmo_against_all_supports_and_corners(kind, seed, m):
    problem = draw_problem(seed, kind)
    c = np.random.default_rng(seed + 1).normal(size=D)
    sets = FeatureSets(GROUPS, **problem)
    w = Budget(m, sets).lmo(torch.tensor(c)[None])[0].numpy()
    gains = []
    for g in range(d):
        points = candidates(problem, g, c, corners=True)
        gains.append(max([0.0] + [x @ c[g == GROUPS] for x in points]))
    assert w @ c == pytest.approx(sum(sorted(gains)[d - m :]), abs=1e-10)
    assert sets.contains(torch.tensor(w)[None]).all()


@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_budget_over_all_supports_in_many_dimensions(seed):
    rng = np.random.default_rng(seed)
    n, width, m = 3, 8, rng.integers(0, 9, 3)
    v, low, high = rng.normal(0, 2, (n, width)), -rng.uniform(0, 2, (n, width)), rng.uniform(0, 2)
    sets = FeatureSets(lower=low, upper=np.full((n, width), high))
    w = sets.project(torch.tensor(v), torch.tensor(m)).numpy()
    near = np.clip(v, low, high)
    for i in range(n):
        best = min(
            ((np.where(np.isin(np.arange(width), s), near[i], 0) - v[i]) ** 2).sum()
            for s in itertools.combinations(range(width), m[i])
        )
        assert ((w[i] - v[i]) ** 2).sum() == pytest.approx(best, abs=1e-10)
        assert (w[i] != 0).sum() <= m[i]


@pytest.mark.parametrize("p", [0.0, 0.5, 2 / 3, 1.0])
@pytest.mark.parametrize("stay", [True, False])
def test_lattices_beside_zero_against_all_their_points(p, stay):
    rng = np.random.default_rng(0)
    v, offset, lam = rng.normal(0, 2, 4000), rng.uniform(-1, 1, 4000), rng.uniform(0, 4, 4000)
    step = rng.uniform(0.2, 1.5, 4000)
    sets = FeatureSets(step=step[:, None], offset=offset[:, None], stay=stay)
    w = sets.prox(torch.tensor(v)[:, None], torch.tensor(lam), 1.0, p)[:, 0].numpy()
    points = offset[:, None] + step[:, None] * np.arange(-60, 61)
    if stay:
        points = np.c_[points, np.zeros(4000)]
    assert (np.abs(points - w[:, None]).min(1) < 1e-12).all()

    def costs(u):
        size = np.abs(u)
        return 0.5 * (u - v[:, None]) ** 2 + lam[:, None] * (size > 0 if p == 0 else size**p)

    np.testing.assert_allclose(costs(w[:, None])[:, 0], costs(points).min(1), atol=1e-12)


def test_ties_keep_the_budget_and_the_first():
    w = FeatureSets(upper=[9.0] * 4).project(torch.ones(1, 4, dtype=torch.float64), 2)
    assert w.tolist() == [[1, 1, 0, 0]]


def test_lattice_points_and_staying_are_exact_floats():
    z0 = np.arange(0, 3, 0.1)[:, None]  # 0.1 * k is not a float lattice
    sets = FeatureSets(step=[0.1], lower=[0.0], upper=[2.9], origin=z0)
    assert (sets.project(torch.full((30, 1), 0.04, dtype=torch.float64)) == 0).all()
    assert sets.zero_inside.all()
    top = sets.project(torch.full((30, 1), 9.0, dtype=torch.float64))
    np.testing.assert_allclose(top.numpy() + z0, 2.9, atol=1e-12)
    assert sets.contains(top).all()


def test_empty_sets_stay_or_have_no_answer():
    options = {"lower": [[1.0, 0.0], [0.0, 0.0]], "upper": [[0.5, 1.0], [1.0, 1.0]]}
    v = torch.ones(2, 2, dtype=torch.float64)
    assert FeatureSets(**options).project(v).tolist() == [[0, 1], [1, 1]]
    strict = FeatureSets(**options, stay=False).project(v)
    assert strict[0].isnan().all()
    assert strict[1].tolist() == [1, 1]
    levels = FeatureSets([0, 0], kinds=[VERTICES], allowed=[False, False], origin=[1.0, 0.0])
    assert levels.project(v).tolist() == [[0, 0], [0, 0]]


def test_an_interval_without_zero_is_stay_or_jump_in():
    sets = FeatureSets(lower=[1.0], upper=[2.0])
    v = torch.tensor([[0.4], [0.6], [-1.0], [3.0]], dtype=torch.float64)
    assert sets.project(v)[:, 0].tolist() == [0, 1, 0, 2]
    jump = FeatureSets(lower=[1.0], upper=[2.0], stay=False)
    assert jump.project(v)[:, 0].tolist() == [1, 1, 1, 2]
    assert jump.project(v, 0).isnan().all()


def test_immutable_coordinates_never_move():
    sets = FeatureSets(allowed=[False, True], step=[0.5, 0.0], origin=[[0.3, 0.3]])
    assert sets.project(torch.ones(1, 2, dtype=torch.float64)).tolist() == [[0, 1]]


def test_take_repeats_rows_and_to_changes_precision():
    problem = draw_problem(3, VERTICES)
    rows = {k: np.tile(problem[k], (3, 1)) for k in ("lower", "upper", "origin", "allowed")}
    rows["lower"][1] -= 1
    sets = FeatureSets(GROUPS, **{**problem, **rows})
    v = torch.randn(3, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = sets.project(v, 2)
    pick = torch.tensor([2, 0, 0])
    assert torch.equal(sets.take(pick).project(v[pick], 2), whole[pick])
    mask = torch.tensor([True, False, True])
    assert torch.equal(sets.take(mask).project(v[mask], 2), whole[mask])
    single = sets.to(dtype=torch.float32).project(v.float(), 2)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), whole, atol=1e-5, rtol=0)


def test_wrong_sets_are_refused():
    with pytest.raises(ValueError, match="'kinds' parameter of FeatureSets"):
        FeatureSets([0, 1], kinds=[0, 3])
    with pytest.raises(ValueError, match="'step' parameter of FeatureSets"):
        FeatureSets(step=[-1.0])
    with pytest.raises(ValueError, match="share their last axis"):
        FeatureSets(step=[1.0], lower=[0.0, 1.0])
    with pytest.raises(ValueError, match="'groups' parameter of FeatureSets"):
        FeatureSets([-1, 0])
    with pytest.raises(ValueError, match="bounded intervals"):
        FeatureSets(lower=[0.0]).lmo(torch.ones(1, 1))
    wide = FeatureSets([0, 0], lower=[-1.0, -1.0])
    with pytest.raises(ValueError, match=r"p = 0\.5"):
        wide.prox(torch.ones(1, 2), 1.0, 1.0, 0.5)
    for wrong in (-1, 1.5, True, torch.tensor([1.0]), torch.tensor([-1])):
        with pytest.raises(ValueError, match="'max_groups' parameter of Budget"):
            Budget(wrong).project(torch.ones(1, 2))
