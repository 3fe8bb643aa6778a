"""Every explainer on a device that is not the processor: a pretended one, see its module."""

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import GroupSparseExplainer, PlausibleImageExplainer
from scfe_sklearn.proximal.precision import has_double
from tests.image.pretended_device import AWAY, Away, PretendedDevice
from tests.image.test_every_attack import EVERY, Stubborn, colour_images, colour_net, explainer

NUMBERS = ("to the device", "index from the processor")
"""What a device does not make its host wait for."""
SHORT = {"gse": {"n_searches": 3, "refine_iter": 20}, "strattack": {"n_searches": 3}}
IN_DOUBLE = ("afw", "fgm", "pgd", "apgd", "fwnucl")
"""Those that work something out in double precision."""


@pytest.fixture(autouse=True)
def _forget():
    has_double.cache_clear()
    yield
    has_double.cache_clear()


@pytest.mark.parametrize(
    ("name", "double"), [(name, True) for name in EVERY] + [(name, False) for name in IN_DOUBLE]
)
def test_answers_are_those_of_the_processor_and_come_back_as_the_images_came(name, double):
    net, x = colour_net(), colour_images(3)
    if not double:
        net, x = net.float(), x.float()
    made = explainer(name, net, **SHORT.get(name, {}))
    expected = made.explain(x)
    with PretendedDevice(double):
        net.to(AWAY)
        here, away = made.explain(x), made.explain(x.to(AWAY))
        moved = away.counterfactuals.cpu()
        measured = away.measures()
    assert type(here.counterfactuals) is torch.Tensor
    assert isinstance(away.counterfactuals, Away)
    for result in (here, away):
        np.testing.assert_array_equal(result.status, expected.status)
        np.testing.assert_array_equal(result.n_forward, expected.n_forward)
        np.testing.assert_array_equal(result.n_backward, expected.n_backward)
    for answer in (here.counterfactuals, moved):
        torch.testing.assert_close(
            answer, expected.counterfactuals, rtol=0, atol=1e-6, equal_nan=True
        )
    np.testing.assert_array_equal(measured["pixels"], expected.measures()["pixels"])


@pytest.mark.parametrize("name", EVERY)
def test_the_host_does_not_wait_in_every_iteration(name):
    # Nothing is ever found, so that all iterations are made.
    x = colour_images(3)
    with PretendedDevice() as device:
        net = Stubborn().double().to(AWAY)
        made = explainer(name, net, normalization=(0.5, (0.2, 0.3, 0.4)), **SHORT.get(name, {}))
        result = made.explain(x.to(AWAY))
    assert any(line.startswith("explainer.py") for _, line in device.waits)  # the answers
    border = ("explainer.py", "batches.py", "elsewhere")
    searching = [wait for wait in device.waits if not wait[1].startswith(border)]
    assert len(searching) <= 16 + result.n_forward.max() / 8, searching


def test_runs_of_very_few_iterations():
    # Images that are done stay for a few more on devices.
    net, x = colour_net(), colour_images(3)
    parameters = {"max_iter": 1, "n_gather": 1, "n_searches": 2}
    expected = GroupSparseExplainer(net, **parameters).explain(x)
    with PretendedDevice():
        result = GroupSparseExplainer(net.to(AWAY), **parameters).explain(x)
    np.testing.assert_array_equal(result.status, expected.status)
    np.testing.assert_array_equal(result.n_forward, expected.n_forward)


def test_plausible_images():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y = net(x).argmax(1)
    made = PlausibleImageExplainer(net, density="kde", max_pixels=6, n_strides=4)
    expected = made.fit(x, y).explain(x[:3])
    with PretendedDevice():
        net.to(AWAY)
        result = made.fit(x.to(AWAY), y.to(AWAY)).explain(x[:3].to(AWAY))
        answer = result.counterfactuals.cpu()
    np.testing.assert_array_equal(result.status, expected.status)
    torch.testing.assert_close(answer, expected.counterfactuals, atol=1e-6, rtol=0)
