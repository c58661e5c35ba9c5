from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import spsolve

from bench import plugins
from bench.contracts import Adapter
from bench.plugins import Spec

LIME = plugins.load(Adapter, Spec.parse("lime"))
lime = sys.modules[LIME.__module__]


def dark_scene(height: int = 37, width: int = 53) -> torch.Tensor:
    """A dark and a less dark half, with noise."""
    noise = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    scene = 0.05 + 0.02 * noise
    scene[:, :, width // 2 :] += 0.3
    return scene


def solved_directly(illumination: torch.Tensor, weights: Any, smoothness: float) -> np.ndarray:
    """(Id + smoothness * sum D'WD)^-1 by sparse LU with the difference operators written out."""
    height, width = illumination.shape
    across = sparse.kron(
        sparse.eye_array(height), sparse.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(width - 1, width))
    )
    down = sparse.kron(
        sparse.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(height - 1, height)), sparse.eye_array(width)
    )
    system = sparse.eye_array(height * width)
    for difference, weight in ((across, weights.horizontal), (down, weights.vertical)):
        system = system + smoothness * difference.T @ sparse.diags_array(weight.double().flatten().numpy()) @ difference
    return spsolve(sparse.csc_array(system), illumination.double().flatten().numpy()).reshape(height, width)


def test_a_flat_picture_is_divided_by_its_own_brightness() -> None:
    # T = T0 = 0.25, so the output is 0.25 ** (1 - 0.8) = 2 ** -0.4
    enhanced = LIME().enhance(torch.full((1, 3, 9, 9), 0.25))
    # the solver stops at a residual of 1e-5
    torch.testing.assert_close(enhanced, torch.full_like(enhanced, 2**-0.4), rtol=0, atol=5e-5)


def test_black_stays_black() -> None:
    assert float(LIME().enhance(torch.zeros(1, 3, 8, 8)).max()) == 0


def test_the_map_solves_the_sparse_system() -> None:
    illumination = dark_scene().amax(dim=0)
    weights = lime.edge_weights(illumination)
    found = lime.smooth(illumination, weights, 0.15)
    # float32 iterations against a float64 factorisation; a tenth of an 8-bit level would be 4e-4
    np.testing.assert_allclose(found.numpy(), solved_directly(illumination, weights, 0.15), rtol=0, atol=2e-5)


def test_weights_are_the_inverse_of_the_blurred_gradient() -> None:
    illumination = dark_scene().amax(dim=0).double()
    gradient = np.diff(illumination.numpy(), axis=1)
    expected = 1 / (np.abs(gaussian_filter(gradient, 2.0, mode="nearest", truncate=4.0)) + 1e-3)
    np.testing.assert_allclose(lime.edge_weights(illumination).horizontal.numpy(), expected, rtol=1e-9)


def test_noise_is_smoothed_and_the_edge_stays() -> None:
    illumination = dark_scene().amax(dim=0)
    found = lime.smooth(illumination, lime.edge_weights(illumination))
    middle = illumination.shape[1] // 2
    assert float(found[:, 5 : middle - 5].std()) < 0.3 * float(illumination[:, 5 : middle - 5].std())
    assert float((found[:, middle + 5] - found[:, middle - 5]).mean()) > 0.25


def test_no_smoothness_gives_the_map_back() -> None:
    illumination = dark_scene().amax(dim=0)
    torch.testing.assert_close(
        lime.smooth(illumination, lime.edge_weights(illumination), 0.0), illumination, rtol=0, atol=1e-6
    )


def test_an_option_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'lime' takes no option, found '0\.15'"):
        LIME("0.15")
