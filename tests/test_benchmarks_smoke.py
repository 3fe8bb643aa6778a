"""The benchmarks run, on bundled data; their own mathematics has oracles here."""

import importlib
import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.datasets import make_loan_applications

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = (
    "published_tables",
    "near_optimum",
    "speed",
    "mixed_quality",
    "letters",
    "image_group_sparse",
    "image_oracle",
    "image_frank_wolfe",
    "image_sigma_zero",
    "image_attacks",
    "image_share",
    "image_interpretability",
    "image_training",
    "image_tables",
    "learning",
    "shortcut_finder",
    "stability",
    "attack_angle",
    "portfolio",
    "growth",
)


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script, capsys):
    with pytest.raises(SystemExit) as stop:
        module(script).main(["--help"])
    assert stop.value.code == 0
    assert "--check" in capsys.readouterr().out


def test_cases_over_classes_are_those_of_the_paper():
    success = np.array([[True, True], [True, False], [False, False]])
    pixels = np.array([[2.0, 4.0], [3.0, np.nan], [np.nan, np.nan]])
    found = module("image_tables").cases({"pixels": pixels}, success)
    assert found["average"] == pytest.approx((1 / 2, 3))
    assert found["best"] == pytest.approx((2 / 3, 2.5))
    assert found["worst"] == pytest.approx((1 / 3, 4))


def test_published_table(capsys):
    assert module("published_tables").main(["--sets", "wine", "--densities", "knn"]) == 0
    out = capsys.readouterr().out
    assert "met     wine knn: every row valid with at most 2 changes" in out
    lines = [line.split() for line in out.splitlines()]
    network = next(line for line in lines if line[:3] == ["wine", "network", "knn"])
    assert network[-6:] == ["100", "4.04", "(1.59)", "2.00", "1.01", "(0.07)"]
    assert ["wine", "network", "CEM", "92"] in [line[:4] for line in lines]
    assert any(line[:3] == ["wine", "logistic", "knn"] for line in lines)


def test_published_scores_have_both_numbers_of_neighbours():
    table = module("datasets").published_table("wine")
    scores = module("scoring").table_scores(table, table.targets, table.queries)
    for name, count in (("lof", 20), ("lof_published", 30)):
        row = int(np.flatnonzero(table.targets == 1)[0])
        factor = LocalOutlierFactor(count, novelty=True).fit(table.X[table.y == 1])
        expected = -factor.score_samples(table.queries[[row]])[0]
        assert scores.loc[row, name] == pytest.approx(expected)


def test_letters(capsys):
    arguments = ["--sets", "incomes,cancer", "--models", "logistic", "--rows", "12", "--check"]
    assert module("letters").main(arguments) == 0
    out = capsys.readouterr().out
    assert "met     cancer, logistic: who follows gets the target" in out


def test_near_optimum(capsys):
    arguments = ["--sets", "wine", "--rows", "2", "--taus", "5"]
    assert module("near_optimum").main(arguments) == 0
    assert "within 1 %" in capsys.readouterr().out


def test_near_optimum_without_a_budget(monkeypatch, capsys):
    monkeypatch.delenv("SCFE_DATA", raising=False)
    arguments = ["--free", "--sets", "breast,german", "--models", "logistic", "--rows", "3"]
    arguments += ["--settings", "budget3", "--rounds", "3"]
    assert module("near_optimum").main(arguments) == 0
    out = capsys.readouterr().out
    assert "german is left out: " in out
    assert "breast logistic budget3 default: mean gap" in out


def test_speed(capsys):
    arguments = ["--sets", "wine", "--weight-steps", "2", "--iterations", "30", "--repeats", "1"]
    assert module("speed").main(arguments) == 0
    assert "textbook" in capsys.readouterr().out


def test_exact_answers_of_small_trees():
    count, agree, _ = module("exact_trees").agreement(5)
    assert count == agree == 5


@pytest.mark.parametrize("met", [True, False])
@pytest.mark.parametrize("check", [True, False])
def test_only_check_makes_a_missed_bar_an_error(met, check, capsys):
    bars = module("reporting").Bars()
    bars.add("first", True)
    bars.add("second", met)
    assert bars.finish(check) == int(check and not met)
    assert ("MISSED" in capsys.readouterr().out) != met


