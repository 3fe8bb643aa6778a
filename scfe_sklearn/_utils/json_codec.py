"""Arrays, data frames and their indexes as JSON values, and back without loss."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["is_damage", "pack", "unpack"]

_POLARS = (
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    "Float32",
    "Float64",
    "Boolean",
    "String",
    "Categorical",
    "Enum",
    "Null",
)
"""The polars types of columns that can be explained, all of them."""

_CELL_BYTES = 256
"""Bytes that a cell may claim: texts of 64 characters."""

_SPARE_BYTES = 1 << 26
"""Bytes that all arrays together may claim beyond that: 64 MiB."""

_SPARE_ROWS = 1 << 20
"""Rows without cells that may be claimed beyond the number of all cells."""


def pack(value: Any) -> Any:
    """Turn a value into what ``json.dumps(..., allow_nan=False)`` takes.

    Whatever is no plain text, number, truth value or None becomes an object whose ``"is"``
    names its type. Numbers that JSON does not know are texts: "nan", "inf" and "-inf".

    Parameters
    ----------
    value : ndarray, DataFrame, Index, tuple, list, dict or scalar
        Data frames are those of pandas and polars.

    Returns
    -------
    object
        Dicts, lists and plain values.

    Raises
    ------
    TypeError
        If there is something in it that cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> pack(np.array([1.0, np.nan]))
    {'is': 'array', 'dtype': 'float64', 'shape': [2], 'values': [1.0, 'nan']}
    >>> unpack(pack(("a", None)))
    ('a', None)
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if isinstance(value, np.ndarray):
        return {"is": "array", **_pack_array(value)}
    if pandas is not None and isinstance(value, pandas.DataFrame):
        data = [_pack_column(value.iloc[:, j].array) for j in range(value.shape[1])]
        frame = {"columns": pack(value.columns), "index": pack(value.index), "data": data}
        return {"is": "pandas", **frame}
    if pandas is not None and isinstance(value, pandas.Index):
        return _pack_index(value)
    if polars is not None and isinstance(value, polars.DataFrame):
        data = [_pack_polars(value.to_series(j)) for j in range(value.width)]
        return {"is": "polars", "columns": value.columns, "data": data}
    return _pack_scalar(value)


def unpack(value: Any) -> Any:
    """Undo `pack`.

    Parameters
    ----------
    value : object
        What `pack` returned, perhaps after a way through JSON.

    Returns
    -------
    object
        The value in its container, with its types.

    Raises
    ------
    ValueError
        If this is nothing that `pack` writes, or would take much more memory than its text.
    """
    _check_claims(value)
    return _unpack(value)


def is_damage(error: BaseException) -> bool:
    """Whether a reader raised this for what it read: any error, but no interruption."""
    # What polars raises for some of its own failures is no Exception.
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _unpack(value: Any) -> Any:
    """Undo `pack` for a value whose claims are checked."""
    if not isinstance(value, dict):
        if isinstance(value, list):
            return [_unpack(item) for item in value]
        return value
    readers = {
        "array": _unpack_array,
        "pandas": _unpack_pandas,
        "index": _unpack_index,
        "polars": _unpack_polars,
    }
    kind = value.get("is")
    if kind in readers:
        return readers[kind](value)
    return _unpack_scalar(value)


# ---------------------------------------------------------------------------------- claims


def _check_claims(value: Any) -> None:
    """Raise if what is packed claims more rows or wider cells than are there.

    The texts of an array are all as wide as the widest, and a range or an array without columns
    may have any number of rows: a few kilobytes may claim gigabytes.
    """
    cells, width, rows = 0, 0, 0
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            count, size = _claimed_cells(node)
            cells, width, rows = cells + count, width + size, rows + _claimed_rows(node)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += [part for part in node if isinstance(part, (dict, list))]
    if width > _SPARE_BYTES + _CELL_BYTES * cells or rows > _SPARE_ROWS + cells:
        raise ValueError("The file claims more memory than its values need.")


def _claimed_cells(packed: dict[str, Any]) -> tuple[int, int]:
    """Number of the cells of a packed array or column, and the bytes that it claims for them."""
    name, cells = packed.get("dtype"), packed.get("values")
    if not (isinstance(name, str) and isinstance(cells, list)):
        return 0, 0
    if "shape" in packed and math.prod(packed["shape"]) != len(cells):
        raise ValueError(f"An array of shape {packed['shape']} has not {len(cells)} values.")
    try:
        dtype = np.dtype(name)
    except TypeError:  # a type of pandas or polars
        return len(cells), 0
    if dtype.kind not in "biufOUmM" or packed.get("extension"):
        raise ValueError(f"Unsupported type in the file: an array of {name!r}.")
    return len(cells), len(cells) * dtype.itemsize


