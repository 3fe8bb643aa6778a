"""AutoencoderDensity: images are plausible that a variational autoencoder can restore."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor, nn
from torch.nn import functional

from scfe_sklearn.densities.base import (
    Density,
    is_int,
    is_positive,
    parameter_error,
    to_tensor,
)
from scfe_sklearn.image.plausible.pixel_problem import PixelRows

SLOPE = 0.1


class AutoencoderDensity(Density):
    r"""Log-density by the reconstruction error of a variational autoencoder (VAE) [1]_.

    .. math:: \log q(x) = -\tfrac{1}{2 \sigma^2} \|x - V(x)\|_2^2 - D \log(\sigma \sqrt{2 \pi})

    V encodes an image to the mean of its latent posterior and decodes that, without noise;
    :math:`\sigma^2` is the mean squared error per value on the images of `fit`. What images of a
    class have in common is restored, anything else is not. It is a density of rows, as
    :class:`PlausibleImageExplainer` needs: pixels from -1 to 1, the channels of a pixel
    together; and it is fitted once per class there.

    Parameters
    ----------
    shape : (C, H, W) or None, default=None
        Of the images; H and W at least 2 ** len(channels). None: a row of D values is an image of
        one line, (1, 1, D).
    channels : tuple of int, default=(16, 32)
        Of the encoder's convolutions, each of which halves the image; the decoder mirrors them.
    latent : int in [1, inf), default=16
        Size of the latent code.
    kl_weight : float in (0, inf), default=0.02
        Weight of the divergence of the latent posterior from the standard normal distribution.
    epochs : int in [1, inf), default=60
    learning_rate : float in (0, inf), default=2e-3
        Of Adam, in batches of 64.
    random_state : int in [0, inf), default=0
        Seed of weights, batches and noise.
    device : torch.device, str or None, default=None
        Where the autoencoder is trained; None: the CPU. It is evaluated where its input is.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained autoencoder, on the CPU.
    variance_ : float
        :math:`\sigma^2`.
    scale_ : float
        :math:`2 \sigma^2`.
    shape_ : (C, H, W)
        Of the images, as fitted.
    n_features_in_ : int
        C * H * W.

    References
    ----------
    .. [1] Kingma, Welling, "Auto-encoding variational Bayes", ICLR 2014.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.repeat(np.linspace(-1, 1, 40)[:, None], 16, axis=1)
    >>> density = AutoencoderDensity((1, 4, 4), channels=(8,), latent=2, epochs=40).fit(X)
    >>> stripes = np.tile([-1.0, 1.0], 8)[None]
    >>> bool(density.score_samples(stripes)[0] < density.score_samples(X).min())
    True
    """

    def __init__(
        self,
        shape: tuple[int, int, int] | None = None,
        *,
        channels: tuple[int, ...] = (16, 32),
        latent: int = 16,
        kl_weight: float = 0.02,
        epochs: int = 60,
        learning_rate: float = 2e-3,
        random_state: int = 0,
        device: Any = None,
    ) -> None:
        self.shape = shape
        self.channels = channels
        self.latent = latent
        self.kl_weight = kl_weight
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.device = device

    def fit(self, Z: Any, y: Any = None) -> Self:
        """Train the autoencoder on the rows of Z.

        Parameters
        ----------
        Z : array-like of shape (n, H * W * C)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self._check()
        Z = validate_data(self, Z, dtype=np.float64)
        channels, height, width = self.shape or (1, 1, Z.shape[1])
        size = channels * height * width
        if Z.shape[1] != size:
            raise ValueError(
                f"The rows of AutoencoderDensity must have {size} values, one per "
                f"value of an image of shape {self.shape}. Got {Z.shape[1]} instead."
            )
        self.shape_ = (channels, height, width)
        device = torch.device("cpu" if self.device is None else self.device)
        rows = to_tensor(Z)
        images = self._images(rows).float().to(device)
        with _seeded(self.random_state):
            module = VariationalAutoencoder(self.shape_, tuple(self.channels), self.latent)
        module = module.to(device)
        noise = torch.Generator().manual_seed(self.random_state)
        optimiser = torch.optim.Adam(module.parameters(), lr=self.learning_rate)
        with torch.enable_grad():
            for _ in range(self.epochs):
                for part in torch.randperm(len(images), generator=noise).split(64):
                    optimiser.zero_grad()
                    x = images[part.to(device)]
                    error, divergence = module.losses(x, noise)
                    (error + self.kl_weight * divergence).mean().backward()
                    optimiser.step()
        for parameter in module.parameters():
            parameter.grad = None
        self.module_ = module.eval().requires_grad_(False).cpu()
        with torch.no_grad():
            errors = torch.cat([self._error(part) for part in rows.split(256)])
        self.variance_ = max(float(errors.mean()) / Z.shape[1], 1e-12)
        self.scale_ = 2 * self.variance_
        return self

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each row, (n,)."""
        z = self._input(z)
        with torch.no_grad():
            parts = [self._error(part) for part in z.split(256)]
        return self._log(torch.cat(parts) if parts else z.new_zeros(0))

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density of each row (n,) and its gradient (n, D), through the autoencoder."""
        z = self._input(z)
        values, gradients = [], []
        for part in z.split(256):
            with torch.enable_grad():
                leaf = part.detach().requires_grad_(True)
                error = self._error(leaf)
                (gradient,) = torch.autograd.grad(error.sum(), leaf)
            values.append(error.detach())
            gradients.append(gradient / -self.scale_)
        if not values:
            return z.new_zeros(0), torch.zeros_like(z)
        return self._log(torch.cat(values)), torch.cat(gradients)

    def reconstruct(self, z: Tensor) -> Tensor:
        """Return the rows (n, D) that the autoencoder makes of rows (n, D)."""
        return self._rows.flat(self._placed(z)(self._images(z)))

    def _error(self, z: Tensor) -> Tensor:
        images = self._images(z)
        return (images - self._placed(z)(images)).square().sum(dim=(1, 2, 3))

    def _log(self, error: Tensor) -> Tensor:
        size = self.n_features_in_
        return -error / self.scale_ - size / 2 * math.log(2 * math.pi * self.variance_)

    def _placed(self, like: Tensor) -> nn.Module:
        """Return the autoencoder in the type and on the device of a tensor, made once."""
        cache = self.__dict__.setdefault("_tensor_cache", {})
        key = ("module_", like.dtype, like.device)
        kept = cache.get(key)
        if kept is None or kept[0] is not self.module_:
            module = copy.deepcopy(self.module_).to(like.device, like.dtype)
            kept = cache[key] = (self.module_, module)
        return kept[1]

    @property
    def _rows(self) -> PixelRows:
        return PixelRows(self.shape_, (-1.0, 1.0))

    def _images(self, z: Tensor) -> Tensor:
        return self._rows.square(z)

    def _check(self) -> None:
        whole = isinstance(self.shape, (tuple, list)) and len(self.shape) == 3
        if self.shape is not None and not (whole and all(is_int(side, 1) for side in self.shape)):
            raise parameter_error(self, "shape", "three positive ints (C, H, W) or None")
        known = isinstance(self.channels, (tuple, list)) and len(self.channels) > 0
        if not (known and all(is_int(width, 1) for width in self.channels)):
            raise parameter_error(self, "channels", "a tuple of ints in [1, inf)")
        if self.shape is not None and min(self.shape[1:]) < 2 ** len(self.channels):
            raise parameter_error(
                self, "channels", f"at most {int(math.log2(min(self.shape[1:])))} for this shape"
            )
        for name in ("latent", "epochs"):
            if not is_int(getattr(self, name), 1):
                raise parameter_error(self, name, "an int in [1, inf)")
        for name in ("kl_weight", "learning_rate"):
            if not is_positive(getattr(self, name)):
                raise parameter_error(self, name, "a float in (0, inf)")
        if not is_int(self.random_state, 0):
            raise parameter_error(self, "random_state", "an int in [0, inf)")


