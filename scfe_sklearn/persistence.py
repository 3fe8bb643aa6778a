"""Explainers as files that cannot run code: skops, data frames as JSON, and a checksum."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from scfe_sklearn._utils import (
    MAX_SIZE,
    TooLargeError,
    check_archive,
    is_damage,
    pack,
    read_bounded,
    unpack,
    write_file,
)
from scfe_sklearn.explanation.containers import is_polars

__all__ = ["load", "save"]

VERSION = 6
"""Raised whenever a saved type gets another attribute or module: other versions are refused."""

MANIFEST = "scfe_sklearn.json"
"""The member of the file that identifies it and holds the checksum of the others."""

TRUSTED = (
    "scfe_sklearn.explanation.marginals.Marginals",
    "scfe_sklearn.data.blocks.Block",
    "scfe_sklearn.data.blocks.BlockExpander",
    "scfe_sklearn.data.column_space.Column",
    "scfe_sklearn.densities.class_conditional.ClassConditionalDensity",
    "scfe_sklearn.densities.kernel.GaussianKDE",
    "scfe_sklearn.densities.mixture.GaussianMixture",
    "scfe_sklearn.densities.neighbours.NearestNeighbours",
    "scfe_sklearn.densities.outlier.LocalOutlierDensity",
    "scfe_sklearn.explainer.CounterfactualExplainer",
    "scfe_sklearn.data.column_space.ColumnMap",
    "scfe_sklearn.data.features.Feature",
    "scfe_sklearn.data.domains.Lattice",
    "scfe_sklearn.rules.linear.Linear",
    "scfe_sklearn.rules.ranges.Relative",
    "scfe_sklearn.rules.rules.Rules",
    "scfe_sklearn.data.space.FeatureSpace",
    "scfe_sklearn.models.wrapping.LabelledModel",
    "scfe_sklearn.persistence.Packed",
    "scfe_sklearn.pipeline.RecoursePipeline",
    "scfe_sklearn.recourse.preparation.training.Surrogate",
    "scfe_sklearn.transformer.CounterfactualTransformer",
    "scfe_sklearn.data.input_adapter.InputAdapter",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
"""Types beside those that skops trusts: they hold values, and do nothing when they are read."""


@dataclass(frozen=True)
class Packed:
    """A data frame, an index or the type of a column as JSON: skops knows none of them.

    Parameters
    ----------
    text : str
        What `pack` made of it.
    of_type : bool
        Whether the type of the only column is meant.
    """

    text: str
    of_type: bool = False

    @classmethod
    def of(cls, value: Any, of_type: bool = False) -> Packed:
        """Pack a data frame or index."""
        return cls(json.dumps(pack(value), allow_nan=False), of_type)

    def unpacked(self) -> Any:
        """Return what was packed."""
        value = unpack(json.loads(self.text))
        return value.dtypes.iloc[0] if self.of_type else value


def save(explainer: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted explainer to a file that `load` reads without running code.

    Parameters
    ----------
    explainer : CounterfactualExplainer, CounterfactualTransformer or RecoursePipeline
        Fitted. Its ``memory`` is not kept.
    path : str or path-like
        The file, a zip archive as skops writes it.

    Raises
    ------
    ImportError
        If skops is not installed.
    TypeError
        If something in it cannot be written: torch modules, functions without a name.

    See Also
    --------
    load : Reads it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> explainer = CounterfactualExplainer(model, max_changes=2).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(explainer, Path(folder) / "wine.skops")
    ...     again = load(Path(folder) / "wine.skops")
    >>> again.explain(X[:2], 1).counterfactuals.equals(explainer.explain(X[:2], 1).counterfactuals)
    True
    """
    skops = _skops()
    try:
        content = skops.dumps(_changed(explainer, _to_file, {}), compression=zipfile.ZIP_DEFLATED)
    except Exception as error:
        # What skops raises for things that it cannot write differs from type to type.
        if isinstance(error, TypeError) and "cannot be saved" in str(error):
            raise
        raise TypeError(f"The explainer cannot be saved: {error}") from error
    manifest = {
        "format": "scfe_sklearn",
        "version": VERSION,
        "sha256": check_archive(content, sys.maxsize),
    }
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps(manifest))
    write_file(path, buffer.getvalue())


def load(
    path: str | os.PathLike[str], *, trusted: Sequence[str] = (), max_size: int = MAX_SIZE
) -> Any:
    """Read an explainer that `save` wrote, without running code that the file names.

    Parameters
    ----------
    path : str or path-like
        The file.
    trusted : sequence of str, default=()
        Full names of further types that may be built: those of a model that is not
        scikit-learn's own, functions, or ``"sklearn.tree._tree.Tree"``, whose nodes are read
        without checks.
    max_size : int, default=2**30
        Most bytes that the file may unpack to, 1 GiB by default. Sizes are checked before
        anything is unpacked.

    Returns
    -------
    CounterfactualExplainer, CounterfactualTransformer or RecoursePipeline
        As it was saved.

    Raises
    ------
    ImportError
        If skops is not installed.
    ValueError
        If the file is none that `save` writes, was changed or damaged, is larger than
        ``max_size`` allows, or is of another version of what is saved.
    TypeError
        If it holds types that are not trusted; the message names them.

    Notes
    -----
    The checksum finds accidents and careless changes; whoever knows it can write a new one.
    What keeps a stranger's file from doing harm is that only named types are built.
    """
    skops = _skops()
    if isinstance(trusted, str):
        raise ValueError(
            "The 'trusted' parameter of load must be a list of names. "
            f"Got the text {trusted!r} instead."
        )
    if isinstance(max_size, bool) or not isinstance(max_size, int) or max_size < 1:
        raise ValueError(
            "The 'max_size' parameter of load must be an int in [1, inf). "
            f"Got {max_size!r} instead."
        )
    known = {*TRUSTED, *trusted}
    try:
        content = read_bounded(path, max_size)
    except TooLargeError as error:
        raise _too_large(path, max_size) from error
    _check_manifest(content, path, max_size)
    with _refusing_damage(path, max_size):
        named = skops.get_untrusted_types(data=content)
    strange = [name for name in named if name not in known]
    if strange:
        raise TypeError(
            f"The file {os.fspath(path)!r} holds types that are not trusted: {strange}. If you "
            f"know where it comes from, name them: load(path, trusted={strange})."
        )
    with _refusing_damage(path, max_size):
        return _changed(skops.loads(content, trusted=sorted(known)), _from_file, {})


