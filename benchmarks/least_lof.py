"""The least local outlier factor of an image within a budget, whatever a network predicts.

A yardstick for the experiment on MNIST: how low could LOF be if nothing else counted? LOF
is the mean density of the 20 nearest references times the mean reach distance to them, so it is
low where these are near, and where they are sparse. Both are searched, from many starts:

1. For fixed neighbours the mean distance is minimised by majorisation: a weighted mean of them
   is the goal, and the exact step towards it within the budget takes the pixels that differ most.
2. The set of neighbours is made soft, so that slopes show whose place in it is worth having;
   it hardens on the way. This finds neighbours that are sparse, but not the nearest by far.
3. From the best of both, single pixels are exchanged or set anew, judged by LOF itself.

What comes out is an upper bound of the least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

STARTS = 60
FINALISTS = 3
EXCHANGES = 20


@dataclass(frozen=True, eq=False)
class References:
    """The m images that a new one is compared with, as LOF needs them."""

    images: torch.Tensor
    squares: torch.Tensor
    reach: torch.Tensor
    density: torch.Tensor
    around: torch.Tensor

    @classmethod
    def of(cls, X: np.ndarray, neighbours: int) -> References:
        """Compute the reach distances and local densities of the rows of ``X`` (m, D)."""
        near, index = NearestNeighbors(n_neighbors=neighbours).fit(X).kneighbors()
        density = 1 / np.maximum(near, near[:, -1][index]).mean(axis=1)
        images = torch.from_numpy(X).float()
        return cls(
            images,
            images.square().sum(1),
            torch.from_numpy(near[:, -1]).float(),
            torch.from_numpy(density).float(),
            torch.from_numpy(index),
        )

    @property
    def neighbours(self) -> int:
        """Number of neighbours that count."""
        return self.around.shape[1]

    def squared(self, z: torch.Tensor) -> torch.Tensor:
        """Squared distances (n, m) of images (n, D)."""
        products = z @ self.images.T
        return (z.square().sum(1, keepdim=True) + self.squares - 2 * products).clamp_min(1e-9)

    def nearest(self, z: torch.Tensor) -> torch.Tensor:
        """Positions (n, k) of the neighbours of images (n, D)."""
        return self.squared(z).topk(self.neighbours, dim=1, largest=False).indices

    def factor(self, squared: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """LOF (n,) from squared distances (n, s) to all images or to the ``rows`` (s,)."""
        near, place = squared.topk(self.neighbours, dim=1, largest=False)
        index = place if rows is None else rows[place]
        reach = torch.maximum(near.sqrt(), self.reach[index])
        return self.density[index].mean(1) * reach.mean(1)


@dataclass(frozen=True, eq=False)
class Budget:
    """The changes of an image (D,) that are allowed."""

    image: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    changes: int
    norm: float

    def nearest(self, z: torch.Tensor) -> torch.Tensor:
        """Return images (n, D) within the budget, nearest to ``z`` if the norm does not bind."""
        wanted = z - self.image
        change = z.clamp(self.lower, self.upper) - self.image
        gain = wanted.square() - (wanted - change).square()
        keep = gain.topk(self.changes, dim=1).indices
        change = torch.zeros_like(z).scatter_(1, keep, change.gather(1, keep))
        size = change.norm(dim=1, keepdim=True).clamp_min(1e-9)
        return self.image + change * (self.norm / size).clamp_max(1)


def least(references: References, budget: Budget) -> torch.Tensor:
    """Return the image (D,) of the least LOF that is found within the budget."""
    sets = _neighbourhoods(references, budget)
    goals = references.images[sets].mean(1)
    size = min(50, len(references.images))
    own = references.images[references.squared(budget.image[None])[0].topk(size, largest=False)[1]]
    # Away from what is near now, the more the larger the share.
    away = [(goals - share * own.mean(0)) / (1 - share) for share in (0.0, 0.4, 0.7, 0.9)]
    pulled = _pulled(references, budget, sets)
    begun = budget.nearest(torch.cat([budget.image[None], pulled, *away]))
    # Some that do not look well yet: from there other neighbours are found.
    begun = torch.cat([_best(references, begun, STARTS), begun[:: max(len(begun) // STARTS, 1)]])
    soft = _softly(references, budget, begun, 120, (2.0, 0.1), (4.0, 0.15))
    soft = _softly(references, budget, _best(references, soft, 40), 80, (0.5, 0.03), (1.5, 0.05))
    ends = torch.cat([_best(references, pulled, 2), _best(references, soft, 2)])
    found = torch.stack(
        [_exchanged(references, budget, z) for z in _best(references, ends, FINALISTS)]
    )
    return _best(references, found, 1)[0]


def _best(references: References, z: torch.Tensor, count: int) -> torch.Tensor:
    """Return the ``count`` images of the least LOF."""
    order = references.factor(references.squared(z)).argsort()
    return z[order[:count]]


def _neighbourhoods(references: References, budget: Budget) -> torch.Tensor:
    """Sets (n, k) of neighbours that promise a low LOF."""
    apart = (references.images - budget.image).square()
    rest = apart.sum(1) - apart.topk(budget.changes, dim=1).values.sum(1)
    alone = rest.clamp_min(0).sqrt() * references.density
    mean = references.images[references.around].mean(1)
    gain = (mean - budget.image).square().topk(budget.changes, dim=1).values.sum(1)
    together = (apart.sum(1)[references.around].mean(1) - gain).clamp_min(0).sqrt()
    together = together * references.density[references.around].mean(1)
    count = min(STARTS, len(mean))
    first = [score.topk(count, largest=False).indices for score in (alone, together)]
    return references.around[torch.cat(first)]


def _pulled(references: References, budget: Budget, sets: torch.Tensor) -> torch.Tensor:
    """Go where the given sets (n, k) are nearest, then the images' own neighbours."""
    z = best = budget.image.expand(len(sets), -1)
    low = torch.full((len(sets),), torch.inf)
    for step in range(30):
        if step >= 6 and step % 2 == 0:
            sets = references.nearest(z)
        z = _nearer(references, budget, z, sets)
        factor = references.factor(references.squared(z))
        best = torch.where((factor < low)[:, None], z, best)
        low = torch.minimum(factor, low)
    return best


