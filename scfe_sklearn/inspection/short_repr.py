"""Displays in one short line: a notebook prints one above the picture."""

from __future__ import annotations

__all__ = ["ShortRepr"]

_LONGEST = 90


class ShortRepr:
    """A ``repr`` of the class and of what is drawn, without the arrays."""

    def _content(self) -> str:
        """Return what is drawn in some words."""
        raise NotImplementedError

    def __repr__(self) -> str:
        text = " ".join(self._content().split())
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST - 1].rstrip()}\u2026"
        return f"<{type(self).__name__}: {text}>"


def count(n: int, what: str) -> str:
    """Return a number with its noun: "1 change", "3 changes"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
