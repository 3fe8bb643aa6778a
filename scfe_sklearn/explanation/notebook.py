"""Short forms of an explanation: a few lines in a terminal, a table in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.explanation.tables import first_entries, outcomes
from scfe_sklearn.explanation.wording import (
    Change,
    Outcome,
    failure,
    feature_text,
    is_missing,
    is_number,
    neutral,
    one_line,
    plain,
    probability_pair,
    quoted,
    value_pair,
)
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation


_MAX_COLUMNS = 8
_MAX_TEXT = 40

# Only translucent greys and tints and the inherited text colour: one style for light and dark.
_STYLE = """<style>
.scfe { font-size: 0.92em; line-height: 1.4; max-width: 100%; }
.scfe .scfe-scroll { overflow-x: auto; max-width: 100%; }
.scfe table { border-collapse: collapse; border: 0; margin: 0.4em 0; color: inherit; }
.scfe tr, .scfe tbody tr:nth-child(odd), .scfe tbody tr:nth-child(even) { background: none; }
.scfe th, .scfe td { padding: 0.35em 0.75em; text-align: left; vertical-align: top; border: 0;
  border-bottom: 1px solid rgba(128, 128, 128, 0.28); color: inherit; max-width: 17em;
  white-space: normal; overflow-wrap: break-word; font-variant-numeric: tabular-nums; }
