"""HTML page of the shortcuts that `find_shortcuts` reports."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn._utils import write_file
from scfe_sklearn.image.panels import png_address

if TYPE_CHECKING:
    from scfe_sklearn.learning.shortcuts import Shortcuts

SHOWN = 12
"""Number of candidates that a page shows."""

STYLE = """
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: 0.25rem 0.5rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: 0 1rem 0.5rem 0; }
figure img { width: 8rem; image-rendering: pixelated; border: 1px solid var(--line); }
"""


def shortcut_page(shortcuts: Shortcuts, path: Any, title: str) -> str:
    """Return the page; write it to a path if given."""
    from scfe_sklearn.inspection.report import read_template

    parts = [_headline(shortcuts), _ranking(shortcuts), _tests(shortcuts)]
    if shortcuts.side is not None:
        parts.insert(1, _pictures(shortcuts))
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{read_template('page.css')}{STYLE}</style></head>"
        f'<body><div class="top"><h1>{escape(title)}</h1></div><main>{"".join(parts)}</main>'
        "</body></html>\n"
    )
    if path is not None:
        write_file(path, page)
    return page


def _headline(shortcuts: Shortcuts) -> str:
    alarms = shortcuts.ranking[shortcuts.ranking["alarm"]]
    if len(alarms) == 0:
        return (
            '<p class="lead">No alarm: what the model uses tells the label of the clean rows.</p>'
        )
    items = "".join(
        f"<li><strong>{escape(_name(shortcuts, row['name']))}</strong>: {escape(row['reason'])}. "
        f"Exchanged between clean rows, it turns {100 * row['turned']:.0f} % of the predictions; "
        f"{100 * row['right']:.0f} % of these become right.</li>"
        for row in alarms.to_dict("records")
    )
    return f'<section class="card"><h2 class="first">Alarms</h2><ul>{items}</ul></section>'


def _ranking(shortcuts: Shortcuts) -> str:
    rows = "".join(
        f"<tr><td>{escape(_name(shortcuts, row['name']))}</td><td>{100 * row['used']:.0f} %</td>"
        f"<td>{100 * row['turned']:.1f} %</td><td>{100 * row['right']:.0f} %</td>"
        f"<td>{row['score']:.2f}</td></tr>"
        for row in shortcuts.ranking.head(SHOWN).to_dict("records")
    )
    return (
        "<h2>Ranking</h2><table><tr><th>candidate</th><th>used</th><th>predictions turned</th>"
        f"<th>of these become right</th><th>score</th></tr>{rows}</table>"
        '<p class="quiet small">Used: share of the changes of counterfactuals. Turned: share of '
        "the predictions that change when the candidate comes from another clean row. What tells "
        "the label makes few predictions right when it is exchanged; what tells nothing half.</p>"
    )


def _tests(shortcuts: Shortcuts) -> str:
    rows = ""
    for record in shortcuts.tests.to_dict("records"):
        cells = "".join(
            f"<td>{100 * record[f'{kind}_before']:.0f} to {100 * record[f'{kind}_after']:.0f}</td>"
            for kind in ("accuracy", "precision", "recall")
        )
        content = shortcuts.contents[record["name"], record["towards"]]
        value = "" if shortcuts.side is not None else f" = {content}"
        name = escape(f"{_name(shortcuts, record['name'])}{value}")
        rows += f"<tr><td>{name}</td><td>{escape(str(record['towards']))}</td>{cells}</tr>"
    return (
        "<h2>Pasted on clean rows</h2><table><tr><th>candidate</th><th>towards</th>"
        f"<th>accuracy, %</th><th>precision, %</th><th>recall, %</th></tr>{rows}</table>"
        '<p class="quiet small">What counterfactuals towards a class put there is put on all clean '
        "rows. Precision and recall are those of this class, before and after.</p>"
    )


def _pictures(shortcuts: Shortcuts) -> str:
    """Show the mean image with the content of each tested window."""
    assert shortcuts.mean_image is not None and shortcuts.bounds is not None
    assert shortcuts.side is not None
    low, high = shortcuts.bounds
    figures = ""
    for (name, label), content in shortcuts.contents.items():
        i, j = name
        image = np.array(shortcuts.mean_image, dtype=float)
        image[:, i : i + shortcuts.side, j : j + shortcuts.side] = content
        panel = ((image - low) / (high - low)).clip(0, 1).transpose(1, 2, 0)
        caption = escape(f"{_name(shortcuts, name)} towards {label}")
        figures += (
            f'<figure><img alt="{caption}" src="{png_address(panel)}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return (
        f'<h2>Where, and what</h2>{figures}<p class="quiet small">The mean clean image, with what '
        "counterfactuals put in the window.</p>"
    )


def _name(shortcuts: Shortcuts, name: Any) -> str:
    if shortcuts.side is None:
        return str(name)
    i, j = name
    return f"rows {i} to {i + shortcuts.side - 1}, columns {j} to {j + shortcuts.side - 1}"
