"""The target that options describe."""

from __future__ import annotations

from typing import Any

from scfe_sklearn.cli.levels import match_texts
from scfe_sklearn.cli.refusal import Refusal, unknown
from scfe_sklearn.targets import Interval, Probability


def wanted(
    explainer: Any, labels: list[str] | None, at_least: float | None, at_most: float | None
) -> Any:
    """Read ``--target``, ``--at-least`` and ``--at-most``.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted.
    labels : list of str or None
        Classes of which any would do; None for the nearest other one.
    at_least : float or None
        Least probability of these classes; for a regressor the least value.
    at_most : float or None
        Greatest probability of these classes; for a regressor the greatest value.

    Returns
    -------
    label, Probability, set, Interval or None
        As ``explain`` takes it.

    Raises
    ------
    Refusal
        If they do not fit the model.
    """
    if not hasattr(explainer, "classes_"):
        return _values(labels, at_least, at_most)
    if labels is None:
        for name, limit in (("--at-least", at_least), ("--at-most", at_most)):
            if limit is not None:
                raise Refusal(f"The '{name}' option needs '--target', the class that it is about.")
        return None
    classes = explainer.classes_.tolist()
    found = match_texts(dict.fromkeys(labels), classes)
    for label in labels:
        if label not in found:
            raise unknown("--target", "a class", classes, label)
    targets = [found[label] for label in dict.fromkeys(labels)]
    if at_least is not None or at_most is not None:
        _check_probabilities(at_least, at_most)
        targets = [Probability(label, at_least, at_most) for label in targets]
    return targets[0] if len(targets) == 1 else set(targets)


def _values(labels: list[str] | None, at_least: float | None, at_most: float | None) -> Interval:
    if labels is not None:
        raise Refusal(
            "The '--target' option is for classifiers. For a regressor use '--at-least', "
            "'--at-most' or both."
        )
    if at_least is None and at_most is None:
        raise Refusal("A regressor needs the '--at-least' or '--at-most' option, or both.")
    if at_least is not None and at_most is not None and not at_least < at_most:
        raise Refusal(
            "The '--at-least' option must be below '--at-most'. "
            f"Got {at_least:g} and {at_most:g} instead."
        )
    return Interval(at_least, at_most)


def _check_probabilities(at_least: float | None, at_most: float | None) -> None:
    """Refuse limits that are no probabilities, or in the wrong order."""
    if at_least is not None and not 0 < at_least <= 1:
        raise Refusal(
            "The '--at-least' option must be a probability in (0, 1] for a classifier. "
            f"Got {at_least:g} instead."
        )
    if at_most is not None and not 0 <= at_most < 1:
        raise Refusal(
            "The '--at-most' option must be a probability in [0, 1) for a classifier. "
            f"Got {at_most:g} instead."
        )
    if at_least is not None and at_most is not None and at_least > at_most:
        raise Refusal(
            "The '--at-least' option must not be above '--at-most'. "
            f"Got {at_least:g} and {at_most:g} instead."
        )
