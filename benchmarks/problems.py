"""A published table as the solvers see it: coordinates, boxes, and the objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.datasets import Table
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.objective import ClassMargin, PlausibilityTerm, RowObjective
from scfe_sklearn.targets import class_target


@dataclass(frozen=True, eq=False)
class TableProblem:
    """Queries that the model does not yet give their target, in solver coordinates."""

    rows: np.ndarray
    factual: torch.Tensor
    target: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    objective: RowObjective
    parts: list[PlausibilityTerm]

    @classmethod
    def of(cls, explainer: CounterfactualExplainer, table: Table) -> TableProblem:
        """Collect them; a box reaches from the least to the largest training value."""
        rows = np.flatnonzero(explainer.estimator_.predict(table.queries) != table.targets)
        space, target = explainer.space_, table.targets[rows]
        functions = explainer._score_functions(None, None)
        targets = class_target(target, 1 - target, explainer.classes_)
        engine = explainer._engine(functions, targets, 1)
        parts = [engine.plausible(code) for code in (0, 1)]
        training = torch.from_numpy(space.encode(table.X))
        factual = torch.from_numpy(space.encode(table.queries[rows]))
        return cls(
            rows,
            factual,
            torch.from_numpy(target),
            torch.minimum(training.amin(0), factual),
            torch.maximum(training.amax(0), factual),
            RowObjective(
                engine.models,
                engine.has_gradient,
                parts,
                torch.from_numpy(target),
                ClassMargin(torch.from_numpy(target)),
            ),
            parts,
        )

    def cost(self, row: int, z: torch.Tensor) -> torch.Tensor:
        """Objective of points ``z`` (k, D) for one row, infinite where they are not valid."""
        objective = self.objective.take(torch.tensor([row]))
        value = ((z - self.factual[row]) ** 2).sum(1) - objective.plausibility(z[None])[0]
        return torch.where(objective.margin(z[None])[0] > 0, value, torch.inf)

    def costs(self, z: torch.Tensor) -> torch.Tensor:
        """Objective of one point per row, ``z`` (n, D); infinite also for missing values."""
        values = [self.cost(row, point[None]) for row, point in enumerate(z.nan_to_num())]
        return torch.where(z.isnan().any(1), torch.inf, torch.cat(values))
