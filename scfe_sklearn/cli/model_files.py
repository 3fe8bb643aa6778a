"""Models and explainers from skops files; nothing that a file names is run unless trusted."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.archives import MAX_SIZE, TooLargeError, check_archive, read_bounded
from scfe_sklearn.cli.refusal import INPUT, PACKAGE, Refusal, too_large
from scfe_sklearn.persistence import MANIFEST, TRUSTED, load


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
