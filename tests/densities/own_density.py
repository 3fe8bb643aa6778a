"""A density of a user: four methods, no base class and no parameters."""

import numpy as np
import torch


class OwnDensity:
    """One Gaussian with a diagonal covariance."""

    def fit(self, Z, y=None):
        self.mean, self.precision = Z.mean(axis=0), 1 / (Z.var(axis=0) + 0.1)
        return self

    def log_prob(self, z):
        return self.log_prob_and_grad(z)[0]

    def log_prob_and_grad(self, z):
        away = z - torch.as_tensor(self.mean, dtype=z.dtype)
        pull = away * torch.as_tensor(self.precision, dtype=z.dtype)
        constant = np.log(self.precision / (2 * np.pi)).sum() / 2
        return constant - (away * pull).sum(dim=1) / 2, -pull

    def training_log_prob(self, Z):
        return self.log_prob(torch.as_tensor(Z)).numpy()
