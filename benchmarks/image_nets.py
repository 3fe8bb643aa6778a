"""The small networks and images of the image benchmarks, read from the weights folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.datasets import data_file

FOLDER = os.environ.get("SCFE_DATA")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class _Block(nn.Module):
    """A basic block with batch norm and the parameter-free shortcut of the CIFAR ResNets."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.stride, self.extra = stride, (outer - inner) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.stride > 1:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return functional.relu(out + x)


class ResNet20(nn.Module):
    """ResNet-20 of He et al. 2016 for 32 x 32 images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        stages, inner = [], 16
        for outer, stride in ((16, 1), (32, 2), (64, 2)):
            blocks = [_Block(inner if k == 0 else outer, outer, stride if k == 0 else 1)
                      for k in range(3)]  # fmt: skip
            stages.append(nn.Sequential(*blocks))
            inner = outer
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean(dim=(2, 3)))


class _Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut."""

    def __init__(self, inner: int, middle: int, stride: int) -> None:
        super().__init__()
        outer = 4 * middle
        self.body = nn.Sequential(
            nn.Conv2d(inner, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(),
            nn.Conv2d(middle, outer, 1, bias=False), nn.BatchNorm2d(outer),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if inner != outer or stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet50(n_classes: int = 1000) -> nn.Module:
    """ResNet-50 of He et al. 2016 for 224 x 224 images, untrained: its time is what counts."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inner = 64
    for middle, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for k in range(blocks):
            layers.append(_Bottleneck(inner, middle, stride if k == 0 else 1))
            inner = 4 * middle
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, n_classes))


class _PlainBlock(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1)
        self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class ResNet4b(nn.Module):
    """A small residual network without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.layer1 = nn.Sequential(_PlainBlock(16, 32, 2), _PlainBlock(32, 32, 1))
        self.layer2 = nn.Sequential(_PlainBlock(32, 32, 2), _PlainBlock(32, 32, 1))
        self.linear1, self.linear2 = nn.Linear(512, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer2(self.layer1(functional.relu(self.conv1(x))))
        return self.linear2(functional.relu(self.linear1(out.flatten(1))))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2048, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip


def _digits_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(),
        nn.Linear(200, 10),
    )  # fmt: skip


@dataclass(frozen=True)
class Net:
    """A network: how to build it, its file, its images and its normalization."""

    build: Callable[[], nn.Module]
    file: str
    images: str
    normalization: tuple[object, object] | None


NETS = {
    "resnet20": Net(ResNet20, "cifar10_resnet20.npz", "cifar10_test200.npz", IMAGENET),
    "resnet4b": Net(
        ResNet4b,
        "cifar10_resnet4b_robust.npz",
        "cifar10_test200.npz",
        ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    ),
    "cnn": Net(_cnn, "cifar10_cnn_a_mix_robust.npz", "cifar10_test200.npz", (IMAGENET[0], 0.225)),
    "mnist": Net(_digits_cnn, "mnist_smallcnn_robust.npz", "mnist_test.npz", None),
}


def load(name: str, folder: str | None = FOLDER, device: str = "cpu") -> nn.Module:
    """Read a network, in eval mode."""
    net = NETS[name]
    module = net.build()
    with np.load(data_file(folder, f"weights/{net.file}")) as data:
        arrays = [torch.from_numpy(np.array(data[key])) for key in data.files]
        named = {key: torch.from_numpy(np.array(data[key])) for key in data.files}
    # Batch norm counts its batches, which the files do not keep.
    own = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    if set(named) != set(own):
        # Names differ between sources; the order of the layers does not.
        named = dict(zip(own, arrays, strict=True))
    module.load_state_dict(named, strict=False)
    return module.eval().to(device)


def images(name: str, folder: str | None = FOLDER) -> tuple[Tensor, Tensor]:
    """Read the images (n, C, H, W) in [0, 1] of a network and their labels."""
    with np.load(data_file(folder, NETS[name].images)) as data:
        x = torch.from_numpy(data["X"]).float() / 255
        y = torch.from_numpy(data["y"].astype(np.int64))
    return (x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)).contiguous(), y


def correct(
    name: str, count: int, skip: int = 0, folder: str | None = FOLDER, device: str = "cpu"
) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network and ``count`` images that it classifies correctly, with their labels."""
    module = load(name, folder, device)
    x, y = images(name, folder)
    if name == "mnist":
        # The file is sorted by class.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:2000]
        x, y = x[order], y[order]
    shown = x
    if NETS[name].normalization is not None:
        mean, std = (torch.as_tensor(v).reshape(1, -1, 1, 1) for v in NETS[name].normalization)
        shown = (x - mean) / std
    with torch.no_grad():
        parts = [module(part.to(device)).argmax(1).cpu() for part in shown.split(200)]
    right = (torch.cat(parts) == y).nonzero()[:, 0]
    print(f"{name}: {len(right)} of {len(x)} images are classified correctly")
    right = right[skip : skip + count]
    return module, x[right].to(device), y[right].to(device)
