"""Links from the HTML of our estimators to the pages about them, where there are such pages."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, metadata
from urllib.parse import quote, urlsplit

VARIABLE = "SCFE_SKLEARN_DOCS"
"""Environment variable with the address of the documentation, such as one built locally."""

LABEL = "documentation"
"""What the address is called in the metadata of the package, in lower case."""


class Documented:
    """Mixin, before BaseEstimator: the question mark in the HTML leads to the page of the class.

    scikit-learn calls `_get_doc_link`, and draws no link if the result is empty: if the
    documentation has no address, and for a class of somebody else that inherits from ours.
    """

    def _get_doc_link(self) -> str:
        address, name = documentation_address(), public_name(type(self))
        return f"{address}/generated/{name}.html" if address and name else ""


def documentation_address() -> str:
    """Address of the built documentation.

    Returns
    -------
    str
        The environment variable ``SCFE_SKLEARN_DOCS`` if it is set, else the address
        "Documentation" in the metadata of the installed package; without a slash at its end.
        Empty where there is none.

    Raises
    ------
    ValueError
        If it is no address of a web server or a folder.

    Examples
    --------
    >>> import os
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, SCFE_SKLEARN_DOCS="http://127.0.0.1:8000/"):
    ...     documentation_address()
    'http://127.0.0.1:8000'
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return _published_address()
    if given and urlsplit(given).scheme not in ("http", "https", "file"):
        raise ValueError(
            f"The environment variable {VARIABLE} must be an http, https or file address. "
            f"Got {given!r} instead."
        )
    return _tidy(given)


def public_name(kind: type) -> str:
    """Return the name under which the reference lists a class, the shortest one.

    Parameters
    ----------
    kind : type

    Returns
    -------
    str
        Empty for a class that is not public, or not ours.

    Examples
    --------
    >>> from scfe_sklearn.data import FeatureSpace
    >>> from scfe_sklearn.rules import Rules
    >>> public_name(Rules), public_name(FeatureSpace), public_name(Documented)
    ('scfe_sklearn.Rules', 'scfe_sklearn.data.FeatureSpace', '')
    """
    rooms = kind.__module__.split(".")
    if rooms[0] != __package__.partition(".")[0] or rooms[1:2] == ["_utils"]:
        return ""
    for depth in range(1, len(rooms) + 1):
        room = ".".join(rooms[:depth])
        module = sys.modules.get(room)
        listed = kind.__name__ in getattr(module, "__all__", ())
        if listed and getattr(module, kind.__name__) is kind:
            return f"{room}.{kind.__name__}"
    return ""


@lru_cache(maxsize=1)
def _published_address() -> str:
    try:
        entries = metadata("scfe-sklearn").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    for entry in entries:
        label, _, address = entry.partition(",")
        if label.strip().lower() == LABEL:
            return _tidy(address.strip())
    return ""


def _tidy(address: str) -> str:
    """Make an address safe within an attribute of HTML."""
    return quote(address, safe=":/%~@[]").rstrip("/")
