"""Tables from files: parquet as it is, csv as texts or with the types that pandas guesses."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pandas.errors import EmptyDataError

from scfe_sklearn._utils import MAX_SIZE
from scfe_sklearn.cli.messages import INPUT, PACKAGE, Refusal, too_large

if TYPE_CHECKING:
    import pandas as pd


_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")


def match_texts(texts: Iterable[str], levels: Iterable[Any]) -> dict[str, Any]:
    """Find the level that each text means; those that mean none are left out.

    Parameters
    ----------
    texts : iterable of str
        Distinct texts.
    levels : iterable
        Texts, numbers or booleans, as training had them.

    Returns
    -------
    dict
        From texts to levels.

    Examples
    --------
    >>> match_texts(["1", "2.0", "x"], [1, 2])
    {'1': 1, '2.0': 2}
    >>> match_texts(["TRUE", "no"], [False, True])
    {'TRUE': True, 'no': False}
    """
    known = {str(level): level for level in levels}
    numbers, truths = {}, {}
    for level in known.values():
        if isinstance(level, (bool, np.bool_)):
            truths[bool(level)] = level
        elif isinstance(level, (int, float, np.number)):
            numbers[float(level)] = level
    found = {}
    for text in texts:
        word = text.strip()
        if text in known:
            found[text] = known[text]
        elif word.lower() in _TRUE and True in truths:
            found[text] = truths[True]
        elif word.lower() in _FALSE and False in truths:
            found[text] = truths[False]
        elif numbers and _number(word) in numbers:
            found[text] = numbers[_number(word)]
    return found


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan


PARQUET = (".parquet", ".pq")
TABLES = (".csv", ".tsv", ".txt", *PARQUET)
_PIECE = 1 << 20
_CELL = 8  # bytes of a number
Result = TypeVar("Result")
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_texts(option: str, name: str, max_size: int = MAX_SIZE) -> pd.DataFrame:
    """Read a table whose types are known from elsewhere.

    Parameters
    ----------
    option : str
        Where the name was given, for messages.
    name : str
        A csv or parquet file; "-" is csv from the standard input.
    max_size : int, default=2**30
        Most bytes that a compressed file may unpack to.

    Returns
    -------
    DataFrame
        Columns of a csv file hold texts, none of them missing; those of parquet have their types.
    """
    if _is_parquet(option, name):
        return _read_parquet(option, name, max_size)
    _check_size(option, name, max_size)
    return _read_cells(option, name, _source(option, name))


def read_guessed(option: str, name: str, max_size: int = MAX_SIZE) -> pd.DataFrame:
    """Read a table to train on: a csv file as `pandas.read_csv` does."""
    import pandas as pd

    if _is_parquet(option, name):
        return _read_parquet(option, name, max_size)
    _check_size(option, name, max_size)
    source = _source(option, name)
    cells = _read_cells(option, name, source)  # pandas renames and pads what should be refused
    frame = reading(
        option,
        name,
        lambda: pd.read_csv(
            source(),
            sep=_separator(name),
            encoding="utf-8-sig",
            index_col=False,
        ),
    )
    # Lines of blanks are rows for one reader and none for the other.
    if len(frame) == len(cells):
        for label in frame.columns[frame.dtypes == np.float64]:
            frame[label] = exact(frame[label], cells[label])
    return frame


def exact(values: pd.Series, texts: pd.Series) -> pd.Series:
    """Numbers to their last bit: pandas before 3.1 reads every third of them beside it.

    Parameters
    ----------
    values : Series
        What pandas read; only fractions are read again.
    texts : Series
        What it read them from, row by row.

    Returns
    -------
    Series
    """
    if values.dtype != np.float64:
        return values
    read = values.to_numpy(copy=True)
    finite = np.isfinite(read)
    read[finite] = texts.to_numpy()[finite].astype(str).astype(np.float64)
    return values.__class__(read, index=values.index, name=values.name)


def _is_parquet(option: str, name: str) -> bool:
    suffixes = [s.lower() for s in Path(name).suffixes if s.lower() not in _OPENERS]
    if name != "-" and (not suffixes or suffixes[-1] not in TABLES):
        raise Refusal(
            f"The {option!r} option must name a file that ends in {', '.join(TABLES)}, or be '-' "
            f"for csv on the standard input. Got {name!r} instead."
        )
    return name != "-" and suffixes[-1] in PARQUET


def _source(option: str, name: str) -> Callable[[], Any]:
    """Return a function that opens the file at its start, any number of times."""
    if name != "-":
        return lambda: name
    stream = getattr(sys.stdin, "buffer", None)
    content = stream.read() if stream is not None else sys.stdin.read().encode("utf-8")
    return lambda: io.BytesIO(content)


def _check_size(option: str, name: str, max_size: int) -> None:
    """Raise if a compressed file is too large; it is unpacked piece by piece, and not kept."""
    opener = _OPENERS.get(Path(name).suffix.lower())
    if name == "-" or opener is None:
        return

    def measure() -> int:
        size = 0
        with opener(name, "rb") as file:
            while size <= max_size and (part := file.read(_PIECE)):
                size += len(part)
        return size

    if reading(option, name, measure) > max_size:
        raise too_large(option, name, max_size)


def _separator(name: str) -> str:
    return "\t" if ".tsv" in [suffix.lower() for suffix in Path(name).suffixes] else ","


def _read_cells(option: str, name: str, source: Callable[[], Any]) -> pd.DataFrame:
    """Read a csv file as texts, and refuse rows that are longer or shorter than the names."""
    import pandas as pd

    def read() -> pd.DataFrame:
        packed = source()
        opened = (
            _OPENERS.get(Path(name).suffix.lower(), open)(packed, "rb")
            if (isinstance(packed, str))
            else packed
        )
        with io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as text:
            rows = csv.reader(text, delimiter=_separator(name), strict=True)
            cells = [(rows.line_num, row) for row in rows if row]
        if not cells:
            raise EmptyDataError
        width = len(cells[0][1])
        for line, row in cells:
            if len(row) != width:
                raise ValueError(f"line {line} has {len(row)} cells, the names are {width}")
        names = cells[0][1]
        _check_names(option, name, names)
        return pd.DataFrame([row for _, row in cells[1:]], columns=names, dtype=object)

    return reading(option, name, read)


def _check_names(option: str, name: str, names: list[Any]) -> None:
    twice = sorted({str(one) for one in names if names.count(one) > 1})
    if twice:
        raise Refusal(
            f"The {option!r} file {name!r} must have distinct names of columns. Got {twice} more "
            "than once.",
            INPUT,
        )


def _read_parquet(option: str, name: str, max_size: int) -> pd.DataFrame:
    import pandas as pd

    def claimed() -> int:
        about = import_module("pyarrow.parquet").read_metadata(name)
        unpacked = [about.row_group(k).total_byte_size for k in range(about.num_row_groups)]
        return max(sum(unpacked), _CELL * about.num_rows * about.num_columns)

    if reading(option, name, claimed) > max_size:
        raise too_large(option, name, max_size)
    frame = reading(option, name, lambda: pd.read_parquet(name))
    _check_names(option, name, list(frame.columns))
    return frame


def reading(option: str, name: str, read: Callable[[], Result]) -> Result:
    """Read, and raise with one sentence if that fails."""
    try:
        return read()
    except Refusal:
        raise
    except ImportError as error:
        raise Refusal(
            f"The {option!r} file {name!r} needs pyarrow: python -m pip install pyarrow", PACKAGE
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
    except EmptyDataError:
        why = "it is empty"
    except UnicodeDecodeError:
        why = "it is not encoded in UTF-8"
    except Exception as error:  # what readers raise for damaged files differs from file to file
        why = " ".join(str(error).split())
    raise Refusal(f"The {option!r} file {name!r} cannot be read: {why}.", INPUT)
