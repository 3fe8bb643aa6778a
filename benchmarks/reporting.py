"""Plain aligned tables, and bars that are met or not."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under a header: words to the left, numbers to the right."""
    rows = [list(row) for row in rows]
    cells = [list(header)] + [[_cell(value) for value in row] for row in rows]
    width = [max(len(row[j]) for row in cells) for j in range(len(header))]
    words = [all(isinstance(row[j], str) for row in rows) for j in range(len(header))]
    for row in cells:
        parts = (
            cell.ljust(size) if word else cell.rjust(size)
            for cell, size, word in zip(row, width, words, strict=True)
        )
        print("  ".join(parts).rstrip())
    print(flush=True)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


@dataclass
class Bars:
    """Bars: what must be true, and whether it is."""

    lines: list[tuple[str, bool]] = field(default_factory=list)

    def add(self, text: str, met: Any) -> None:
        """Record a bar."""
        self.lines.append((text, bool(met)))

    def finish(self, check: bool) -> int:
        """Print the bars; return the exit code: 1 only with --check, if one is missed."""
        for text, met in self.lines:
            print(f"{'met   ' if met else 'MISSED'}  {text}")
        return int(check and not all(met for _, met in self.lines))


def add_check_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--check`` to a command."""
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")


def numbers(text: str) -> list[float]:
    """Parse a list of numbers with commas, for argparse."""
    return [float(part) for part in text.split(",")]


def words(text: str) -> list[str]:
    """Parse a list of words with commas, for argparse."""
    return text.split(",")
