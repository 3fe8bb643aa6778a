"""Superpixels against k-means written as loops, and regions against a choice by hand."""

import numpy as np
import pytest
import torch

from scfe_sklearn.image.segments import salient_region, superpixels


def k_means(image, down, across, weight, n_iter):
    """SLIC of one image, pixel by pixel; empty clusters are never joined."""
    _, height, width = image.shape
    home = {
        (y, x): (y * down // height, x * across // width)
        for y in range(height)
        for x in range(width)
    }
    label = dict(home)
    for _ in range(n_iter):
        centres = {}
        for cell in set(label.values()):
            own = [key for key, value in label.items() if value == cell]
            points = [[*image[:, y, x], weight * y, weight * x] for y, x in own]
            centres[cell] = np.mean(points, axis=0)
        for y, x in label:
            point = np.array([*image[:, y, x], weight * y, weight * x])
            label[y, x] = min(
                (
                    cell
                    for cell in centres
                    if max(abs(cell[0] - home[y, x][0]), abs(cell[1] - home[y, x][1])) <= 1
                ),
                key=lambda cell: ((centres[cell] - point) ** 2).sum(),
            )
    return np.array([[label[y, x] for x in range(width)] for y in range(height)])


@pytest.mark.parametrize(
    ("shape", "n_segments"), [((2, 9, 12), 12), ((1, 8, 8), 4), ((3, 5, 7), 1)]
)
def test_superpixels_are_those_of_the_loop(shape, n_segments):
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1)).double()
    _, height, width = shape
    side = np.sqrt(height * width / n_segments)
    down, across = max(1, round(height / side)), max(1, round(width / side))
    found = superpixels(x, n_segments, compactness=0.5, n_iter=4)
    for image, labels in zip(x.numpy(), found.numpy(), strict=True):
        cells = k_means(image, down, across, 0.5 / side, 4)
        np.testing.assert_array_equal(labels, cells[..., 0] * across + cells[..., 1])


def test_superpixels_keep_to_patches_of_one_colour():
    x = torch.zeros(1, 3, 16, 16)
    x[0, 0, :, 7:] = 1
    x[0, 1, 9:] = 1
    labels = superpixels(x, 16, compactness=0.05)[0]
    patches = (x[0, 0] + 2 * x[0, 1])[None].flatten()
    for label in labels.unique():
        assert len(patches[labels.flatten() == label].unique()) == 1


def test_superpixels_batch_equals_rows():
    x = torch.rand(4, 2, 10, 7, generator=torch.Generator().manual_seed(0))
    together = superpixels(x, 6)
    for k in range(4):
        assert torch.equal(superpixels(x[k : k + 1], 6)[0], together[k])


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 1.0])
def test_regions_take_the_best_segments_first(share):
    generator = torch.Generator().manual_seed(2)
    segments = torch.randint(0, 6, (3, 6, 5), generator=generator)
    # A number that no pixel has.
    segments[segments == 4] = 3
    maps = torch.rand(3, 6, 5, generator=generator).double()
    region = salient_region(segments, maps, share)
    for labels, scores, found in zip(segments, maps, region, strict=True):
        names = sorted(set(labels.flatten().tolist()), key=lambda k: -scores[labels == k].mean())
        expected = labels == names[0]
        for name in names[1:]:
            more = expected | (labels == name)
            if more.sum() > share * 30:
                break
            expected = more
        assert torch.equal(found, expected)


def test_segments_refuse_what_makes_no_sense():
    with pytest.raises(ValueError, match="of superpixels must be positive"):
        superpixels(torch.zeros(1, 1, 4, 4), compactness=0.0)
    segments = torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="'maps' of salient_region must have shape"):
        salient_region(segments, torch.zeros(1, 4, 5))
