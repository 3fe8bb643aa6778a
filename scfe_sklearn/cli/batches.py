"""Answer a parquet file batch by batch: neither its rows nor its answers are all in memory."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import secrets
from collections import Counter
from functools import partial
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from scfe_sklearn.cli.commands import table, write_output
from scfe_sklearn.cli.messages import INPUT, Refusal, step, too_large
from scfe_sklearn.cli.query import rows_of
from scfe_sklearn.cli.tables import PARQUET, reading
from scfe_sklearn.distributed import PartitionExplainer
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.rules import Rules

ROWS = 2**14
"""Rows of a batch."""


def is_out_of_core(explainer: Any, options: argparse.Namespace) -> bool:
    """Return whether a command reads and writes parquet only, by the types of pandas."""
    import pandas as pd

    names = [options.data, *(options.out or ["-"])]
    plain = isinstance(explainer.sample_, pd.DataFrame)
    return plain and len(names) == 2 and all(Path(name).suffix.lower() in PARQUET for name in names)


def explain_in_batches(
    explainer: Any, target: Any, rules: Rules | None, options: argparse.Namespace
) -> tuple[Counter[str], bool]:
    """Write the answers of ``--data`` to ``--out``, batch by batch.

    The file is written beside its place and renamed when it is whole.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted.
    target : object
        As for `explain`.
    rules : Rules or None
        Rules of the options.
    options : Namespace
        Of the command.

    Returns
    -------
    counts : Counter
        Rows of each status.
    interrupted : bool
        Whether the user interrupted.

    Raises
    ------
    Refusal
        If a file cannot be read or written.
    """
    parquet, out = import_module("pyarrow.parquet"), Path(options.out[0])
    source = reading("--data", options.data, lambda: parquet.ParquetFile(options.data))
    about = source.metadata
    sizes = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
    if max(sizes, default=0) > options.max_size:
        raise too_large("--data", options.data, options.max_size)
    if about.num_rows == 0:
        raise Refusal(f"The '--data' file {options.data!r} must have rows. Got none.", INPUT)
    unfinished = out.with_name(f".{secrets.token_hex(8)}.part")
    try:
        counts, interrupted = _write(explainer, target, rules, options, source, unfinished)
        write_output(str(out), lambda: unfinished.replace(out))
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return counts, interrupted


def _write(
    explainer: Any,
    target: Any,
    rules: Rules | None,
    options: argparse.Namespace,
    source: Any,
    unfinished: Path,
) -> tuple[Counter[str], bool]:
    """Answer the batches of a file, and write them to another."""
    counts: Counter[str] = Counter()
    writer: Any = None
    start, at, interrupted = monotonic(), 0, False
    try:
        for number, batch in enumerate(source.iter_batches(batch_size=ROWS)):
            step(options, f"rows {at:,} to {at + batch.num_rows:,} of {source.metadata.num_rows:,}")
            frame = batch.to_pandas().set_axis(np.arange(at, at + batch.num_rows), axis=0)
            at += batch.num_rows
            rows, labels = rows_of(explainer, frame, options)
            left = None
            if options.time_limit is not None:
                left = max(options.time_limit - (monotonic() - start), 1e-3)
            result = explainer.explain(
                rows,
                target,
                rules=rules,
                n_counterfactuals=options.options,
                time_limit=left,
                checkpoint=_folder(options, number),
                n_jobs=options.jobs,
            )
            counts.update(result.status[result.option == 0].tolist())
            if labels is not None:
                result = dataclasses.replace(result, index=labels.repeat(options.options))
            data = _as_arrow(explainer, result)
            if writer is None:
                begin = partial(import_module("pyarrow.parquet").ParquetWriter, unfinished)
                writer = write_output(options.out[0], partial(begin, data.schema))
            write_output(options.out[0], partial(writer.write_table, data))
            interrupted = bool((result.reason == "interrupted").any())
            if interrupted:
                break
    finally:
        if writer is not None:
            write_output(options.out[0], writer.close)
    return counts, interrupted


def _as_arrow(explainer: Any, result: Explanation) -> Any:
    """Return answers with their labels as a table of the same schema in every batch."""
    answers = table(result)
    label = answers.columns[0]
    types = PartitionExplainer(explainer, keep={label: answers[label].dtype})
    arrow, schema = import_module("pyarrow"), types.arrow_schema
    return arrow.Table.from_pandas(types.conform(answers), schema=schema, preserve_index=False)


def _folder(options: argparse.Namespace, number: int) -> Path | None:
    """Folder that keeps the answers of a batch."""
    if options.checkpoint is None:
        return None
    return Path(options.checkpoint) / f"batch-{number:06d}"