def test_missing_data_are_named():
    with pytest.raises(FileNotFoundError, match="--data DIR or SCFE_DATA"):
        module("datasets").data_file(None, "adult.csv")


def loan_case(n, ordered=True):
    X, y = make_loan_applications(n, random_state=0)
    if not ordered:
        X = X.astype(dict.fromkeys(X.select_dtypes("category"), str))
    made = module("datasets").Loans(
        "made", X, (y == "approved").to_numpy(dtype=int), 1, ("sex",), ("age",)
    )
    return module("models").loan_case(made, "logistic")


def test_mixed_quality_without_its_rival(monkeypatch):
    quality, bars = module("mixed_quality"), module("reporting").Bars()
    monkeypatch.setattr(quality, "nice_available", lambda: False)
    (line,) = quality.compare(loan_case(600), 8, [1.0], bars)
    assert len(line) == 13
    assert bars.finish(True) == 0


def test_scores_by_hand():
    case = loan_case(300)
    queries = case.X[:3]
    answers = queries.astype(object)
    number, word = case.numeric[0], case.categorical[0]
    spread = case.X[number].std(ddof=0)
    answers.loc[queries.index[0], number] = queries[number].iloc[0] + 12
    other = next(v for v in case.X[word].unique() if v != queries[word].iloc[1])
    answers.loc[queries.index[1], word] = other
    answers.loc[queries.index[2]] = np.nan
    scores = module("scoring").LoanScores(case)(queries, answers)
    assert scores.found.tolist() == [True, True, False]
    assert scores.changes[:2].tolist() == [1, 1]
    np.testing.assert_allclose(scores.distance[:2], [12 / spread, 1])
    assert scores.loc[2, ["changes", "distance", "lof"]].isna().all()
    assert not scores.usable[2]


def test_broken_rules_are_seen():
    case = loan_case(300)
    queries = case.X[:3]
    answers = queries.copy()
    answers.loc[queries.index[0], "age"] -= 1
    answers.loc[queries.index[1], "age"] += 1
    sex = queries["sex"].iloc[2]
    answers.loc[queries.index[2], "sex"] = {"male": "female", "female": "male"}[sex]
    scores = module("scoring").LoanScores(case)(queries, answers)
    assert scores.broken.tolist() == [True, False, True]


def test_who_is_due():
    case = loan_case(300)
    score = module("scoring").LoanScores(case)
    given = case.X[case.model.predict(case.X) == 1]
    oldest = given.loc[given.sex == "male", "age"].max()
    queries = case.X[:2].copy()
    queries["sex"] = "male"
    queries["age"] = [oldest, oldest + 1]
    assert score.reachable(queries).tolist() == [True, False]


def test_budget_projection_is_the_nearest_feasible_point():
    textbook = module("textbook")
    draw = torch.Generator().manual_seed(0)
    factual, v = torch.randn(2, 40, 5, generator=draw, dtype=torch.float64)
    low, high = torch.rand(2, 40, 5, generator=draw, dtype=torch.float64)
    rows = textbook.Rows(factual, torch.ones(40), factual - low, factual + high, 2)
    ours = ((textbook.project(rows, v) - v) ** 2).sum(1)
    clipped = torch.minimum(torch.maximum(v, rows.lower), rows.upper)
    every = []
    for kept in itertools.combinations(range(5), 2):
        point = factual.clone()
        point[:, kept] = clipped[:, kept]
        every.append(((point - v) ** 2).sum(1))
    torch.testing.assert_close(ours, torch.stack(every).amin(0))


def test_exhaustive_search_meets_a_known_optimum():
    # Nearest point with 3 a + 4 b + c >= 10, two of three coordinates: along (3, 4).
    normal = torch.tensor([3.0, 4.0, 1.0], dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)

    def cost(z):
        return torch.where(z @ normal >= 10, (z**2).sum(1), torch.inf)

    point, value = module("exhaustive").best_pair(cost, zero, zero - 3, zero + 3)
    assert value == pytest.approx(4.0, rel=1e-4)
    np.testing.assert_allclose(point, [1.2, 1.6, 0.0], atol=2e-2)


