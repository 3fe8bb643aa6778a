"""Rules from options and from a JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scfe_sklearn.cli.messages import INPUT, Refusal, unknown
from scfe_sklearn.cli.tables import match_texts
from scfe_sklearn.rules import FLAGS, PARAMETERS, Relative

KINDS = ("categorical", "integer", "continuous")
ONLY_FIT = (*KINDS, "ordinal", "steps")
KNOWN = (*PARAMETERS, *ONLY_FIT)

EXAMPLE = """\
a file of rules, every part of it optional:
  {"immutable": ["sex"], "increasing": ["age"], "decreasing": ["late_payments"],
   "ranges": {"debt_ratio": [0.05, 0.6], "income": {"low": 1, "high": 1.25, "factor": true},
              "credit_score": {"low": -80, "high": 80, "relative": true}},
   "transitions": {"housing": {"rent": ["mortgage"], "own": []}},
   "relations": ["loan_amount <= 0.5 * income"],
   "implications": [{"if": {"status": "student"}, "then": {"income": [null, 30000]}}],
   "costs": {"age": 5}, "fillable": ["savings"], "strict": true}
and for 'fit' also "steps": {"income": 100}, "ordinal": {"education": ["low", "high"]},
"categorical", "integer" and "continuous": lists of columns"""


class Columns:
    """Names of columns and their levels, as training had them.

    Parameters
    ----------
    names : sequence
        Names.
    levels : dict
        Levels of the columns that have some.
    """

    def __init__(self, names: Sequence[Any], levels: Mapping[Any, Iterable[Any]]) -> None:
        self.names = list(names)
        self.levels = dict(levels)

    def named(self, option: str, texts: Any) -> list[Any]:
        """The columns that texts name."""
        if not isinstance(texts, list):
            raise Refusal(f"The {option!r} option must list columns. Got {texts!r} instead.")
        found = match_texts([str(text) for text in texts], self.names)
        for text in texts:
            if str(text) not in found:
                raise unknown(option, "a column", self.names, str(text))
        return [found[str(text)] for text in texts]

    def one(self, option: str, text: str) -> Any:
        """The column that a text names."""
        return self.named(option, [text])[0]

    def level(self, option: str, column: Any, value: Any) -> Any:
        """The level of a column that a value of JSON means."""
        if column not in self.levels:
            return _as_number(value)  # names of JSON are texts, also those of numbers
        if value is None:
            return value
        text = value if isinstance(value, str) else json.dumps(value)
        known = [level for level in self.levels[column] if level == level and level is not None]
        found = match_texts([text], known)
        if text not in found:
            raise unknown(option, f"a level of {column!r}", known, text)
        return found[text]


def _as_number(value: Any) -> Any:
    """Return a text as a number, if it is one."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def rule_parameters(
    columns: Columns, given: Mapping[str, list[str] | None], file: str | None, fitting: bool
) -> dict[str, Any]:
    """Read the rules of the command line and of a file.

    Parameters
    ----------
    columns : Columns
        Of the training data.
    given : dict
        ``{"immutable": names or None, ...}`` as options gave them.
    file : str or None
        Name of a JSON file.
    fitting : bool
        Whether what describes columns is allowed, beside what is allowed of changes.

    Returns
    -------
    dict
        Parameters of `Rules`, when fitting of `CounterfactualExplainer`.

    Raises
    ------
    Refusal
        If the file cannot be read, or something names a column or level that there is not.
    """
    found = _from_file(columns, file, fitting) if file else {}
    for name, texts in given.items():
        if texts:
            more = columns.named(f"--{name}", list(texts))
            found[name] = list(dict.fromkeys([*found.get(name, []), *more]))
    return found


def _from_file(columns: Columns, file: str, fitting: bool) -> dict[str, Any]:
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
        content = json.loads(text, object_pairs_hook=_distinct)
    except OSError as error:
        raise Refusal(
            f"The '--rules' file {file!r} cannot be read: {error.strerror}.", INPUT
        ) from (error)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"The '--rules' file {file!r} must be JSON: {error}.", INPUT) from error
    if not isinstance(content, dict):
        raise Refusal(f"The '--rules' file {file!r} must hold a JSON object.", INPUT)
    found = {}
    for name, value in content.items():
        option = f"--rules, {name}"
        if name not in KNOWN:
            raise unknown("--rules", "rules", KNOWN, name)
        if name in ONLY_FIT and not fitting:
            raise Refusal(
                f"The '--rules' file {file!r} must not hold {name!r}, which describes the training "
                "data and is for 'fit'."
            )
        found[name] = _READERS.get(name, _weights)(columns, option, value)
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there more than once")
    return dict(pairs)


