"""How an explanation shows itself: a few lines in a terminal, a table in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfe_sklearn.explanation.outcomes import outcomes
from scfe_sklearn.presentation import notebook_table
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
    shown = explanation[:TEXT_ROWS]
    lines = [f"Explanation: {_title(explanation)}"]
    labels = [str(label) for label in shown.index]
    lines += [f"  {a}: {b}" for a, b in zip(labels, shown.sentences(), strict=True)]
    if len(explanation) > TEXT_ROWS:
        lines.append(f"  ... and {len(explanation) - TEXT_ROWS:,} more")
    return "\n".join(lines)


def as_html(explanation: Explanation) -> str:
    """A table of the first rows, with the solver and the rules below."""
    shown = explanation[:HTML_ROWS]
    notes = [f"solver: {explanation.solver}"] if explanation.solver else []
    notes += [f"rules: {'; '.join(explanation.rules_text)}"] if explanation.rules_text else []
    return notebook_table(
        outcomes(shown),
        title=_title(explanation),
        notes=notes,
        hidden=len(explanation) - len(shown),
    )


def _title(explanation: Explanation) -> str:
    """How many rows were found, and for what target."""
    found, n = int((explanation.status == Status.FOUND).sum()), len(explanation)
    rows = f"{found:,} of {n:,} row{'' if n == 1 else 's'} found"
    targets = list(dict.fromkeys(quoted(t) for t in explanation.target if not is_missing(t)))
    if len(targets) > 1:
        return f"{rows}, {len(targets)} targets"
    return f"{rows}, target {targets[0]}" if targets else rows
