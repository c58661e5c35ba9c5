from __future__ import annotations

import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture, rows
from torchvision.models import alexnet

from bench.metrics._lpips import build
from bench.metrics.lpips import BACKBONE, LPIPS
from bench.metrics.lpips_squeeze import BACKBONE as SQUEEZE
from bench.metrics.lpips_squeeze import LPIPSSqueeze

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> LPIPS:
    """LPIPS on an AlexNet with random weights: distances without meaning, but with every rule of the code."""
    file = tmp_path_factory.mktemp("lpips") / BACKBONE.name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(alexnet(weights=None).state_dict(), file)
    return LPIPS("", {BACKBONE.name: file}, CPU)


def test_lpips_of_equal_pictures_is_zero(untrained: LPIPS) -> None:
    planes = from_8bit(photographs()[0])
    assert untrained.score(planes, planes).tolist() == [0]


def test_lpips_rises_with_the_difference_and_is_symmetric(untrained: LPIPS) -> None:
    one, other = photographs()
    near, far, reference = from_8bit(one // 8 * 8), from_8bit(other), from_8bit(one)
    assert 0 < untrained.score(near, reference).item() < untrained.score(far, reference).item()
    assert untrained.score(near, reference).item() == pytest.approx(untrained.score(reference, near).item(), rel=1e-5)


def test_lpips_below_the_networks_smallest_size_is_refused(untrained: LPIPS) -> None:
    small = from_8bit(grey(3, 30, 64))
    with pytest.raises(ValueError, match="needs 31x31 pixels, the picture has 64x30"):
        untrained.score(small, small)
    enough = from_8bit(grey(3, 31, 31))
    assert untrained.score(enough, enough).tolist() == [0]


def test_lpips_does_not_depend_on_the_batch(untrained: LPIPS) -> None:
    one, other = photographs()
    low = [darkened(one), darkened(other)]
    alone = [untrained.score(from_8bit(a), from_8bit(b)).item() for a, b in zip(low, (one, other), strict=True)]
    assert untrained.score(from_8bit(*low), from_8bit(one, other)).tolist() == pytest.approx(alone, rel=1e-5)


def test_building_leaves_the_random_state_alone(tmp_path) -> None:
    file = tmp_path / "alexnet.pth"
    torch.save(alexnet(weights=None).state_dict(), file)
    before = torch.random.get_rng_state()
    build("alex", file, CPU)
    assert torch.equal(before, torch.random.get_rng_state())


def test_another_backbone_is_refused_by_name(tmp_path) -> None:
    file = tmp_path / BACKBONE.name
    torch.save({"features.0.weight": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=r"alexnet-owt-7be5be79.pth is not this LPIPS backbone: 0.weight has shape"):
        LPIPS("", {BACKBONE.name: file}, CPU)


def test_the_published_example_is_reproduced_on_squeezenet(shared_data) -> None:
    folder = shared_data / "metrics" / "lpips"
    metric = LPIPSSqueeze("", {SQUEEZE.name: folder / SQUEEZE.name}, CPU)
    for row in rows("lpips_squeeze"):
        value = metric.score(picture(shared_data / row.image), picture(shared_data / row.reference)).item()
        assert value == pytest.approx(row.value, rel=row.tolerance), row
