"""The query of a command: rows, their names and the target."""

from __future__ import annotations

import argparse
from typing import Any

from scfe_sklearn.cli.refusal import INPUT, Refusal, unknown
from scfe_sklearn.cli.table_files import read_texts
from scfe_sklearn.cli.telling import step
from scfe_sklearn.cli.training_types import as_trained
from scfe_sklearn.cli.wanted import wanted


def question(explainer: Any, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The rows, their names in the column of ``--id`` if there is one, and the target."""
    import pandas as pd

    asked = (options.target, options.at_least, options.at_most)
    usual = getattr(options, "default_target", None)
    said = any(part is not None for part in asked)
    target = wanted(explainer, *asked) if said or usual is None else usual
    step(options, f"reading {options.data}")
    frame = read_texts("--data", options.data, options.max_size)
    where = f"'--data' file {options.data!r}"
    if not len(frame):
        raise Refusal(f"The {where} must have rows. Got none.", INPUT)
    labels = None
    if options.id is not None:
        if options.id not in frame.columns:
            raise unknown("--id", "a column", frame.columns, options.id)
        labels = pd.Index(frame[options.id], name=options.id)
        if not hasattr(explainer, "feature_names_in_"):
            frame = frame.drop(columns=options.id)
    rows = as_trained(frame, explainer, where)
    if labels is not None and isinstance(rows, pd.DataFrame):
        rows = rows.set_axis(labels, axis=0)
    return rows, labels, target
