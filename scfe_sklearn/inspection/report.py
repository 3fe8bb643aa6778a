"""``Explanation.to_html``: one page that can be handed on."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from importlib.resources import files
from typing import Any

import numpy as np

from scfe_sklearn._utils import write_file
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.tables import outcomes
from scfe_sklearn.explanation.wording import (
    exact,
    failure,
    feature_text,
    is_missing,
    neutral,
    plain,
    rounded_pair,
    sentence,
    value_pair,
)
from scfe_sklearn.inspection.base import check_explanation, people, percent, row_name
from scfe_sklearn.inspection.changes import DIRECTIONS, change_frequencies
from scfe_sklearn.inspection.strips import Curves, feature_values, strip_context
from scfe_sklearn.status import Status

_OPEN_PEOPLE = 3  # stories that are open from the start
_ALL_VALUES = 60  # features; beyond, only what changes is listed

_MEANINGS = {
    Status.FOUND: "The model gives the target to the changed row, and all changes keep the rules.",
    Status.ALREADY_TARGET: "The model gives the target already; there is nothing to change.",
    Status.CLOSEST: "There is no answer; what is shown comes closest to one, but is not valid.",
    Status.UNREACHABLE: "Everything that the rules leave open was searched; no answer is there.",
    Status.NOT_FOUND: "The search ended without an answer; there may be one.",
    Status.NO_FURTHER: "The row has an answer, but no further option.",
    Status.INVALID_INPUT: "The row holds a missing or infinite number or an unknown category.",
    Status.CONFLICTING_RULES: "The rules for the row contradict one another.",
    Status.MODEL_FAILED: "The model fails for the row, or its output is not finite.",
}


def page_context(explanation: Explanation) -> dict[str, Any]:
    """Everything that the template shows but title, style and script."""
    groups = people(explanation)
    curves = Curves()
    found = outcomes(explanation)
    columns = _columns(explanation)
    persons = [_person(explanation, found, entries, curves, columns) for entries in groups]
    first = explanation[[int(entries[0]) for entries in groups]]
    many = len(persons) > 1
    return {
        "persons": persons,
        "many": many,
        "open": len(persons) <= _OPEN_PEOPLE,
        "curves": curves.symbols,
        "lead": _lead(first),
        "tiles": _tiles(first) if many else [],
        "frequencies": _frequencies(first) if many else [],
        "n_found": _answers(int(first.success.sum())),
        "rules": list(explanation.rules_text),
        "statuses": _statuses(first),
        "solver": explanation.solver,
        "shaded": bool(curves.symbols) or explanation.background is not None,
    }


def _lead(first: Explanation) -> str:
    """One sentence about all rows."""
    n, found = len(first), int(first.success.sum())
    targets = list(dict.fromkeys(plain(t) for t in first.target if not is_missing(t)))
    wanted = f"\u201c{targets[0]}\u201d" if len(targets) == 1 else "the wanted answer"
    if n == 1:
        return (
            f"What this row would have to change for the model to predict {wanted}."
            if found
            else f"The question: what would have to change for the model to predict {wanted}?"
        )
    return f"For {found:,} of {n:,} rows there is a change that makes the model predict {wanted}."


def _answers(n: int) -> str:
    return f"{n:,} answer{'' if n == 1 else 's'}"


def _tiles(first: Explanation) -> list[tuple[str, str]]:
    """Numbers at a glance."""
    good = first.success
    if not good.any():
        return []
    tiles = [(f"{np.mean(first.n_changes[good]):.1f}", "changes per answer, on average")]
    after = first.probability_after[good]
    if np.isfinite(after).all():
        before = first.probability_before[good]
        start = percent(float(np.mean(before))) if np.isfinite(before).all() else ""
        text = f"{start} \u2192 " if start else ""
        tiles.append((f"{text}{percent(float(np.mean(after)))}", "probability of the target, mean"))
    quantile = first.density_quantile[good]
    if np.isfinite(quantile).any():
        text = percent(float(np.nanmedian(quantile)))
        tiles.append((text, "of the training rows with the target are less typical, median"))
    return tiles


def _frequencies(first: Explanation) -> list[dict[str, Any]]:
    """Return the frequencies of changes: bars of the three directions, widest first."""
    shares = change_frequencies(first)
    longest = max(shares["any"].max(), 1e-9) if len(shares) else 1.0
    return [
        {
            "name": feature_text(line["feature"]),
            "share": percent(line["any"]),
            "bars": [
                {"kind": kind, "width": round(100 * line[kind] / longest, 2),
                 "text": f"{kind}: {percent(line[kind])}"}
                for kind in DIRECTIONS
                if line[kind] > 0
            ],
        }
        for line in shares.to_dict("records")
    ]  # fmt: skip


def _statuses(first: Explanation) -> list[dict[str, Any]]:
    """Return the statuses of the rows, with their reasons."""
    found = []
    for status in Status.ALL:
        rows = first.status == status
        if rows.any():
            reasons = Counter(str(text).strip() for text in first.reason[rows])
            reasons.pop("", None)
            found.append(
                {
                    "status": status,
                    "count": int(rows.sum()),
                    "meaning": _MEANINGS[status],
                    "reasons": reasons.most_common(8),
                    "more": max(len(reasons) - 8, 0),
                }
            )
    return found


def _person(
    explanation: Explanation,
    found: list[Any],
    entries: np.ndarray,
    curves: Curves,
    columns: dict[int, tuple[list, list]],
) -> dict[str, Any]:
    """One row: its story, and its answers one below the other."""
    first = int(entries[0])
    shown = [int(entry) for entry in entries if found[entry].changes]
    answers = [_answer(explanation, found[entry], entry, curves) for entry in shown]
    status = explanation.status[first]
    return {
        "name": row_name(explanation.index[first]),
        "status": status,
        "kind": _kind(status),
        "story": sentence(found[first]),
        "failure": "" if status == Status.FOUND else failure(found[first]),
        "now": plain(explanation.prediction[first]),
        "target": _target(explanation.target[first]),
        "verdict": _verdict(explanation, first),
        "chance": _chance(explanation, first),
        "answers": answers,
        "values": _values(explanation, first, columns),
    }


def _kind(status: str) -> str:
    """The colour of a status."""
    if status == Status.FOUND:
        return "good"
    return "calm" if status == Status.ALREADY_TARGET else "bad"


def _target(target: Any) -> str:
    return "another answer" if is_missing(target) else plain(target)


def _verdict(explanation: Explanation, entry: int) -> tuple[str, str]:
    """Prediction before and after."""
    before, after = explanation.prediction[entry], explanation.prediction_after[entry]
    if is_missing(after):
        return plain(before), ""
    return rounded_pair(before, after)


def _chance(explanation: Explanation, entry: int) -> dict[str, Any] | None:
    """Probabilities of the target, as text and as places in per cent."""
    before = float(explanation.probability_before[entry])
    after = float(explanation.probability_after[entry])
    if not np.isfinite(before):
        return None
    known = bool(np.isfinite(after))
    return {
        "before": percent(before),
        "after": percent(after) if known else "",
        "start": round(100 * before, 2),
        "end": round(100 * after, 2) if known else None,
    }


def _answer(explanation: Explanation, outcome: Any, entry: int, curves: Curves) -> dict[str, Any]:
    """One answer: its changes, plausibility and distance."""
    facts = []
    quantile = explanation.density_quantile[entry]
    target = explanation.target[entry]
    if np.isfinite(quantile):
        whose = "the target" if is_missing(target) else f"\u201c{plain(target)}\u201d"
        facts.append(
            f"More typical than {percent(float(quantile))} of the training rows with {whose}."
        )
    if np.isfinite(explanation.distance[entry]):
        facts.append(f"Distance {explanation.distance[entry]:.2f} standard deviations.")
    gap = explanation.gap[entry]
    if np.isfinite(gap):
        proved = "Proved to be the cheapest answer."
        facts.append(proved if gap <= 0 else f"At most {percent(float(gap))} above the cheapest.")
    return {
        "story": sentence(outcome),
        "chance": _chance(explanation, entry),
        "strips": [strip_context(explanation, change, entry, curves) for change in outcome.changes],
        "facts": facts,
        "valid": bool(explanation.success[entry]),
    }


def _columns(explanation: Explanation) -> dict[int, tuple[list, list]]:
    """Values before and after of the features that are listed, read column by column."""
    d = len(explanation.kinds)
    moved = np.flatnonzero(explanation.changed.any(axis=0))
    listed = range(d) if d <= _ALL_VALUES else moved
    rows = np.arange(len(explanation))
    return {int(j): feature_values(explanation, int(j), rows) for j in listed}


def _values(
    explanation: Explanation, entry: int, columns: dict[int, tuple[list, list]]
) -> list[dict[str, Any]]:
    """Every feature now and in the first answer."""
    changed = explanation.changed[entry]
    lines = []
    for j, (before, after) in columns.items():
        if changed[j]:
            now, new = value_pair(before[entry], after[entry], quotes=False)
        elif len(changed) > _ALL_VALUES:
            continue
        else:
            now, new = exact(before[entry]), ""
        lines.append({"name": feature_text(explanation.feature_names[j]), "now": now, "new": new})
    return lines


_TITLE = "What would change the answer"


def write_report(explanation: Explanation, path: Any, title: str | None) -> str:
    """Render the page of an explanation, and write it if there is a path.

    Raises
    ------
    ImportError
        If jinja2 is not installed.
    """
    check_explanation(explanation, "Explanation.to_html")
    if title is not None and not isinstance(title, str):
        raise TypeError(
            "The 'title' parameter of Explanation.to_html must be a str or None. "
            f"Got {title!r} instead."
        )
    script = read_template("report.js")
    page = _template().render(
        page_context(explanation),
        title=_TITLE if title is None else title,
        style=read_template("page.css"),
        script=script,
        policy=script_policy(script),
    )
    # A lone surrogate is no text that a file could hold.
    page = page.encode("utf-8", "replace").decode("utf-8")
    if path is not None:
        write_file(path, page)
    return page


def read_template(name: str) -> str:
    """The text of one of the files that pages are made of."""
    return files("scfe_sklearn.inspection").joinpath("templates", name).read_text("utf-8")


def script_policy(script: str, connect: str = "'none'") -> str:
    """A policy by which a browser loads nothing and runs no script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _final(value: Any) -> Any:
    """Return the text of a value on a page; parts of markup are kept."""
    return neutral(value) if type(value) is str else value


def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "Explanation.to_html needs jinja2. Install it with: "
            "python -m pip install 'scfe-sklearn[report]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scfe_sklearn.inspection", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")