def test_exhaustive_search_says_when_nothing_is_valid():
    zero = torch.zeros(2, dtype=torch.float64)
    _, value = module("exhaustive").best_pair(
        lambda z: torch.full((len(z),), torch.inf), zero, zero - 1, zero + 1, grid=5
    )
    assert value == float("inf")


def test_german_credit(monkeypatch, capsys):
    folder = os.environ.get("SCFE_DATA")
    if folder is None or not (Path(folder) / "german_credit.csv").is_file():
        pytest.skip("needs german_credit.csv in the folder that SCFE_DATA names")
    quality = module("mixed_quality")
    monkeypatch.setattr(quality, "nice_available", lambda: False)
    arguments = ["--sets", "german", "--models", "logistic", "--rows", "5", "--taus", "1"]
    assert quality.main([*arguments, "--data", folder]) == 0
    assert "german logistic" in capsys.readouterr().out


@pytest.mark.parametrize("norm", [1.0, np.inf])
@pytest.mark.parametrize("seed", range(3))
def test_least_lof_is_near_that_of_a_grid_of_all_pairs(seed, norm):
    least_lof = module("least_lof")
    generator = np.random.default_rng(seed)
    X = generator.uniform(-1, 1, size=(80, 5)) * [1, 0.5, 1, 0.2, 1]
    image = generator.uniform(-1, 1, size=5)
    factor = LocalOutlierFactor(6, novelty=True).fit(X)
    references = least_lof.References.of(X, 6)
    lower, upper = torch.full((5,), -1.0), torch.ones(5)
    budget = least_lof.Budget(torch.from_numpy(image).float(), lower, upper, 2, norm)
    found = least_lof.least(references, budget).double().numpy()
    change = np.where(np.abs(found - image) > 1e-6, found - image, 0)
    assert np.count_nonzero(change) <= 2
    assert np.linalg.norm(change) <= norm + 1e-3
    assert np.abs(image + change).max() <= 1 + 1e-6
    grid = []
    for pair in itertools.combinations(range(5), 2):
        points = np.repeat(image[None], 41**2, axis=0)
        points[:, pair] = list(itertools.product(np.linspace(-1, 1, 41), repeat=2))
        grid.append(points[np.linalg.norm(points - image, axis=1) <= norm])
    best = -factor.score_samples(np.concatenate(grid)).max()
    assert -factor.score_samples(found[None])[0] <= 1.02 * best


def test_speed_beside_rivals(monkeypatch, capsys):
    monkeypatch.delenv("SCFE_DATA", raising=False)
    arguments = ["--nice", "--sets", "breast,adult", "--models", "logistic", "--repeats", "1"]
    arguments += ["--cell-rows", "6", "--nice-rows", "0", "--dice-rows", "0"]
    assert module("speed").main(arguments) == 0
    out = capsys.readouterr().out
    assert "adult is left out: " in out
    assert "times the bare model and density calls" in out


def small_objective(**parameters):
    case = loan_case(400, ordered=False)
    explainer = CounterfactualExplainer(FrozenEstimator(case.model), **case.loans.rules)
    explainer.set_params(**parameters).fit(case.X, case.y)
    return module("objective").RawObjective(case, explainer)


def test_raw_objective_by_hand():
    objective = small_objective(tau=3.0, beta=2.0)
    case, names = objective.case, list(objective.case.X.columns)
    rows = case.X[:2]
    codes = objective.encode(rows)
    after = codes.copy()
    number, word = names.index(case.numeric[0]), names.index(case.categorical[-1])
    after[0, number] += 5
    after[1, word] = 1 - min(after[1, word], 1)
    spread = case.X[case.numeric[0]].std(ddof=0)
    expected = [(5 / spread) ** 2 + 2.0, 1.0 + 2.0]
    np.testing.assert_allclose(objective.price(after, codes), expected)
    assert objective.frame(codes).reset_index(drop=True).equals(rows.reset_index(drop=True))
    space = objective.explainer.space_
    np.testing.assert_allclose(
        objective.coordinates(after), space.encode(objective.frame(after)), atol=1e-12
    )