def _softly(
    references: References,
    budget: Budget,
    z: torch.Tensor,
    steps: int,
    blur: tuple[float, float],
    lengths: tuple[float, float],
) -> torch.Tensor:
    """Descend on LOF with neighbours that count by a sigmoid of their distance."""
    best, way = z, torch.zeros_like(z)
    low = torch.full((len(z),), torch.inf)
    k = references.neighbours
    for step in range(steps + 1):
        squared = references.squared(z)
        factor = references.factor(squared)
        best = torch.where((factor < low)[:, None], z, best)
        low = torch.minimum(factor, low)
        share = step / steps
        width = blur[0] * (blur[1] / blur[0]) ** share
        distance = squared.sqrt()
        border = distance.topk(k + 1, dim=1, largest=False).values[:, k - 1 :].mean(1, True)
        member = torch.sigmoid((border - distance) / width)
        total = member.sum(1, keepdim=True)
        reach = torch.maximum(distance, references.reach)
        density = (member * references.density).sum(1, keepdim=True) / total
        mean = (member * reach).sum(1, keepdim=True) / total
        # By a distance: what it adds itself, and what its neighbour's place in the set adds.
        worth = (references.density / density - 1) + (reach / mean - 1)
        slope = (
            member * (distance > references.reach) / mean - member * (1 - member) / width * worth
        )
        slope = slope / total / distance
        down = slope @ references.images - slope.sum(1, keepdim=True) * z
        stuck = torch.where(down > 0, z >= budget.upper, z <= budget.lower)
        down = down.masked_fill(stuck, 0)
        way = 0.6 * way + down / down.norm(dim=1, keepdim=True).clamp_min(1e-12)
        z = budget.nearest(z + lengths[0] * (lengths[1] / lengths[0]) ** share * way)
    return best


def _exchanged(references: References, budget: Budget, z: torch.Tensor) -> torch.Tensor:
    """Exchange pixels one by one, or set them anew, while that lowers LOF."""
    for _ in range(EXCHANGES):
        before = references.factor(references.squared(z[None]))
        other = pulled = _exchange(references, budget, z, before)[None]
        for _ in range(3):
            pulled = _nearer(references, budget, pulled, references.nearest(pulled))
        other = _best(references, torch.cat([other, pulled]), 1)[0]
        if references.factor(references.squared(other[None])) >= before - 2e-5:
            return z
        z = other
    return z


def _nearer(
    references: References, budget: Budget, z: torch.Tensor, sets: torch.Tensor
) -> torch.Tensor:
    """Lower the mean reach distance of images (n, D) to sets (n, k): a step of majorisation."""
    points = references.images[sets]
    distance = (points - z[:, None]).norm(dim=2).clamp_min(1e-6)
    # Those within their reach distance are near enough.
    weight = (distance > references.reach[sets]) / distance + 1e-6
    return budget.nearest(torch.einsum("nk,nkd->nd", weight / weight.sum(1, True), points))


def _exchange(
    references: References, budget: Budget, z: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """Return ``z`` (D,) after the one exchange that lowers LOF most."""
    image = budget.image
    rows = references.squared(z[None])[0].topk(min(300, len(references.images)), largest=False)[1]
    points = references.images[rows]
    squared = (points - z).square().sum(1)
    on = (z != image).nonzero()[:, 0]
    goal = points[: references.neighbours].mean(0)
    open_ = budget.upper > budget.lower
    off = open_ & (z == image)
    drift = torch.maximum((goal - z).abs(), 2 * (goal - points[:100].mean(0)).abs())
    new = drift.masked_fill(~off, -1).topk(min(80, int(off.sum()))).indices
    best, least_ = z, before[0] - 2e-5
    for out in [None, *on.tolist()]:
        # Without one that leaves: set one anew, or take one more if there is room.
        base = z if out is None else z.index_copy(0, torch.tensor([out]), image[out : out + 1])
        into = on if out is None else new
        if out is None and len(on) < budget.changes:
            into = torch.cat([on, new])
        now, aim = z[into], goal[into]
        values = [budget.lower[into], budget.upper[into], aim, (aim + now) / 2]
        values += [1.5 * aim - 0.5 * now, now - 0.15, now + 0.15]
        levels = torch.stack(values).clamp(budget.lower[into], budget.upper[into])
        start = squared if out is None else squared + _moved(points, z, image, out)
        theirs = points[:, into].T
        moved = (levels[..., None] - theirs).square() - (now[:, None] - theirs).square()
        factor = references.factor((start + moved).flatten(0, 1), rows)
        size = (levels - image[into]).square() - (now - image[into]).square()
        size = size.flatten() + (base - image).square().sum()
        factor = factor.masked_fill(size > budget.norm**2 + 1e-4, torch.inf)
        place = int(factor.argmin())
        if factor[place] < least_:
            least_ = factor[place]
            pixel = into[place % len(into) : place % len(into) + 1]
            best = base.index_copy(0, pixel, levels.flatten()[place : place + 1])
    return best


def _moved(points: torch.Tensor, z: torch.Tensor, image: torch.Tensor, out: int) -> torch.Tensor:
    """Gain of the squared distances to ``points`` when a pixel goes back to the image's own."""
    theirs = points[:, out]
    return (image[out] - theirs).square() - (z[out] - theirs).square()
