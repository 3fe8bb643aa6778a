"""A random local search on raw rows that knows nothing of the solvers.

A proposal takes one to three features of the current row and sets each to the value of a training
row that has and gets the target, back to the factual value, or a step along the lattice of the
column. It is kept if it obeys the rules, the user's model gives it the target, and the objective
of benchmarks/objective.py is lower. All rows and all starts of a row advance together; each round
makes WIDTH proposals for each and keeps the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.objective import RawObjective

WIDTH = 24
"""Proposals of a round for each row and start."""
NEAREST = 64
"""Training rows nearest to the factual, from which half of the values are taken."""
FINE = 1e-4
"""Smallest step of a continuous column, in standard deviations."""
DENSE = 0.2
"""Share of the proposals that move all numbers towards the factual, if there are any."""
PATIENCE = 40, 0.2
"""Rounds without a better proposal after which a point rests: at least, and of all rounds."""
LEAST = 1e-9
"""Improvement that counts."""


@dataclass(eq=False)
class Chains:
    """Current points of a search: codes, the row that each belongs to, and the objective."""

    codes: np.ndarray
    row: np.ndarray
    cost: np.ndarray


class LocalSearch:
    """Search the neighbourhood of given starts.

    Parameters
    ----------
    objective : RawObjective
    factual : ndarray of shape (n, d)
        Codes of the rows.
    floor : ndarray of shape (n,)
        Log-density that an answer must have.
    seed : int
    """

    def __init__(
        self, objective: RawObjective, factual: np.ndarray, floor: np.ndarray, seed: int
    ) -> None:
        self.objective, self.factual, self.floor = objective, factual, floor
        self._random = np.random.default_rng(seed)
        case, label = objective.case, objective.case.loans.target
        gets = case.model.predict(case.X) == label
        has = np.asarray(case.y) == label
        self.donors = objective.training[gets & has if (gets & has).any() else gets]
        self.near = self._nearest(NEAREST)
        self._free = self.donors.min(axis=0) < self.donors.max(axis=0)
        self._free[objective.fixed] = False
        step = np.nan_to_num(objective.explainer.space_.step_)
        self._step = np.where(step > 0, step, FINE * objective.spread)
        self._width = np.maximum(objective.high - objective.low, self._step)

    def cost(
        self, codes: np.ndarray, row: np.ndarray, below: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the objective (m,), infinite where a point is no answer or not ``below`` (m,)."""
        objective, factual = self.objective, self.factual[row]
        out = np.full(len(codes), np.inf)
        price = objective.price(codes, factual)
        left = objective.admissible(codes, factual)
        if below is not None:  # the density cannot make up for such a price
            left &= price - objective.weight * (objective.quartiles[2] + objective.unit) < below
        left = np.flatnonzero(left)
        if len(left):
            left = left[objective.valid(codes[left])]
        if len(left) and (objective.weight or np.isfinite(self.floor).any()):
            density = objective.log_density(codes[left])
            kept = density >= self.floor[row[left]]
            left, density = left[kept], density[kept]
            out[left] = price[left] - objective.weight * density
        else:
            out[left] = price[left]
        return out

    def chains(self, codes: np.ndarray, row: np.ndarray) -> Chains:
        """Return the points as starts; those that are no answers have an infinite objective."""
        return Chains(codes.copy(), row, self.cost(codes, row))

    def training_starts(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return training rows that obey the rules, near ones, and the rows that they are for."""
        codes, row = [], []
        for i, factual in enumerate(self.factual):
            near = self.donors[self.near[i]]
            near[:, self.objective.fixed] = factual[self.objective.fixed]
            admissible = np.flatnonzero(
                (near[:, self.objective.rising] >= factual[self.objective.rising]).all(axis=1)
            )[:count]
            codes.append(near[admissible])
            row.append(np.full(len(admissible), i))
        return np.concatenate(codes), np.concatenate(row)

    def run(self, chains: Chains, rounds: int, dense: bool = False) -> None:
        """Improve the points in place.

        With ``dense`` some proposals also move all changed numbers towards the factual, by the
        same share: then one feature can make up for many.
        """
        idle, patience = np.zeros(len(chains.row)), max(PATIENCE[0], PATIENCE[1] * rounds)
        for _ in range(rounds):
            active = np.flatnonzero(idle < patience)
            if len(active) == 0:
                break
            better = self._round(chains, active, dense)
            idle[active] += 1
            idle[better] = 0

    def _round(self, chains: Chains, active: np.ndarray, dense: bool) -> np.ndarray:
        """Make WIDTH proposals for each active point; return the points that became better."""
        m = len(active)
        parent = np.repeat(active, WIDTH)
        codes = self._proposals(chains.codes[parent], chains.row[parent], dense)
        cost = self.cost(codes, chains.row[parent], chains.cost[parent]).reshape(m, WIDTH)
        best = cost.argmin(axis=1)
        value = cost[np.arange(m), best]
        better = np.flatnonzero(value < chains.cost[active] - LEAST)
        chains.codes[active[better]] = codes.reshape(m, WIDTH, -1)[better, best[better]]
        chains.cost[active[better]] = value[better]
        return active[better]

    def _proposals(self, codes: np.ndarray, row: np.ndarray, dense: bool) -> np.ndarray:
        """Return the points with one to three features changed at random."""
        random, objective = self._random, self.objective
        factual = self.factual[row]
        m, d = codes.shape
        changed = objective.changed(codes, factual)
        # Half of the features that are taken have changed already, about.
        count = np.maximum(changed.sum(axis=1, keepdims=True), 1)
        weight = np.where(changed, max(self._free.sum(), 1) / count, 1.0) * self._free
        with np.errstate(divide="ignore"):
            keys = np.log(random.random((m, d))) / weight
        order = np.argsort(-keys, axis=1)[:, :3]
        size = random.choice([1, 2, 3], size=m, p=[0.45, 0.35, 0.2])
        out = self._drawn(codes, factual, dense)
        donor = self._donors(row)
        for k in range(min(3, d)):
            at = np.flatnonzero((size > k) & self._free[order[:, k]])
            feature = order[at, k]
            out[at, feature] = self._values(codes, factual, donor, at, feature)
        return out

    def _drawn(self, codes: np.ndarray, factual: np.ndarray, dense: bool) -> np.ndarray:
        """Return the points, some of them with all numbers moved towards the factual."""
        random = self._random
        out = codes.copy()
        if dense:
            at = np.flatnonzero(random.random(len(codes)) < DENSE)
            share = random.random((len(at), 1)) ** 3
            part = self.objective.snapped(codes[at] + share * (factual[at] - codes[at]))
            numeric = np.setdiff1d(np.arange(codes.shape[1]), self.objective.categorical)
            moved = self.objective.changed(codes[at], factual[at])[:, numeric]
            out[np.ix_(at, numeric)] = np.where(moved, part[:, numeric], factual[at][:, numeric])
        return out

    def _values(
        self,
        codes: np.ndarray,
        factual: np.ndarray,
        donor: np.ndarray,
        at: np.ndarray,
        feature: np.ndarray,
    ) -> np.ndarray:
        """Return new values for one feature of each of the points ``at``."""
        random = self._random
        now, back = codes[at, feature], factual[at, feature]
        kind = random.random(len(at))
        given = donor[at, feature]
        # Steps of all sizes, up to the width of the column, in either direction.
        step, width = self._step[feature], self._width[feature]
        size = step * np.maximum(1, np.exp(random.random(len(at)) * np.log(width / step)).round())
        moved = now + random.choice([-1.0, 1.0], size=len(at)) * size
        part = now + random.random(len(at)) * (back - now)
        numeric = ~np.isin(feature, self.objective.categorical)
        value = np.where(kind < 0.3, given, np.where(kind < 0.5, back, given))
        steps = numeric & (kind >= 0.5)
        value[steps] = np.where(kind < 0.8, moved, part)[steps]
        low = np.minimum(self.objective.low[feature], back)
        high = np.maximum(self.objective.high[feature], back)
        value[steps] = self._snap(np.clip(value, low, high)[steps], feature[steps])
        return np.asarray(value)

    def _snap(self, values: np.ndarray, feature: np.ndarray) -> np.ndarray:
        """Return the nearest values that the columns can have."""
        space = self.objective.explainer.space_
        wide = np.tile(space.center_, (len(values), 1))
        wide[np.arange(len(values)), feature] = values
        return np.asarray(self.objective.snapped(wide)[np.arange(len(values)), feature])

    def _donors(self, row: np.ndarray) -> np.ndarray:
        """Return a training row for each point: near the factual or any."""
        random = self._random
        near = self.near[row, random.integers(self.near.shape[1], size=len(row))]
        anywhere = random.integers(len(self.donors), size=len(row))
        return np.asarray(self.donors[np.where(random.random(len(row)) < 0.5, near, anywhere)])

    def _nearest(self, count: int) -> np.ndarray:
        """Return the positions (n, count) of the nearest donors by squared distance."""
        objective = self.objective
        found = []
        for factual in self.factual:
            gap = ((self.donors - factual) / objective.spread) ** 2
            gap[:, objective.categorical] = gap[:, objective.categorical] > 0
            found.append(np.argsort(gap.sum(axis=1), kind="stable")[:count])
        return np.array(found)
