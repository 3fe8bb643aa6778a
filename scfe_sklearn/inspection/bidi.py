"""Names from the data must not turn the writing direction of the text around them."""

from __future__ import annotations

__all__ = ["without_overrides"]

# Embeddings, overrides and isolates: their effect goes on after the name that they are in.
_CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")


def without_overrides(text: str) -> str:
    r"""Text in which the characters that change the direction of what follows are marked.

    Words of languages that are written from right to left are left as they are.

    Examples
    --------
    >>> without_overrides("abc\u202edef").encode("ascii", "replace")
    b'abc?def'
    """
    return text.translate(_CONTROLS)