def _claimed_rows(packed: dict[str, Any]) -> int:
    """Rows that need no cells: those of a range, and of an array without columns."""
    if "range" in packed:
        start, stop, step = packed["range"]
        return max(0, -((start - stop) // step))
    return max(packed["shape"]) if "shape" in packed and not packed.get("values") else 0


# --------------------------------------------------------------------------------- scalars


def _pack_scalar(value: Any) -> Any:
    """Pack what may stand in a cell or name a column."""
    import pandas as pd

    if type(value) in (type(None), bool, str, int):  # no subclass: NumPy's texts are such
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"is": "float", "value": repr(value)}
    if value is pd.NA:
        return {"is": "NA"}
    if value is pd.NaT:
        return {"is": "NaT"}
    if isinstance(value, (tuple, list)):
        packed = [pack(item) for item in value]
        return {"is": "tuple", "items": packed} if isinstance(value, tuple) else packed
    if isinstance(value, dict):
        return {"is": "dict", "items": [[pack(k), pack(v)] for k, v in value.items()]}
    if isinstance(value, pd.Timestamp):
        moment = {"value": value.value, "unit": "ns"}
        zone = None if value.tz is None else str(value.tz)
        return {"is": "timestamp", **moment, "zone": zone}
    if isinstance(value, bytes):
        return {"is": "bytes", "value": base64.b64encode(value).decode("ascii")}
    if isinstance(value, (datetime.date, datetime.datetime)):
        kind = "datetime" if isinstance(value, datetime.datetime) else "date"
        return {"is": kind, "value": value.isoformat()}
    if isinstance(value, decimal.Decimal):
        return {"is": "decimal", "value": str(value)}
    if isinstance(value, np.generic):
        return {"is": "scalar", **_pack_array(np.asarray(value))}
    raise TypeError(
        f"A value of type {type(value).__name__} cannot be written: {value!r}. Numbers, texts, "
        "truth values, dates, decimals and tuples of these can."
    )


def _unpack_scalar(value: dict[str, Any]) -> Any:
    import pandas as pd

    kind = value.get("is")
    if kind == "float":
        return float(value["value"])
    if kind == "NA":
        return pd.NA
    if kind == "NaT":
        return pd.NaT
    if kind == "tuple":
        return tuple(_unpack(item) for item in value["items"])
    if kind == "dict":
        return {_unpack(k): _unpack(v) for k, v in value["items"]}
    if kind == "timestamp":
        moment = pd.Timestamp(value["value"], unit=value["unit"], tz="UTC")
        return moment.tz_convert(value["zone"])
    if kind == "bytes":
        return base64.b64decode(value["value"])
    if kind == "date":
        return datetime.date.fromisoformat(value["value"])
    if kind == "datetime":
        return datetime.datetime.fromisoformat(value["value"])
    if kind == "decimal":
        return decimal.Decimal(value["value"])
    if kind == "scalar":
        return _unpack_array(value)[()]
    raise ValueError(f"Unsupported type in the file: an object of the kind {kind!r}.")


# ---------------------------------------------------------------------------------- arrays


def _pack_array(array: np.ndarray) -> dict[str, Any]:
    cells = _cells(array.ravel())
    return {"dtype": _name(array.dtype), "shape": list(array.shape), "values": cells}


def _name(dtype: np.dtype) -> str:
    """Return the name of a type, without the byte order; for texts with their length."""
    return dtype.str.lstrip("<>=|") if dtype.kind in "UmM" else dtype.name


def _unpack_array(packed: dict[str, Any]) -> np.ndarray:
    return _from_cells(packed["values"], np.dtype(packed["dtype"])).reshape(packed["shape"])


def _cells(flat: np.ndarray) -> list[Any]:
    """Pack the values of a 1-D array whose type is kept elsewhere."""
    kind = flat.dtype.kind
    if kind == "f" and flat.dtype.itemsize <= 8:
        return [v if math.isfinite(v) else repr(v) for v in flat.astype(np.float64).tolist()]
    if kind in "biuU":
        return list(flat.tolist())
    if kind == "O":
        return [pack(v) for v in flat]
    if kind in "mM":
        return list(flat.view(np.int64).tolist())
    raise TypeError(f"An array of {flat.dtype} cannot be written.")


def _from_cells(cells: Sequence[Any], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "O":
        out = np.empty(len(cells), dtype=object)
        for i, cell in enumerate(cells):
            out[i] = _unpack(cell)
        return out
    if dtype.kind == "f":
        return np.array([float(cell) for cell in cells], dtype=np.float64).astype(dtype)
    if dtype.kind in "mM":
        return np.array(cells, dtype=np.int64).view(dtype)
    return np.array(cells, dtype=dtype)


# ---------------------------------------------------------------------------------- pandas


def _pack_column(values: Any) -> dict[str, Any]:
    """Pack a pandas array: what a column or an index holds."""
    import pandas as pd

    # Texts are such an array too where pyarrow is not installed, but have a type of their own.
    texts = isinstance(values.dtype, pd.StringDtype)
    if isinstance(values, pd.arrays.NumpyExtensionArray) and not texts:
        values = values.to_numpy()
    dtype = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind not in "mM":
        return {"dtype": _name(dtype), "values": _cells(values)}
    if isinstance(dtype, pd.CategoricalDtype):
        return {
            "dtype": "category",
            "ordered": bool(dtype.ordered),
            "categories": _pack_column(dtype.categories.array),
            "values": values.codes.tolist(),
        }
    if getattr(dtype, "kind", "") in "mM" and not hasattr(dtype, "pyarrow_dtype"):
        zone = getattr(dtype, "tz", None)
        moments = {"unit": values.unit, "values": values.asi8.tolist()}
        span = "timedelta" if dtype.kind == "m" else "datetime"
        return {"dtype": span, "zone": None if zone is None else str(zone), **moments}
    missing = np.asarray(pd.isna(values), dtype=bool)
    plain = np.asarray(values, dtype=object)
    # The type of the column determines its missing value.
    cells = [None if gone else pack(v) for v, gone in zip(plain.tolist(), missing, strict=True)]
    if isinstance(dtype, pd.StringDtype):
        nan = getattr(dtype, "na_value", pd.NA) is not pd.NA
        return {"dtype": "string", "storage": dtype.storage, "nan": nan, "values": cells}
    if pd.api.types.pandas_dtype(str(dtype)) != dtype:
        raise TypeError(f"A column of {dtype} cannot be written.")
    return {"dtype": str(dtype), "extension": True, "values": cells}


def _unpack_column(packed: dict[str, Any]) -> Any:
    import pandas as pd

    name, cells = packed["dtype"], packed["values"]
    if name == "category":
        levels = pd.Index(_unpack_column(packed["categories"]))
        return pd.Categorical.from_codes(cells, categories=levels, ordered=packed["ordered"])
    if name in ("datetime", "timedelta"):
        moments = np.array(cells, dtype=np.int64).view(f"{name}64[{packed['unit']}]")
        if packed["zone"] is None:
            return pd.array(moments)
        return pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(packed["zone"]).array
    if name == "string":
        return pd.array([_unpack(cell) for cell in cells], dtype=_string_dtype(packed))
    if packed.get("extension"):
        values = [pd.NA if cell is None else _unpack(cell) for cell in cells]
        return pd.array(values, dtype=name)
    return _from_cells(cells, np.dtype(name))


def _string_dtype(packed: dict[str, Any]) -> Any:
    """Return the pandas type of texts; where pyarrow is not installed, one that needs none."""
    import pandas as pd

    missing = {"na_value": np.nan} if packed["nan"] else {}
    try:
        return pd.StringDtype(packed["storage"], **missing)
    except ImportError:
        return pd.StringDtype("python", **missing)


def _pack_index(index: Any) -> dict[str, Any]:
    import pandas as pd

    names = [pack(name) for name in index.names]
    if isinstance(index, pd.RangeIndex):
        ends = [index.start, index.stop, index.step]
        return {"is": "index", "names": names, "range": ends}
    if isinstance(index, pd.MultiIndex):
        levels = [_pack_column(index.get_level_values(k).array) for k in range(index.nlevels)]
        return {"is": "index", "names": names, "levels": levels}
    return {"is": "index", "names": names, "labels": _pack_column(index.array)}


def _unpack_index(packed: dict[str, Any]) -> Any:
    import pandas as pd

    names = [_unpack(name) for name in packed["names"]]
    if "range" in packed:
        start, stop, step = packed["range"]
        return pd.RangeIndex(start, stop, step, name=names[0])
    if "levels" in packed:
        return pd.MultiIndex.from_arrays(
            [_unpack_column(level) for level in packed["levels"]], names=names
        )
    values = _unpack_column(packed["labels"])
    return pd.Index(values, dtype=values.dtype, name=names[0])


def _unpack_pandas(packed: dict[str, Any]) -> Any:
    import pandas as pd

    index = _unpack(packed["index"])
    data = {}
    for j, column in enumerate(packed["data"]):
        values = _unpack_column(column)
        data[j] = pd.Series(values, index=index, dtype=values.dtype)
    frame = pd.DataFrame(data, index=index)
    frame.columns = _unpack(packed["columns"])
    return frame


# ---------------------------------------------------------------------------------- polars


def _pack_polars(series: Any) -> dict[str, Any]:
    name = type(series.dtype).__name__ if not isinstance(series.dtype, type) else None
    name = name or series.dtype.__name__
    if name not in _POLARS:
        raise TypeError(f"A polars column of {series.dtype} cannot be written.")
    cells = series.to_list()
    if name.startswith("Float"):
        cells = [repr(v) if v is not None and not math.isfinite(v) else v for v in cells]
    packed = {"dtype": name, "values": cells}
    if name == "Enum":
        packed["categories"] = series.dtype.categories.to_list()
    return packed


def _unpack_polars(packed: dict[str, Any]) -> Any:
    import polars as pl

    columns = []
    for name, column in zip(packed["columns"], packed["data"], strict=True):
        kind, cells = column["dtype"], column["values"]
        if kind not in _POLARS:
            raise ValueError(f"Unsupported type in the file: a polars column of {kind!r}.")
        if kind.startswith("Float"):
            cells = [None if cell is None else float(cell) for cell in cells]
        dtype = pl.Enum(column["categories"]) if kind == "Enum" else getattr(pl, kind)
        columns.append(pl.Series(name, cells, dtype=dtype))
    return pl.DataFrame(columns)
