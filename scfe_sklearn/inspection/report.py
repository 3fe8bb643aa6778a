"""``Explanation.to_html``: one page that can be handed on."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.files import write_file
from scfe_sklearn.inspection.entries import check_explanation
from scfe_sklearn.inspection.report_context import page_context
from scfe_sklearn.presentation.neutral import neutral

__all__ = ["read_template", "script_policy", "write_report"]

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