class VariationalAutoencoder(nn.Module):
    """Strided convolutions to a Gaussian code, and their mirror image back.

    Parameters
    ----------
    shape : (C, H, W)
    channels : tuple of int
    latent : int

    Examples
    --------
    >>> vae = VariationalAutoencoder((3, 9, 7), (4, 8), 5)
    >>> vae(torch.rand(2, 3, 9, 7)).shape
    torch.Size([2, 3, 9, 7])
    """

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], latent: int) -> None:
        super().__init__()
        sides = [tuple(shape[1:])]
        for _ in channels:
            sides.append(tuple((side + 1) // 2 for side in sides[-1]))
        self.sides, self.deepest = sides, channels[-1]
        widths = (shape[0], *channels)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(b, a, 3, padding=1) for a, b in reversed(list(pairwise(widths)))
        )
        size = channels[-1] * math.prod(sides[-1])
        self.code = nn.Linear(size, 2 * latent)
        self.decode = nn.Linear(latent, size)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (n, latent) of the codes of images (n, C, H, W)."""
        for layer in self.down:
            x = functional.leaky_relu(layer(x), SLOPE)
        mean, log_variance = self.code(x.flatten(1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def generate(self, code: Tensor) -> Tensor:
        """Return the images (n, C, H, W) of codes (n, latent), from -1 to 1."""
        x = functional.leaky_relu(self.decode(code), SLOPE)
        x = x.reshape(len(code), self.deepest, *self.sides[-1])
        for k, layer in enumerate(self.up):
            size = self.sides[-2 - k]
            x = layer(functional.interpolate(x, size=size, mode="nearest"))
            x = torch.tanh(x) if k == len(self.up) - 1 else functional.leaky_relu(x, SLOPE)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the images of the posterior means: nothing is drawn."""
        return self.generate(self.posterior(x)[0])

    def losses(self, x: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return squared errors (n,) of images of drawn codes, and divergences (n,)."""
        mean, log_variance = self.posterior(x)
        draw = torch.randn(mean.shape, generator=noise).to(mean)
        shown = self.generate(mean + (log_variance / 2).exp() * draw)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return (x - shown).square().sum(dim=(1, 2, 3)), divergence


_SEEDED = threading.Lock()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generator of torch starts from a seed, and is as before afterwards."""
    # Of two threads at once, the second would save, and restore, the seed of the first.
    with _SEEDED, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
