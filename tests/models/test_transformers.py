"""Corners of single transformers: ties, missing levels, rare levels, exact folding."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)

from scfe_sklearn.data import Column
from scfe_sklearn.models import UnsupportedModelError, as_torch, verify
from scfe_sklearn.models.compiled.dispatch import transform
from scfe_sklearn.models.compiled.frame import Frame


def torch_transform(transformer, rows, columns=None):
    """The compiled transformer's output on rows of column space."""
    columns = columns or [Column(k, None) for k in range(rows.shape[1])]
    frame = Frame.from_columns(columns, torch.float64)
    return transform(transformer, frame).compile().value({frame.source: torch.as_tensor(rows)})


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_quantiles_with_ties_ends_and_beyond(output):
    X = np.column_stack(
        [
            [0, 0, 0, 1, 2, 2, 2, 2, 3, 9.0],
            [1, 2, 3, 4, 5, 6, 7, 8, 8, 8.0],
            np.full(10, 4.0),
        ]
    )
    transformer = QuantileTransformer(n_quantiles=10, output_distribution=output).fit(X)
    rng = np.random.default_rng(0)
    beyond = rng.uniform(-3, 12, size=(200, 3))
    rows = np.vstack([X, beyond, np.round(beyond)])
    expected = transformer.transform(rows)
    np.testing.assert_allclose(torch_transform(transformer, rows).numpy(), expected, atol=1e-10)


def test_a_model_that_jumps_says_so():
    X = np.array([[0.0], [1.0], [1.0], [2.0]])
    for transformer in (QuantileTransformer(n_quantiles=4), PowerTransformer()):
        model = make_pipeline(transformer, LogisticRegression()).fit(X, [0, 0, 1, 1])
        jumps = isinstance(transformer, QuantileTransformer)
        assert as_torch(model, [Column(0, None)]).jumps == jumps


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=6),
    st.sampled_from([0.0, 1.0, 2.0, 0.5, -1.3, 3.1]),
)
def test_yeo_johnson_for_any_lambda(values, lambda_):
    rows = np.array(values)[:, None]
    transformer = PowerTransformer(standardize=False).fit(np.arange(5.0)[:, None])
    transformer.lambdas_ = np.array([lambda_])
    expected = transformer.transform(rows)
    np.testing.assert_allclose(
        torch_transform(transformer, rows).numpy(), expected, rtol=1e-9, atol=1e-9
    )


def test_yeo_johnson_slope_at_zero_is_one():
    transformer = PowerTransformer(standardize=False).fit(np.arange(5.0)[:, None])
    rows = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch_transform(transformer, rows).sum(), rows)
    assert slope.item() == pytest.approx(1.0)


@pytest.mark.parametrize("degree", [0, 1, (2, 3), 4])
def test_polynomials_of_any_degree(degree):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    transformer = PolynomialFeatures(degree, include_bias=degree == 0).fit(rows)
    np.testing.assert_allclose(
        torch_transform(transformer, rows).numpy(), transformer.transform(rows), atol=1e-12
    )


def test_scaler_keeps_the_digits_of_large_numbers_in_float32():
    rng = np.random.default_rng(0)
    X = (2000 + rng.integers(0, 30, size=(100, 1))).astype(float)  # years: exact in float32
    scaler = StandardScaler().fit(X)
    frame = Frame.from_columns([Column(0, None)], torch.float32)
    node = transform(scaler, frame).compile()
    got = node.value({frame.source: torch.tensor(X, dtype=torch.float32)})
    np.testing.assert_allclose(got.numpy(), scaler.transform(X), atol=1e-6)


def test_steps_fold_into_one_matrix(world):
    data = world("mixed")
    pipe = data.fit(
        make_pipeline(
            make_column_transformer(
                (StandardScaler(), ["income", "age"]), (OneHotEncoder(), ["job", "grade"])
            ),
            StandardScaler(),
            LogisticRegression(),
        )
    )
    node = as_torch(pipe, data.columns).head.node
    assert len(node.pieces) == 1
    read = sum(c.width for c in data.columns if c.name in ("income", "age", "job", "grade"))
    assert node.pieces[0].weight.shape == (read, 1)


@pytest.mark.parametrize(
    "words",
    [
        OneHotEncoder(),
        OneHotEncoder(handle_unknown="ignore", max_categories=3),
        OrdinalEncoder(encoded_missing_value=-1),
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
        make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder()),
        make_pipeline(SimpleImputer(strategy="constant", fill_value="nurse"), OrdinalEncoder()),
        make_pipeline(OrdinalEncoder(), SimpleImputer(add_indicator=True)),
    ],
)
def test_missing_is_a_level_of_its_own(world, words):
    data = world("missing")
    pipe = data.fit(
        make_pipeline(
            make_column_transformer((StandardScaler(), ["income", "age"]), (words, ["job"])),
            LogisticRegression(),
        )
    )
    verify(as_torch(pipe, data.columns), pipe, data.X, data.u, tol=1e-10)