.scfe th.scfe-feature, .scfe td.scfe-changed { min-width: 6em; overflow-wrap: anywhere; }
.scfe thead th { border-bottom: 1px solid rgba(128, 128, 128, 0.6); font-weight: 600; }
.scfe tbody th { font-weight: normal; opacity: 0.75; }
.scfe td.scfe-changed { background: rgba(46, 160, 103, 0.16); }
.scfe td b { font-weight: 600; }
.scfe td.scfe-failed { background: rgba(214, 140, 40, 0.14); }
.scfe td.scfe-failed, .scfe td.scfe-settled { max-width: none; }
.scfe td.scfe-text { min-width: 13em; }
.scfe td.scfe-number { white-space: nowrap; }
.scfe .scfe-quiet { opacity: 0.68; }
.scfe p { margin: 0.2em 0; }
</style>"""


def notebook_table(
    outcomes: Sequence[Outcome],
    *,
    title: str,
    notes: Sequence[str] = (),
    hidden: int = 0,
) -> str:
    """HTML of a table of rows: what changes, or why there is no answer, and the probability.

    A column is a feature that changes in a row shown; the most frequent ones are kept where
    there are many. Names and values are escaped, and long ones are cut, with the whole text as
    a tooltip. Nothing is loaded from elsewhere.

    Parameters
    ----------
    outcomes : sequence of Outcome
        The rows to show.
    title : str
        The line above the table.
    notes : sequence of str
        Lines below the table.
    hidden : int
        Number of rows that are not shown.

    Returns
    -------
    str
    """
    layout = _lay_out(outcomes)
    head = "".join(_head(text, kind) for text, kind in layout.heads)
    body = "".join(_row(outcome, layout) for outcome in outcomes)
    table = (
        f'<div class="scfe-scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    lines = [f"{hidden:,} more row{'s' if hidden > 1 else ''} not shown"] if hidden else []
    lines += notes
    footer = "".join(f'<p class="scfe-quiet">{escape(neutral(line))}</p>' for line in lines)
    body = f"<p>{escape(neutral(title))}</p>{table if outcomes else ''}{footer}"
    return f'{_STYLE}<div class="scfe">{body}</div>'


@dataclass(frozen=True)
class _Layout:
    features: dict[int, Hashable]
    with_others: bool
    with_target: bool
    with_probability: bool

    @property
    def width(self) -> int:
        """Number of columns that show the outcome; one also where nothing changes."""
        return max(len(self.features) + self.with_others, 1)

    @property
    def heads(self) -> list[tuple[str, str]]:
        """Text and kind of the heads of the columns."""
        heads = [("row", "")]
        if self.with_target:
            heads.append(("target", ""))
        heads += [(feature_text(name), "scfe-feature") for name in self.features.values()]
        if self.with_others:
            heads.append(("other changes", ""))
        if not self.features:
            heads.append(("outcome", ""))
        if self.with_probability:
            heads.append(("probability of target", ""))
        return heads


def _head(text: str, kind: str) -> str:
    return f'<th scope="col" class="{kind}">{_cut(text)}</th>'


def _lay_out(outcomes: Sequence[Outcome]) -> _Layout:
    changes = [change for outcome in outcomes for change in outcome.changes]
    frequent = Counter(change.position for change in changes).most_common(_MAX_COLUMNS)
    names = {change.position: change.feature for change in changes}
    return _Layout(
        features={j: names[j] for j in sorted(j for j, _ in frequent)},
        with_others=len(names) > _MAX_COLUMNS,
        with_target=len({_target(outcome) for outcome in outcomes} - {""}) > 1,
        with_probability=any(np.isfinite(outcome.probability[0]) for outcome in outcomes),
    )


def _row(outcome: Outcome, layout: _Layout) -> str:
    cells = [f'<th scope="row">{_cut(plain(outcome.label))}</th>']
    if layout.with_target:
        cells.append(f"<td>{_cut(_target(outcome))}</td>")
    if outcome.changes:
        cells += _changed_cells(outcome.changes, layout)
    else:
        cells.append(_message_cell(outcome, layout.width))
    if layout.with_probability:
        cells.append(f'<td class="scfe-number">{_probability(outcome)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _target(outcome: Outcome) -> str:
    """The target; nothing where several would have done."""
    return "" if is_missing(outcome.target) else plain(outcome.target)


def _changed_cells(changes: Sequence[Change], layout: _Layout) -> list[str]:
    by_position = {change.position: change for change in changes}
    cells = [_cell(by_position[j]) if j in by_position else "<td></td>" for j in layout.features]
    if layout.with_others:
        others = len(by_position.keys() - layout.features.keys())
        cells.append(f"<td>{f'+ {others}' if others else ''}</td>")
    return cells


def _cell(change: Change) -> str:
    before, after = value_pair(change.before, change.after, quotes=False)
    long = len(before) + len(after) > _MAX_TEXT // 2
    kind = " scfe-number" if is_number(change.after) else " scfe-text" if long else ""
    alike = before[: _MAX_TEXT - 1] == after[: _MAX_TEXT - 1]
    most = max(len(before), len(after)) if alike else _MAX_TEXT
    return f'<td class="scfe-changed{kind}">{_arrow(_cut(before, most), _cut(after, most))}</td>'


def _arrow(before: str, after: str) -> str:
    return f'<span class="scfe-quiet">{before} \u2192</span> <b>{after}</b>'


def _message_cell(outcome: Outcome, width: int) -> str:
    # A row that needs no change is no warning.
    settled = outcome.status in (Status.FOUND, Status.ALREADY_TARGET, Status.NO_FURTHER)
    text = "no change needed" if outcome.status == Status.FOUND else failure(outcome)
    kind = "scfe-settled scfe-quiet" if settled else "scfe-failed"
    return f'<td class="{kind}" colspan="{width}">{_cut(text, 6 * _MAX_TEXT)}</td>'


def _probability(outcome: Outcome) -> str:
    before, after = outcome.probability
    if not np.isfinite(before):
        return ""
    if not np.isfinite(after):
        return f"{before:.2f}"
    return _arrow(*probability_pair(before, after))


def _cut(text: Any, longest: int = _MAX_TEXT) -> str:
    """Escaped text, cut where it is long, whole in the tooltip."""
    whole = neutral(str(text))
    if len(whole) <= longest:
        return escape(whole)
    return f'<span title="{escape(whole)}">{escape(whole[: longest - 1].rstrip())}\u2026</span>'


# ----------------------------------------------------------------------------- of an explanation


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
