"""Parameters that explainers share are described once, where they are declared."""

from __future__ import annotations

import inspect
import re

PARAMETERS = "Parameters\n----------\n"
HEADING = re.compile(r"^\S.*\n-{3,}$", re.MULTILINE)


def with_inherited_parameters(doc: str, parent: str) -> str:
    r"""Return a numpydoc docstring whose parameters are those of the parent's, then its own.

    What both describe is taken from ``doc``.

    Examples
    --------
    >>> parent = "Base.\n\nParameters\n----------\na : int\n    Kept.\nb : int\n    Old."
    >>> doc = "Child.\n\nParameters\n----------\nb : int\n    New.\n\nNotes\n-----\nNone."
    >>> whole = with_inherited_parameters(doc, parent)
    >>> whole == doc.replace("b : int", "a : int\n    Kept.\nb : int")
    True
    """
    before, own, after = _parts(doc)
    _, inherited, _ = _parts(parent)
    entries = {**{names: text for names, text in inherited.items() if names not in own}, **own}
    return before + PARAMETERS + "\n".join(entries.values()) + after


def _parts(doc: str) -> tuple[str, dict[str, str], str]:
    """Return what comes before the parameters, the text of each by name, and what follows."""
    doc = inspect.cleandoc(doc)
    before, heading, rest = doc.partition(PARAMETERS)
    if not heading:
        return doc + "\n\n", {}, ""
    following = HEADING.search(rest)
    end = following.start() if following else len(rest)
    listed = rest[:end].rstrip()
    after = rest[len(listed) :]
    texts = re.split(r"\n(?=\S)", listed) if listed else []
    return before, {text.partition(" : ")[0]: text for text in texts}, after