def test_raw_objective_knows_the_rules():
    objective = small_objective(max_changes=2)
    names = list(objective.case.X.columns)
    factual = objective.encode(objective.case.X[:1]).repeat(5, axis=0)
    age, income = names.index("age"), names.index("income")
    factual[:, age] = np.floor((objective.low + objective.high)[age] / 2)
    after = factual.copy()
    after[1, age] += 1
    after[2, age] -= 1
    after[3, names.index("sex")] = 1 - after[3, names.index("sex")]
    after[4, income] = objective.high[income] + 1
    assert objective.admissible(after, factual).tolist() == [False, True, False, False, False]


def test_local_search_finds_the_nearest_row_of_a_plane():
    # Two whole numbers with equal spread, granted from a sum of 13 on: the nearest of (4, 4)
    # are (6, 7) and (7, 6), squared distance 13 in raw units.
    generator = np.random.default_rng(0)
    X = pd.DataFrame(generator.integers(0, 11, size=(400, 2)), columns=["a", "b"])
    model = make_pipeline(LogisticRegression()).fit(X, X.sum(axis=1) >= 13)
    model[-1].coef_[:], model[-1].intercept_[:] = 1.0, -12.5
    granted = model.predict(X).astype(int)
    model[-1].classes_ = np.array([0, 1])
    case = module("models").Case(
        module("datasets").Loans("made", X, granted, 1, (), ()), "plane", model, X, granted, X, 1.0
    )
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=0, beta=0).fit(X, granted)
    objective = module("objective").RawObjective(case, explainer)
    factual = np.array([[4.0, 4.0]])
    local_search = module("local_search")
    search = local_search.LocalSearch(objective, factual, np.array([-np.inf]), seed=0)
    chains = search.chains(factual, np.array([0]))
    search.run(chains, 60)
    assert sorted(chains.codes[0].tolist()) == [6.0, 7.0]
    spread = X.std(ddof=0)
    expected = min(
        (2 / spread["a"]) ** 2 + (3 / spread["b"]) ** 2,
        (3 / spread["a"]) ** 2 + (2 / spread["b"]) ** 2,
    )
    np.testing.assert_allclose(chains.cost, expected)


def test_gap_is_relative_to_what_is_paid():
    gap = module("free_optimum").gap
    found = gap(np.array([-0.9, 5.0, 0.3]), np.array([-1.0, 0.0, 0.2]), np.array([4.0, 10.0, 0.1]))
    np.testing.assert_allclose(found, [0.025, 0.5, 0.5])


def test_roofline_records_outermost_calls_and_makes_them_again():
    roofline = module("roofline")
    calls, seen = roofline.Calls(), []
    inner = calls.recorded(lambda x: seen.append(x.copy()), "density")
    outer = calls.recorded(lambda x: (inner(x), inner(x)), "model")
    rows = np.zeros(2)
    outer(rows)
    assert [len(calls.made[kind]) for kind in roofline.KINDS] == [1, 0]
    rows[:] = 1.0  # a change after the call
    assert set(calls.again()) == set(roofline.KINDS)
    assert len(seen) == 4 and not np.any(seen)
    case = loan_case(300)
    predict = vars(type(case.model))["predict"]
    with roofline.recorded(case.model) as calls:
        case.model.predict(case.X)
    assert len(calls.made["model"]) == 1
    assert vars(type(case.model))["predict"] is predict


def test_roofline_asks_for_the_gradients_of_the_run():
    calls, slopes = module("roofline").Calls(), []
    square = calls.recorded(lambda z: z.square(), "model")
    z = torch.tensor([3.0], requires_grad=True)
    square(z)
    with torch.no_grad():
        square(z)
    real = torch.autograd.grad
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", lambda *args: slopes.append(real(*args)))
        calls.again()
    assert [float(slope) for (slope,) in slopes] == [6.0]


def test_better_in_all_three():
    own = pd.DataFrame({"usable": True, "changes": 2.0, "distance": 1.0, "lof": 1.0}, range(4))
    rival = own.copy()
    rival.loc[0, ["changes", "distance", "lof"]] = 1.0, 0.5, 0.9
    rival.loc[1, ["changes", "distance"]] = 1.0, 0.5
    rival.loc[2, ["usable", "changes", "distance", "lof"]] = False, 1.0, 0.5, 0.9
    assert module("rival_speed").better_in_all(rival, own) == pytest.approx(1 / 3)


