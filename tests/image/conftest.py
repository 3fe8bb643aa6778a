import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional


@pytest.fixture(scope="session")
def digits():
    """A small convolutional net that knows the digits, and 12 images that it gets right."""
    X, y = load_digits(return_X_y=True)
    x = torch.from_numpy((X / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    labels = torch.from_numpy(y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip
        optimiser = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(3):
            for part in torch.randperm(1400).split(100):
                optimiser.zero_grad()
                functional.cross_entropy(net(x[part]), labels[part]).backward()
                optimiser.step()
    for parameter in net.parameters():
        parameter.grad = None
    net.eval()
    with torch.no_grad():
        right = (net(x[1400:]).argmax(1) == labels[1400:]).nonzero()[:, 0] + 1400
    assert len(right) > 300  # of 397
    return net, x[right[:12]]