@contextlib.contextmanager
def _refusing_damage(path: str | os.PathLike[str], max_size: int) -> Iterator[None]:
    """Raise a ValueError for whatever readers raise for damaged or too large files."""
    try:
        yield
    except ImportError:
        raise  # a trusted type of a package that is not installed
    except TooLargeError as error:
        raise _too_large(path, max_size) from error
    except BaseException as error:
        if not is_damage(error):
            raise
        raise ValueError(
            f"The file {os.fspath(path)!r} is no saved explainer, or is damaged."
        ) from error


def _too_large(path: str | os.PathLike[str], max_size: int) -> ValueError:
    return ValueError(
        f"The file {os.fspath(path)!r} unpacks to more than {max_size:,} bytes. If you know where "
        "it comes from, allow more: load(path, max_size=...)."
    )


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            "save and load need skops: python -m pip install 'scfe-sklearn[skops]'"
        ) from error
    return skops.io


def _check_manifest(content: bytes, path: str | os.PathLike[str], max_size: int) -> None:
    """Raise for what `save` did not write, what was changed since, or what is too large."""
    shown = repr(os.fspath(path))
    with _refusing_damage(path, max_size):
        found = check_archive(content, max_size, MANIFEST)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            twice = len(set(archive.namelist())) < len(archive.namelist())
            manifest = json.loads(archive.read(MANIFEST))
        version, expected = manifest["version"], manifest["sha256"]
    if version != VERSION:
        earlier = isinstance(version, int) and version < VERSION
        advice = "fit and save it again" if earlier else "it needs a later version of this package"
        raise ValueError(
            f"The file {shown} must have version {VERSION}. Got {version!r} instead: {advice}."
        )
    if twice or found != expected:
        raise ValueError(f"The file {shown} was changed after it was saved.")


def _changed(value: Any, change: Callable[[Any], Any], done: dict[int, Any]) -> Any:
    """Copy what holds something that ``change`` turns into something else; nothing is altered.

    Parameters
    ----------
    value : object
        An explainer or a part of it.
    change : callable
        Gives another object for the value, or the same.
    done : dict
        What became of the objects seen so far, by identity: shared parts stay shared.
    """
    if isinstance(value, (str, bytes, int, float, np.ndarray, type(None))):
        return value
    if id(value) in done:
        return done[id(value)][1]
    new = change(value)
    if new is value:
        new = _with_changed_parts(value, change, done)
    done[id(value)] = (value, new)  # keeps the value, so that its identity stays its own
    return new


def _with_changed_parts(value: Any, change: Callable[[Any], Any], done: dict[int, Any]) -> Any:
    def each(part: Any) -> Any:
        return _changed(part, change, done)

    if type(value) in (list, tuple, set):
        parts = [each(part) for part in value]
        same = all(a is b for a, b in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    if type(value) is dict:
        items = {key: each(part) for key, part in value.items()}
        return value if all(items[key] is value[key] for key in value) else items
    ours = type(value).__module__.partition(".")[0] in ("scfe_sklearn", "sklearn")
    if not ours or isinstance(value, type) or not hasattr(value, "__dict__"):
        return value
    before = value.__getstate__()  # without what is built again when it is needed
    if not isinstance(before, dict):
        return value
    after = {name: None if name == "memory" else each(part) for name, part in before.items()}
    if all(after[name] is before[name] for name in before):
        return value
    new = copy.copy(value)
    vars(new).update(after)
    return new


def _to_file(value: Any) -> Any:
    """Turn data frames into `Packed`, and refuse what no file can hold."""
    if isinstance(value, (nn.Module, Tensor)):
        raise TypeError(
            f"A torch {type(value).__name__} cannot be saved: keep its state_dict, and build the "
            "explainer around the module again."
        )
    if isinstance(value, types.FunctionType) and "<" in value.__qualname__:
        raise TypeError(
            f"The function {value.__qualname__!r} cannot be saved: define it by def in a module "
            "that can be imported where the explainer is loaded."
        )
    import pandas as pd

    if isinstance(value, (pd.DataFrame, pd.Index)) or is_polars(value):
        return Packed.of(value)
    if isinstance(value, pd.api.extensions.ExtensionDtype):
        return Packed.of(pd.DataFrame({0: pd.Series([], dtype=value)}), of_type=True)
    return value


def _from_file(value: Any) -> Any:
    """Turn `Packed` back into what it was."""
    return value.unpacked() if isinstance(value, Packed) else value
