from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture, rows
from scipy.fft import dctn
from scipy.io import savemat
from scipy.stats import entropy, skew

from bench.metrics.sseq import MODEL, SSEQ, Machines, spatial_entropy, spectral_entropy, sseq, sseq_features

CPU = torch.device("cpu")


def block(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64)).reshape(1, 1, 64)


def test_spatial_entropy_by_hand() -> None:
    assert spatial_entropy(block(np.zeros((8, 8)))).item() == 0
    assert spatial_entropy(block(np.arange(64))).item() == pytest.approx(6)
    assert spatial_entropy(block(np.repeat([3, 9], 32))).item() == pytest.approx(1)


def test_spectral_entropy_of_a_constant_block_is_the_smallest_training_value() -> None:
    # fmin of the release's model: 64 powers of 1e-8 that stand for zeros, but for DC which is normalised to one.
    assert spectral_entropy(block(np.full((8, 8), 200))).item() == pytest.approx(1.6742517598232311e-05, rel=1e-9)


def test_entropies_of_a_random_block_agree_with_scipy(device: torch.device) -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 8))
    power = dctn(values.astype(float), norm="ortho") ** 2
    power[0, 0] = 1e-16
    assert spectral_entropy(block(values).to(device)).item() == pytest.approx(entropy(power.ravel(), base=2), rel=1e-9)
    counts = np.bincount(values.ravel())
    assert spatial_entropy(block(values).to(device)).item() == pytest.approx(entropy(counts, base=2), rel=1e-9)


def test_features_of_the_first_scale_agree_with_scipy() -> None:
    planes = from_8bit(photographs(96, 128)[0])
    tiles = planes.grey[0, 0].numpy().reshape(12, 8, 16, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
    entropies = np.sort([entropy(np.bincount(tile.astype(int)), base=2) for tile in tiles])
    count = len(tiles)
    mean = entropies[math.ceil(count / 5) - 1 : math.ceil(count * 4 / 5)].mean()
    features = sseq_features(planes.grey)[0]
    assert features[0].item() == pytest.approx(mean, rel=1e-9)
    assert features[1].item() == pytest.approx(skew(entropies), rel=1e-9)


def test_partial_blocks_are_completed_with_zeros() -> None:
    photograph = photographs(96, 128)[0][:90, :121]
    padded = np.zeros((96, 128, 3), np.uint8)
    padded[:90, :121] = photograph
    ragged, whole = (sseq_features(from_8bit(one).grey)[0, :4] for one in (photograph, padded))
    assert torch.allclose(ragged, whole, rtol=1e-12)


def test_sseq_of_a_tiny_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="SSEQ needs more than one 8x8 block at quarter size"):
        sseq_features(from_8bit(grey(3, 32, 32)).grey)


def test_features_of_a_constant_picture_are_nan_with_a_stated_reason() -> None:
    features = sseq_features(from_8bit(photographs(96, 128)[0], grey(9, 96, 128)).grey)
    assert features.isnan().any(1).tolist() == [False, True]
    assert "constant" in SSEQ.undefined


def test_features_do_not_depend_on_the_batch_or_its_order() -> None:
    low = [darkened(one) for one in photographs()]
    alone = torch.cat([sseq_features(from_8bit(one).grey) for one in low])
    assert torch.allclose(sseq_features(from_8bit(*low).grey), alone, rtol=1e-9)
    assert torch.allclose(sseq_features(from_8bit(*low[::-1]).grey), alone.flip(0), rtol=1e-9)


def test_the_score_is_the_expected_strength_of_the_distortion() -> None:
    class Certain:
        def probabilities(self, features: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.25, 0.75]], dtype=torch.float64)

    class Constant:
        def __init__(self, value: float) -> None:
            self.value = value

        def predict(self, features: torch.Tensor) -> torch.Tensor:
            return torch.full((len(features),), self.value, dtype=torch.float64)

    zeros = torch.zeros(12, dtype=torch.float64)
    machines = Machines(zeros, zeros + 1, Certain(), (Constant(-1.0), Constant(0.5)))  # type: ignore[arg-type]
    assert machines.predict(zeros[None]).item() == 50 + 50 * (-0.25 + 0.375)


def test_a_file_without_the_machines_is_refused_by_name(tmp_path) -> None:
    file = tmp_path / MODEL.name
    savemat(file, {"fmin": np.zeros(12), "fmax": np.ones(12)})
    with pytest.raises(ValueError, match=r"sseq_model.mat is not an SSEQ model: it has no 'svmmodel'"):
        SSEQ("", {MODEL.name: file}, CPU)


def test_sseq_agrees_with_the_authors_code(shared_data, device: torch.device) -> None:
    metric = SSEQ("", {MODEL.name: shared_data / "metrics" / "sseq" / MODEL.name}, device)
    for row in rows("sseq"):
        value = sseq(picture(shared_data / row.image).grey.to(device), metric.machines).item()
        assert value == pytest.approx(row.value, rel=row.tolerance), row
