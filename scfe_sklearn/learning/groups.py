"""Groups of rows by an irrelevant attribute: images from folders, and accuracy within groups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch, check_consistent_length, column_or_1d

METADATA = "metadata.csv"
SPLITS = ("train", "val", "test")
ALIASES = {
    "file": ("img_filename", "filename", "image_id", "path"),
    "label": ("y", "label", "target"),
    "attribute": ("place", "a", "attribute", "spurious", "background"),
    "split": ("split",),
}
"""Column names of metadata files, by field."""

ENDINGS = (".jpg", ".jpeg", ".png")


def load_group_images(
    folder: str | os.PathLike[str], split: str = "train", *, size: tuple[int, int] = (64, 64)
) -> Bunch:
    """Read images whose labels correlate with an attribute, such as birds with backgrounds.

    Two layouts are read. WaterBirds: a file ``metadata.csv`` with the columns ``img_filename``,
    ``y``, ``place`` and ``split`` (0, 1 and 2, or "train", "val" and "test"), or other common names
    of these columns. SpuCo: folders ``train/LABEL/ATTRIBUTE/*.jpg``, and so on. It needs
    Pillow.

    Parameters
    ----------
    folder : str or path
        Folder of the data set.
    split : {"train", "val", "test"}, default="train"
        Part of the data set.
    size : (height, width), default=(64, 64)
        Size of the returned images.

    Returns
    -------
    Bunch
        ``images`` of shape (n, 3, height, width) from 0 to 1, float32; ``target`` and
        ``attribute`` of shape (n,), as positions among ``target_names`` and
        ``attribute_names``; ``files``.

    Raises
    ------
    FileNotFoundError
        If the folder has neither layout, or a listed image is missing.
    ValueError
        If columns are missing, or no image is in the split.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     for label in ("landbird", "waterbird"):
    ...         for place in ("land", "water"):
    ...             path = Path(folder, "train", label, place)
    ...             path.mkdir(parents=True)
    ...             Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(path / "0.png")
    ...     data = load_group_images(folder, size=(4, 4))
    >>> data.images.shape, data.target.tolist(), data.attribute.tolist()
    ((4, 3, 4, 4), [0, 0, 1, 1], [0, 1, 0, 1])
    """
    if split not in SPLITS:
        raise ValueError(
            "The 'split' parameter of load_group_images must be 'train', 'val' or 'test'. "
            f"Got {split!r} instead."
        )
    root = Path(folder)
    listed = (root / METADATA).is_file()
    table = _from_metadata(root, split) if listed else _from_folders(root, split)
    if len(table) == 0:
        raise ValueError(
            f"The folder {os.fspath(folder)!r} must hold images of {split!r}. Got none."
        )
    names = {column: np.unique(table[column].to_numpy()) for column in ("label", "attribute")}
    return Bunch(
        images=np.stack([_read(root / file, size) for file in table["file"]]),
        target=np.searchsorted(names["label"], table["label"]),
        attribute=np.searchsorted(names["attribute"], table["attribute"]),
        target_names=names["label"].tolist(),
        attribute_names=names["attribute"].tolist(),
        files=table["file"].tolist(),
    )


def _from_metadata(root: Path, split: str) -> pd.DataFrame:
    """Return file, label and attribute of the images that a metadata file lists."""
    given = pd.read_csv(root / METADATA)
    found = {
        column: next((name for name in names if name in given.columns), None)
        for column, names in ALIASES.items()
    }
    missing = [column for column, name in found.items() if name is None]
    if missing:
        raise ValueError(
            f"{METADATA} must have a column for the {missing[0]}, one of {ALIASES[missing[0]]}. "
            f"Got {list(given.columns)} instead."
        )
    table = pd.DataFrame({column: given[name] for column, name in found.items()})
    own = table["split"].astype(str).isin([split, str(SPLITS.index(split))])
    return table.loc[own, ["file", "label", "attribute"]].reset_index(drop=True)


def _from_folders(root: Path, split: str) -> pd.DataFrame:
    """Return file, label and attribute of images in folders of these names."""
    if not (root / split).is_dir():
        raise FileNotFoundError(
            f"The folder {os.fspath(root)!r} must hold {METADATA}, or a folder {split!r} with a "
            "folder for each label."
        )
    files = sorted(path for path in (root / split).glob("*/*/*") if path.suffix.lower() in ENDINGS)
    rows = [(str(path.relative_to(root)), *path.parts[-3:-1]) for path in files]
    return pd.DataFrame(rows, columns=["file", "label", "attribute"])


def _read(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return an image (3, height, width) from 0 to 1."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "load_group_images needs Pillow. Install it with: python -m pip install pillow"
        ) from error
    with Image.open(path) as image:
        resized: Any = image.convert("RGB").resize(size[::-1])
        return np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / 255


# -------------------------------------------------------------------------------------- accuracy


def group_report(y_true: Any, y_pred: Any, *, groups: Any) -> pd.DataFrame:
    """Accuracy of every group: a label with a value of an attribute.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels, and what a model predicts.
    groups : array-like of shape (n,)
        Values of an attribute, such as the background. Values that stand for label and attribute
        together give the same groups.

    Returns
    -------
    DataFrame
        One row per group that has members, with ``label``, ``group``, ``n`` and ``accuracy``, the
        worst first.

    Examples
    --------
    >>> group_report([0, 0, 1, 1], [0, 0, 1, 0], groups=["land", "land", "sea", "land"])
       label group  n  accuracy
    0      1  land  1       0.0
    1      0  land  2       1.0
    2      1   sea  1       1.0
    """
    columns = [column_or_1d(values) for values in (y_true, y_pred, groups)]
    check_consistent_length(*columns)
    truth, predicted, attribute = columns
    if len(truth) == 0:
        raise ValueError("y_true must have at least one label. Got none.")
    table = pd.DataFrame({"label": truth, "group": attribute, "hit": truth == predicted})
    hits = table.groupby(["label", "group"], sort=True, dropna=False)["hit"]
    report = hits.agg(n="size", accuracy="mean").reset_index()
    return report.sort_values("accuracy", kind="stable", ignore_index=True)


def worst_group_score(y_true: Any, y_pred: Any, *, groups: Any) -> float:
    r"""Accuracy of the worst group: a label with a value of an attribute.

    .. math:: \min_{g} \; \frac{1}{|g|} \sum_{i \in g} [\hat y_i = y_i]

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels, and what a model predicts.
    groups : array-like of shape (n,)
        Values of an attribute, such as the background. Values that stand for label and attribute
        together give the same groups. Groups without members do not count.

    Returns
    -------
    float

    See Also
    --------
    group_report : The accuracy of each group.

    Examples
    --------
    >>> worst_group_score([0, 0, 1, 1], [0, 0, 1, 0], groups=["land", "land", "sea", "sea"])
    0.5

    In searches and cross-validation, with scikit-learn's routing of metadata:

    >>> import numpy as np
    >>> from sklearn import config_context
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.metrics import make_scorer
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_wine(return_X_y=True)
    >>> with config_context(enable_metadata_routing=True):
    ...     scorer = make_scorer(worst_group_score).set_score_request(groups=True)
    ...     scores = cross_val_score(
    ...         RidgeClassifier(), X, y, scoring=scorer, cv=3, params={"groups": X[:, 0] > 13}
    ...     )
    >>> scores.shape, bool((scores <= 1).all())
    ((3,), True)
    """
    return float(group_report(y_true, y_pred, groups=groups)["accuracy"].iloc[0])
