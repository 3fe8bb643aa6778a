"""An explanation as JSON, with a schema and a version, and back."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfe_sklearn.background import Background
from scfe_sklearn.portable import pack, unpack

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation

SCHEMA = "scfe_sklearn.Explanation"
"""Name of the schema."""

VERSION = 2
"""Raised whenever what is written changes."""


def written(explanation: Explanation) -> str:
    """Return everything in an explanation as text; TypeError for objects that cannot be written."""
    fields = {
        field.name: getattr(explanation, field.name) for field in dataclasses.fields(explanation)
    }
    if explanation.background is not None:
        fields["background"] = dict(vars(explanation.background))
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "fields": {name: pack(value) for name, value in fields.items()},
    }
    return json.dumps(content, allow_nan=False, ensure_ascii=False)


def read(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of an explanation from a text or a file; ValueError if it is none."""
    version: Any = None
    content: dict[str, Any] = {}
    try:
        content = json.loads(_text(source))
        version = content["version"] if content["schema"] == SCHEMA else None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    if not isinstance(version, int):
        raise ValueError("The 'source' of from_json must be an explanation in JSON.")
    if version > VERSION:
        raise ValueError(
            f"The 'source' of from_json must have version {VERSION} at most. "
            f"Got {version} instead, of a later version of this package."
        )
    packed = dict(content["fields"])
    fields = dict(zip(packed, unpack(list(packed.values())), strict=True))
    if fields.get("background") is not None:
        fields["background"] = Background(**fields["background"])
    return fields


def _text(source: str | os.PathLike[str]) -> str:
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("{"):
        return source.removeprefix("\ufeff")
    return Path(source).read_text(encoding="utf-8-sig")
