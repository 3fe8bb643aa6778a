"""Processor time of the bare model and density calls that one run makes.

`recorded` notes the calls of what computes, with their inputs: the user's own model (the pipeline
and its steps), the scores in `scfe_sklearn.models`, and everything of `scfe_sklearn.densities`
that other packages call. Calls within calls count once. `Calls.again` makes the same calls alone,
with gradients where the run could have used them. What a run takes beyond that is the
solver, rules, encoding, decoding and the report.
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
KINDS = ("model", "density")


@dataclass
class Calls:
    """Recorded calls, by what they computed."""

    made: dict[str, list[Callable[[], Any]]] = field(
        default_factory=lambda: {kind: [] for kind in KINDS}
    )
    inside: bool = False

    def recorded(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        """Return a function that records its calls, unless a recorded one makes them."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return function(*args, **kwargs)
            self.inside = True
            try:
                self.made[kind].append(_repeatable(function, args, kwargs))
                return function(*args, **kwargs)
            finally:
                self.inside = False

        return call

    def again(self) -> dict[str, float]:
        """Make the calls again; return the seconds of processor time of each kind."""
        seconds, self.inside = {}, True
        for kind, calls in self.made.items():
            start = time.process_time()
            for call in calls:
                call()
            seconds[kind] = time.process_time() - start
        self.inside = False
        return seconds


def _repeatable(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any]:
    """Return the call with copies of its inputs, which may change after it."""
    args = tuple(_copied(value) for value in args)
    kwargs = {name: _copied(value) for name, value in kwargs.items()}
    traced = [one for one in (*args, *kwargs.values()) if getattr(one, "requires_grad", False)]
    gradient = torch.is_grad_enabled() and bool(traced) and all(map(torch.is_tensor, traced))

    def again() -> Any:
        with torch.set_grad_enabled(gradient):
            out = function(*args, **kwargs)
            if gradient and torch.is_tensor(out) and out.requires_grad:
                torch.autograd.grad(out.sum(), traced)

    return again


def _copied(value: Any) -> Any:
    if torch.is_tensor(value):
        return torch.empty_like(value).copy_(value.detach()).requires_grad_(value.requires_grad)
    known = type(value).__module__.partition(".")[0] in ("numpy", "pandas")
    return value.copy() if known and hasattr(value, "copy") else value


@contextlib.contextmanager
def recorded(model: Any) -> Iterator[Calls]:
    """Record the calls of a fitted pipeline and of the densities within the block."""
    calls, before = Calls(), []
    try:
        for owner, name, kind in _places(model):
            value = vars(owner)[name]
            before.append((owner, name, value))
            setattr(owner, name, calls.recorded(_function(value), kind))
        yield calls
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def _places(model: Any) -> list[tuple[Any, str, str]]:
    """Return (class or module, name, kind) of all that is recorded."""
    found: list[tuple[Any, str, str]] = []
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