def test_credit_histories_are_as_described():
    X, y = module("datasets").credit_histories()
    assert X.shape == (8000, 25)
    assert 0.3 < y.mean() < 0.7
    correlation = X.corr().abs().to_numpy()
    assert correlation[~np.eye(25, dtype=bool)].mean() > 0.1
    percent = X[[name for name in X.columns if name.startswith("percent")]]
    assert percent.min().min() == 0 and percent.max().max() == 100
    assert (X.filter(regex="count|months").skew() > 0.5).all()
    assert (X.round() == X).all().all() and (X.min() >= 0).all()


def test_learning(capsys):
    assert module("learning").main(["--tasks", "digits", "--seeds", "0"]) == 0
    out = capsys.readouterr().out
    assert "met     digits, alone: worst group of p-cfe" in out
    assert "met     digits, appended: p-cfe raises the worst group" in out
    assert ["WaterBirds", "p-cfe", "86.54", "76.050"] in [line.split() for line in out.splitlines()]


def test_learning_on_a_folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    random, rows = np.random.default_rng(0), []
    for k in range(160):
        label, place, split = k % 2, k // 2 % 2, (0, 0, 1, 2)[k // 4 % 4]
        if split == 0 and k % 10:
            place = label
        pixels = random.integers(0, 60, (16, 16, 3), dtype=np.uint8)
        pixels[4:12, 4:12, label] = 200  # the bird
        pixels[:3, :, 2] = 250 * place  # the background
        image.fromarray(pixels).save(tmp_path / f"{k}.png")
        rows.append((k, f"{k}.png", label, split, place))
    names = ["img_id", "img_filename", "y", "split", "place"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "metadata.csv", index=False)
    task = module("shortcut_tasks").folder_task(str(tmp_path), 0, size=16, epochs=8)
    scores = module("learning").run(task, 0, "test", ["pgd-l2", "p-cfe"])
    assert len(scores) == 5 and scores["standard", ""].accuracy > 60
    assert all(0 <= score.worst <= score.accuracy <= 100 for score in scores.values())


def test_planted_tasks_are_what_they_say():
    tasks = module("shortcut_tasks")
    for task in (tasks.digits_task(0), tasks.loans_task(0)):
        share = (task.train.marked == (task.train.y == 1)).mean()
        assert share == pytest.approx(tasks.SHARE, abs=0.005)
        for rows in (task.validation, task.test):
            # As many rows with the shortcut as without, in each class.
            assert len(set(pd.crosstab(rows.y, rows.marked).T.apply(tuple))) == 2
            assert pd.crosstab(rows.y, rows.marked).nunique(axis=1).eq(1).all()
    bright = tasks.digits_task(0).train
    assert (bright.X[bright.marked, 0, :2, :2] == 1).all()


def test_shortcut_finder(capsys):
    assert module("shortcut_finder").main(["--trials", "2", "--first", "1002", "--check"]) == 0
    out = capsys.readouterr().out
    assert "met     planted shortcut first: 100.0 % of 2" in out
    assert "met     no alarm: 100.0 % of 2" in out