def test_missing_numeric_levels_take_the_fill_value(to_columns):
    X = pd.DataFrame({"a": [1.0, 2.0, np.nan, 2.0, 5.0, np.nan], "b": np.arange(6.0)})
    y = [0, 0, 1, 0, 1, 1]
    columns = [Column("a", np.array([1.0, 2.0, 5.0, np.nan])), Column("b", None)]
    pipe = make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()).fit(X, y)
    verify(as_torch(pipe, columns), pipe, X, to_columns(X, columns), tol=1e-10)


def test_numeric_strings_are_read_like_scikit_learn_reads_them():
    X = np.array([["1", "x"], ["2", "y"], ["3", "x"], ["4", "y"]], dtype=object)
    pipe = make_pipeline(
        make_column_transformer((StandardScaler(), [0]), (OneHotEncoder(), [1])),
        LogisticRegression(),
    ).fit(X, [0, 0, 1, 1])
    columns = [Column(0, np.array(["1", "2", "3", "4"])), Column(1, np.array(["x", "y"]))]
    u = np.hstack([np.eye(4), np.array([[1, 0], [0, 1], [1, 0], [0, 1]])])
    verify(as_torch(pipe, columns), pipe, X, u, tol=1e-10)


def test_text_where_numbers_are_needed_is_named(world):
    data = world("mixed")
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["job"]), ("passthrough", ["age"])),
        LogisticRegression(),
    )
    pipe = data.fit(pipe)
    columns = list(data.columns)
    columns[1] = Column("age", np.array(["young", "old"], dtype=object))
    with pytest.raises(UnsupportedModelError, match="needs numbers, but column 'age'"):
        as_torch(pipe, columns)


def test_encoder_of_a_number_asks_for_a_categorical(world):
    data = world("mixed")
    pipe = data.fit(
        make_pipeline(make_column_transformer((OneHotEncoder(), ["rooms"])), LogisticRegression())
    )
    columns = [*data.columns[:5], Column("rooms", None)]
    with pytest.raises(UnsupportedModelError, match="declare it as categorical"):
        as_torch(pipe, columns)


def test_columns_are_found_by_name_in_any_order(world, to_columns):
    data = world("mixed")
    pipe = data.fit(
        make_pipeline(
            make_column_transformer((StandardScaler(), ["income"]), (OneHotEncoder(), ["job"])),
            LogisticRegression(),
        )
    )
    columns = [data.columns[k] for k in (5, 2, 1, 0, 4, 3)] + [Column("extra", None)]
    X = data.X.assign(extra=1.0)[[column.name for column in columns]]
    verify(as_torch(pipe, columns), pipe, X, to_columns(X, columns), tol=1e-10)


def test_weights_between_levels_are_linear_in_front_of_a_linear_model(world):
    """The relaxation is the chord between levels: half clerk, half miner is their mean."""
    data = world("mixed")
    pipe = data.fit(
        make_pipeline(
            make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["job"])),
            LogisticRegression(),
        )
    )
    model = as_torch(pipe, data.columns)
    ends = data.u[:1].repeat(2, 1)
    ends[:, 2:6] = torch.eye(4, dtype=torch.float64)[:2]
    middle = ends.mean(0, keepdim=True)
    torch.testing.assert_close(model.scores(middle), model.scores(ends).mean(0, keepdim=True))


def test_nan_stays_in_its_row(world):
    data = world("binary")
    pipe = data.fit(
        make_pipeline(PowerTransformer(), QuantileTransformer(n_quantiles=9), LogisticRegression())
    )
    u = data.u[:4].clone()
    u[1, 2] = torch.nan
    scores = as_torch(pipe, data.columns).scores(u)
    assert torch.isnan(scores[1]).all()
    assert torch.isfinite(scores[[0, 2, 3]]).all()


@pytest.mark.parametrize(
    "numbers",
    [
        SimpleImputer(),
        SimpleImputer(strategy="median", add_indicator=True),
        make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.5)),
        make_pipeline(SimpleImputer(), StandardScaler(), PolynomialFeatures(2)),
    ],
)
def test_missing_numbers_are_filled(numbers, to_columns):
    """Also where another column is read without being imputed, and one is not read at all."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 4)), columns=list("abcd"))
    X["job"] = rng.choice(["clerk", "cook"], 60)
    y = (X["a"] + X["b"] + X["c"] + (X["job"] == "cook") > 0).astype(int)
    X = X.mask(rng.random(X.shape) < [0.3, 0.3, 0, 0.3, 0])
    columns = [Column(name, None) for name in "abcd"] + [Column("job", np.array(["clerk", "cook"]))]
    encode = make_column_transformer(
        (numbers, ["a", "b"]), (OneHotEncoder(), ["job"]), ("passthrough", ["c"])
    )
    pipe = make_pipeline(encode, LogisticRegression()).fit(X, y)
    model, u = as_torch(pipe, columns), to_columns(X, columns)
    assert bool(u.isnan().any())
    verify(model, pipe, X, u, tol=1e-10)
    leaf = u.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.scores(leaf)[:, 1].sum(), leaf)
    assert bool(gradient.isfinite().all()) and bool((gradient[u.isnan()] == 0).all())
