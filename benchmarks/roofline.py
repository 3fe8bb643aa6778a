"""Processor time that one run spends in the bare model and in the density.

`measured` wraps what computes: the user's own model (the pipeline and its steps), the scores in
`scfe_sklearn.models`, automatic differentiation, and everything of `scfe_sklearn.densities` that
other packages call. Calls within calls count once. What is left of the run is the solver, rules,
encoding, decoding and the report.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch

SCORES = ("scores", "response")
"""How methods of `scfe_sklearn.models` begin that compute scores."""
ESTIMATOR = ("predict", "predict_proba", "decision_function", "transform")
"""Methods of the user's model and its steps."""
LOG_DENSITIES = ("log_prob", "nearest", "value_from")
"""How methods of `scfe_sklearn.densities` begin that compute log-densities."""


@dataclass
class Clock:
    """Seconds of processor time, and number of calls, by what they computed."""

    seconds: dict[str, float] = field(default_factory=lambda: {"model": 0.0, "density": 0.0})
    calls: dict[str, int] = field(default_factory=lambda: {"model": 0, "density": 0})
    inside: bool = False

    @property
    def total(self) -> float:
        """Seconds in model and density together."""
        return sum(self.seconds.values())

    def timed(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        """Return a function that adds its own time, unless a timed one calls it."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return function(*args, **kwargs)
            self.inside = True
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[kind] += time.process_time() - start
                self.calls[kind] += 1
                self.inside = False

        return call


@contextlib.contextmanager
def measured(model: Any) -> Iterator[Clock]:
    """Time the calls of a fitted pipeline and of the densities within the block."""
    clock, before = Clock(), []
    try:
        for owner, name, kind in _places(model):
            value = vars(owner)[name]
            before.append((owner, name, value))
            setattr(owner, name, clock.timed(_function(value), kind))
        yield clock
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def _places(model: Any) -> list[tuple[Any, str, str]]:
    """Return (class or module, name, kind) of all that is timed."""
    found: list[tuple[Any, str, str]] = [(torch.autograd, "grad", "model")]
    estimators = [model, *(step for _, step in getattr(model, "steps", ()))]
    offered = {(type(one), name) for one in estimators for name in ESTIMATOR if hasattr(one, name)}
    found += [
        (owner, name, "model")
        for owner, name in {
            (next(cls for cls in kind.__mro__ if name in vars(cls)), name) for kind, name in offered
        }
    ]
    modules = {name: module for name, module in sys.modules.items() if module is not None}
    for name, module in modules.items():
        if name.startswith("scfe_sklearn.densities"):
            found += _methods(name, module, LOG_DENSITIES, "density")
        elif name.startswith("scfe_sklearn.models"):
            found += _methods(name, module, SCORES, "model")
        elif name.startswith("scfe_sklearn."):
            # Functions of the densities that other packages call.
            for attribute, value in vars(module).items():
                origin = getattr(value, "__module__", None) or ""
                if origin.startswith("scfe_sklearn.densities") and hasattr(value, "__code__"):
                    found.append((module, attribute, "density"))
    return found


def _methods(
    name: str, module: Any, beginnings: tuple[str, ...], kind: str
) -> list[tuple[Any, str, str]]:
    """Return the methods of the classes of a module that begin in one of the given ways."""
    classes = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == name]
    return [
        (owner, attribute, kind)
        for owner in classes
        for attribute in vars(owner)
        if attribute.startswith(beginnings) and hasattr(vars(owner)[attribute], "__code__")
    ]


def _function(value: Any) -> Callable[..., Any]:
    """Return the plain function of an attribute of a class; some are methods under a condition."""
    if hasattr(value, "__code__"):
        return value  # type: ignore[no-any-return]
    return lambda self, *args, **kwargs: value.__get__(self, type(self))(*args, **kwargs)
