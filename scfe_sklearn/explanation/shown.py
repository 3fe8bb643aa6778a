"""Short forms of an explanation: a few lines in a terminal, a table in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfe_sklearn.explanation.outcomes import outcomes
from scfe_sklearn.explanation.row_numbers import first_entries
from scfe_sklearn.presentation import notebook_table
from scfe_sklearn.presentation.neutral import one_line
from scfe_sklearn.presentation.wording import is_missing, quoted
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation

HTML_ROWS = 10
"""Rows in a notebook."""

TEXT_ROWS = 5
"""Rows in a terminal."""


def as_text(explanation: Explanation) -> str:
    """A title, and a sentence for each of the first rows."""
    kept = _without_empty_options(explanation)
    shown = kept[:TEXT_ROWS]
    lines = [f"Explanation: {_title(explanation)}"]
    labels = [one_line(str(label)) for label in shown.index]
    lines += [f"  {a}: {b}" for a, b in zip(labels, shown.sentences(), strict=True)]
    if len(kept) > TEXT_ROWS:
        lines.append(f"  ... and {len(kept) - TEXT_ROWS:,} more")
    return "\n".join(lines)


def as_html(explanation: Explanation) -> str:
    """A table of the first rows, with the solver and the rules below."""
    kept = _without_empty_options(explanation)
    shown = kept[:HTML_ROWS]
    notes = [f"solver: {explanation.solver}"] if explanation.solver else []
    notes += [f"rules: {'; '.join(explanation.rules_text)}"] if explanation.rules_text else []
    outside = [str(label) for label in shown.index[shown.outside_rules]]
    notes += [f"break a rule already, and still do: {', '.join(outside)}"] if outside else []
    return notebook_table(
        outcomes(shown),
        title=_title(explanation),
        notes=notes,
        hidden=len(kept) - len(shown),
    )


def _without_empty_options(explanation: Explanation) -> Explanation:
    """Leave out the options that a row with an answer does not have."""
    empty = explanation.status == Status.NO_FURTHER
    return explanation[~empty] if empty.any() and not empty.all() else explanation


def _title(explanation: Explanation) -> str:
    """Return the numbers of rows and options that were found, and the target."""
    first = explanation.status[first_entries(explanation)]
    found, n = int((first == Status.FOUND).sum()), len(first)
    rows = f"{found:,} of {n:,} row{'' if n == 1 else 's'} found"
    if explanation.option.any():
        answers = int((explanation.status == Status.FOUND).sum())
        rows += f", {answers:,} option{'' if answers == 1 else 's'} in all"
    targets = list(dict.fromkeys(quoted(t) for t in explanation.target if not is_missing(t)))
    if len(targets) > 1:
        return f"{rows}, {len(targets)} targets"
    return f"{rows}, target {targets[0]}" if targets else rows
