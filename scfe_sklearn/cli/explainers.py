"""Models and explainers of a command: read from skops files, or fitted on training data."""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn._utils import MAX_SIZE, TooLargeError, check_archive, read_bounded
from scfe_sklearn.cli.messages import INPUT, PACKAGE, Refusal, step, too_large, unknown
from scfe_sklearn.cli.rule_files import Columns, rule_parameters
from scfe_sklearn.cli.tables import match_texts, read_guessed
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.persistence import MANIFEST, TRUSTED, load
from scfe_sklearn.rules import FLAGS


def read_model(name: str, trusted: Sequence[str], max_size: int = MAX_SIZE) -> Any:
    """Read an estimator that ``skops.io.dump`` wrote, or an explainer that `save` wrote.

    Raises
    ------
    Refusal
        If there is no such file, it is none of these, unpacks to more than ``max_size`` bytes or
        holds types that are not trusted.
    """
    try:
        import skops.io
    except ImportError as error:
        raise Refusal(
            "The '--model' option needs skops: python -m pip install 'scfe-sklearn[skops]'",
            PACKAGE,
        ) from error
    try:
        content = read_bounded(name, max_size)
        check_archive(content, max_size)
    except TooLargeError as error:
        raise too_large("--model", name, max_size) from error
    except OSError as error:
        raise Refusal(
            f"The '--model' file {name!r} cannot be read: {error.strerror}.", INPUT
        ) from error
    except Exception as error:  # what readers raise for other files differs from file to file
        raise Refusal(f"The '--model' file {name!r} is no skops file, or is damaged.", INPUT) from (
            error
        )
    try:
        strange = set(skops.io.get_untrusted_types(data=content)) - {*TRUSTED, *trusted}
    except Exception as error:  # what skops raises for other files differs from file to file
        raise Refusal(f"The '--model' file {name!r} is no skops file, or is damaged.", INPUT) from (
            error
        )
    if strange:
        names = " ".join(sorted(strange))
        raise Refusal(
            f"The '--model' file {name!r} holds types that are not trusted. If you know where it "
            f"comes from, add: --trust {names}",
            INPUT,
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            saved = MANIFEST in archive.namelist()
        known = sorted({*TRUSTED, *trusted})
        found = (
            load(name, trusted=trusted, max_size=max_size)
            if saved
            else skops.io.loads(content, trusted=known)
        )
    except Exception as error:
        raise Refusal(f"The '--model' file {name!r} cannot be used: {error}", INPUT) from error
    if not isinstance(found, BaseEstimator) and not hasattr(found, "predict"):
        raise Refusal(
            f"The '--model' file {name!r} must hold an estimator. Got an object of type "
            f"{type(found).__name__} instead.",
            INPUT,
        )
    return found


def fitted_explainer(model: Any) -> Any | None:
    """The fitted explainer in what was read; None for a model."""
    explainer = getattr(model, "explainer_", model)
    return explainer if hasattr(explainer, "explain") and hasattr(explainer, "solver_") else None


def frozen_if_fitted(model: Any) -> Any:
    """A fitted model as it is, never to be trained again; one that is not fitted yet unchanged."""
    try:
        check_is_fitted(model)
    except NotFittedError:
        return model
    return FrozenEstimator(model)


def explainer_of(options: argparse.Namespace) -> Any:
    """The explainer of ``--model``, made of the training data where it is only a model."""
    step(options, f"reading {options.model}")
    model = read_model(options.model, options.trust, options.max_size)
    explainer = fitted_explainer(model)
    training, label = getattr(options, "training", None), getattr(options, "label", None)
    if explainer is not None:
        if training is not None or label is not None:
            given = "--training" if training is not None else "--label"
            raise Refusal(
                f"The {given!r} option is for a model without training data. The "
                "'--model' file holds an explainer, which has learned from them."
            )
        options.default_target = getattr(model, "target", None)  # of a transformer
        return explainer
    if training is None or label is None:
        hint = " Or give '--training' and '--label'." if options.command == "explain" else ""
        raise Refusal(
            f"The '--model' file {options.model!r} holds a model and no explainer, which knows "
            f"the training data: make one by 'fit'.{hint}"
        )
    return fitted_on(model, "--training", training, options, explaining=True)


def fitted_on(
    model: Any, option: str, file: str, options: argparse.Namespace, explaining: bool
) -> Any:
    """Fit an explainer; parameters of the answers are left to the query, if there is one."""
    step(options, f"reading {file}")
    table = read_guessed(option, file, options.max_size)
    if options.label not in table.columns:
        raise unknown("--label", "a column", table.columns, options.label)
    for column in options.drop:
        if column not in table.columns:
            raise unknown("--drop", "a column", table.columns, column)
    others = table.columns.drop([options.label, *options.drop])
    names = list(getattr(model, "feature_names_in_", others))
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise Refusal(
            f"The {option!r} file {file!r} must have the columns of the model. Got none "
            f"called {absent}.",
            INPUT,
        )
    X, y = table[names], table[options.label]
    if not len(table) or y.isna().any():
        what = "have rows" if not len(table) else f"have a {options.label!r} in every row"
        raise Refusal(f"The {option!r} file {file!r} must {what}.", INPUT)
    parameters: dict[str, Any] = {}
    if not explaining:
        levels = {name: X[name].dropna().unique() for name in names if not _is_number(X[name])}
        given = {name: getattr(options, name) for name in FLAGS}
        parameters = rule_parameters(Columns(names, levels), given, options.rules, True)
        for name in ("density", "solver", "tau", "beta", "penalty", "effort", "max_changes"):
            if getattr(options, name) is not None:
                parameters[name] = getattr(options, name)
    estimator = frozen_if_fitted(model)
    step(options, f"fitting on {len(X):,} rows of {X.shape[1]} columns")
    return CounterfactualExplainer(estimator, **parameters).fit(X, _labels(model, y))


def columns_of(explainer: Any) -> Columns:
    """The columns that rules may name, with their levels."""
    space = explainer.space_
    pairs = zip(space.names_, space.levels_, strict=True)
    return Columns(
        space.names_, {name: list(levels) for name, levels in pairs if levels is not None}
    )


def _labels(model: Any, y: Any) -> Any:
    """Labels in the type of the model's classes, such as 1 for True."""
    if not hasattr(model, "classes_"):
        return y.to_numpy()
    classes = list(np.asarray(model.classes_).tolist())
    if set(y) <= set(classes):
        return y.to_numpy()
    meant = match_texts({str(value) for value in y.unique()}, classes)
    return np.array([meant.get(str(value), value) for value in y.tolist()])


def _is_number(column: Any) -> bool:
    import pandas as pd

    kinds = pd.api.types
    return kinds.is_numeric_dtype(column.dtype) and not kinds.is_bool_dtype(column.dtype)