def _as_dict(option: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(f"The {option!r} option must be a JSON object. Got {value!r} instead.")
    return value


def _as_list(option: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refusal(f"The {option!r} option must be a JSON list. Got {value!r} instead.")
    return value


def _ranges(columns: Columns, option: str, value: Any) -> dict[Any, Any]:
    found = {}
    for text, limits in _as_dict(option, value).items():
        column = columns.one(option, text)
        found[column] = _range(columns, option, column, limits)
    return found


def _range(columns: Columns, option: str, column: Any, limits: Any) -> Any:
    if isinstance(limits, list) and len(limits) == 2:
        limits = dict(zip(("low", "high"), limits, strict=True))
    keys = set(limits) if isinstance(limits, dict) else {""}
    flags = [limits[key] for key in ("relative", "factor") if key in keys]
    if not keys <= {"low", "high", "relative", "factor"} or not all(
        isinstance(flag, bool) for flag in flags
    ):
        raise Refusal(
            f"The {option!r} option must give {column!r} as [low, high] or "
            '{"low": ..., "high": ..., "relative" or "factor": true}. '
            f"Got {limits!r} instead."
        )
    low, high = limits.get("low"), limits.get("high")
    if limits.get("factor") or limits.get("relative"):
        _check_numbers(option, column, low, high)
        return Relative(low, high, factor=bool(limits.get("factor")))
    if column in columns.levels:
        return columns.level(option, column, low), columns.level(option, column, high)
    _check_numbers(option, column, low, high)
    return low, high


def _check_numbers(option: str, column: Any, *values: Any) -> None:
    for value in values:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not number:
            raise Refusal(
                f"The {option!r} option must limit {column!r} by numbers or null. "
                f"Got {value!r} instead."
            )


def _transitions(columns: Columns, option: str, value: Any) -> dict[Any, Any]:
    found = {}
    for text, moves in _as_dict(option, value).items():
        column = columns.one(option, text)
        found[column] = {
            columns.level(option, column, level): [
                columns.level(option, column, goal) for goal in _as_list(option, goals)
            ]
            for level, goals in _as_dict(option, moves).items()
        }
    return found


def _implications(columns: Columns, option: str, value: Any) -> list[Any]:
    found = []
    for pair in _as_list(option, value):
        if not isinstance(pair, dict) or set(pair) != {"if", "then"}:
            raise Refusal(
                f'The {option!r} option must list objects {{"if": ..., "then": ...}}. '
                f"Got {pair!r} instead."
            )
        found.append(tuple(_condition(columns, option, pair[part]) for part in ("if", "then")))
    return found


def _condition(columns: Columns, option: str, value: Any) -> dict[Any, Any]:
    """A level, a list of levels, or for numbers and {"low", "high"} an interval."""
    found: dict[Any, Any] = {}
    for text, what in _as_dict(option, value).items():
        column = columns.one(option, text)
        if isinstance(what, dict) or (isinstance(what, list) and column not in columns.levels):
            found[column] = _range(columns, option, column, what)
        elif isinstance(what, list):
            found[column] = {columns.level(option, column, level) for level in what}
        else:
            found[column] = columns.level(option, column, what)
    return found


def _ordinal(columns: Columns, option: str, value: Any) -> dict[Any, Any]:
    found = {}
    for text, levels in _as_dict(option, value).items():
        column = columns.one(option, text)
        found[column] = [_declared(columns, column, level) for level in _as_list(option, levels)]
    return found


def _declared(columns: Columns, column: Any, value: Any) -> Any:
    """A level in the type that the data has; one that the data does not have as it is."""
    text = value if isinstance(value, str) else json.dumps(value)
    return match_texts([text], columns.levels.get(column, ())).get(text, value)


def _weights(columns: Columns, option: str, value: Any) -> dict[Any, Any]:
    return {columns.one(option, name): w for name, w in _as_dict(option, value).items()}


def _flag(columns: Columns, option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refusal(f"The {option!r} option must be true or false. Got {value!r} instead.")
    return value


def _texts(columns: Columns, option: str, value: Any) -> list[Any]:
    return _as_list(option, value)


_READERS: dict[str, Callable[[Columns, str, Any], Any]] = {
    **dict.fromkeys((*FLAGS, *KINDS), Columns.named),
    "ranges": _ranges,
    "transitions": _transitions,
    "implications": _implications,
    "relations": _texts,
    "ordinal": _ordinal,
    "costs": _weights,
    "steps": _weights,
    "strict": _flag,
}
