"""Protocol of one set of rules, and the sets that are merged into it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol


class Part(Protocol):
    """The parameters of `scfe_sklearn.Rules`, unchecked."""

    immutable: Sequence[Hashable] | Mapping[Hashable, Any] | None
    increasing: Sequence[Hashable] | Mapping[Hashable, Any] | None
    decreasing: Sequence[Hashable] | Mapping[Hashable, Any] | None
    ranges: Mapping[Hashable, Any] | None
    transitions: Mapping[Hashable, Any] | None
    relations: Sequence[Any] | None
    implications: Sequence[tuple[Mapping, Mapping]] | None
    costs: Mapping[Hashable, Any] | None
    fillable: Sequence[Hashable] | Mapping[Hashable, Any] | None
    strict: bool

    def parts(self) -> Iterator[Part]:
        """These statements and all that were merged into them, one by one."""