def test_stability(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["--sets", "wine", "--densities", "knn", "--rows", "8", "--radii", "0.1,3.2"]
    assert module("stability").main([*arguments, "--save", str(tmp_path / "curves.png")]) == 0
    assert "met     wine, any changes, rows 3.2 apart" in capsys.readouterr().out
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_attack_angle(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["--seeds", "0", "--images", "8", "--tau", "20", "--epochs", "3"]
    assert module("attack_angle").main([*arguments, "--save", str(tmp_path / "a.png")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    angles = [float(line[4]) for line in lines if line[:1] in (["plain"], ["robust"])]
    assert len(angles) == 2 and all(5 < angle < 85 for angle in angles)
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.fixture(scope="module")
def linear_setup():
    table = importlib.import_module("benchmarks.datasets").published_table("wine")
    table = replace(table, queries=table.queries[:25], query_labels=table.query_labels[:25])
    return table, LogisticRegression().fit(table.X, table.y)


def shortest(table, model, metric):
    """Distance of each query to the other side of a linear model, without a box."""
    margin = np.abs(model.decision_function(table.queries))
    return margin / np.sqrt(model.coef_[0] @ metric @ model.coef_[0])


def test_rivals_find_the_nearest_points_of_a_linear_model(linear_setup):
    table, model = linear_setup
    rivals, covariance = module("paper_rivals"), np.cov(table.X.T) + 1e-3 * np.eye(13)
    for name in (*rivals.NETWORK, *rivals.LINEAR):
        answers = rivals.answer(name, table, model)
        found = np.isfinite(answers).all(axis=1)
        asked = model.predict(table.queries) != table.targets
        assert not found[~asked].any() and found[asked].mean() > 0.8, name
        assert (model.predict(answers[found]) == table.targets[found]).all()
        step = (answers - table.queries)[found]
        inside = (answers[found] >= table.X.min(0) - 1e-9).all(axis=1)
        assert inside.all() and (answers[found] <= table.X.max(0) + 1e-9).all()
        least = shortest(table, model, np.eye(13))[found]
        assert (np.linalg.norm(step, axis=1) >= least * (1 - 1e-6)).all()
        if name == "Wachter, Mahalanobis":
            length = np.sqrt(np.einsum("ij,jk,ik->i", step, np.linalg.inv(covariance), step))
            nearest = shortest(table, model, covariance)[found]
            assert (length >= nearest * (1 - 1e-6)).all()
            assert np.median(length / nearest) < 1.3


def test_density_constraints_of_pcfe_hold(linear_setup):
    table, model = linear_setup
    answers = module("paper_rivals").answer("PCFE", table, model)
    factor = {}
    for target in (0, 1):
        rows = np.isfinite(answers).all(axis=1) & (table.targets == target)
        lof = LocalOutlierFactor(20, novelty=True).fit(table.X[table.y == target])
        factor[target] = -lof.score_samples(answers[rows]).mean()
    assert max(factor.values()) < 1.2


def test_published_table_with_rivals(capsys, monkeypatch):
    monkeypatch.setattr(module("paper_rivals"), "STEPS", 40)
    arguments = ["--sets", "wine", "--densities", "knn", "--rivals"]
    assert module("published_tables").main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("Wachter, l1", "Wachter, Mahalanobis", "DCFE", "CEM", "PCFE"):
        (line,) = [line for line in lines if f"  {name}  " in line]
        assert float(line.split(name)[1].split()[0]) > 50


def test_record_of_answers_is_saved_and_compared(tmp_path, capsys):
    record, file = module("record_answers"), str(tmp_path / "before.pickle")
    assert record.main(["--only", "rules: costs", "--save", file]) == 0
    assert record.main(["--only", "rules: costs", "--compare", file]) == 0
    assert capsys.readouterr().out.split() == ["1", "cells,", "0", "differences"]


@pytest.mark.parametrize(
    ("moves", "after", "count"), [(False, 1.0, 0), (False, 1 + 1e-12, 1), (True, 1 + 1e-12, 0)]
)
def test_record_of_answers_is_exact_without_a_gradient(moves, after, count):
    before, now = (
        {"cell": (moves, {"numbers": np.array([value]), "words": np.array(["a"])})}
        for value in (1.0, after)
    )
    assert len(list(module("record_answers").differences(before, now))) == count


def test_a_small_portfolio_is_answered_and_resumes(capsys):
    portfolio = module("portfolio")
    explainer, bars = portfolio.fitted(), portfolio.Bars()
    portfolio.answer_all(explainer, 30, None, bars)
    assert all(met for _, met in bars.lines) and len(bars.lines) == 3
    assert "30 rows of 14 columns" in capsys.readouterr().out


def test_a_point_of_the_growth_curves(monkeypatch):
    growth = module("growth")
    monkeypatch.setattr(growth, "ROWS", 5)
    point = growth.measure("changes", 1)
    assert point.found > 0 and point.seconds > 0 and point.mebibytes > 0
