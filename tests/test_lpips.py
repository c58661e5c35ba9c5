from __future__ import annotations

import pytest
import torch
from _pictures import darkened, from_8bit, grey, photographs, picture, rows
from torchvision.models import alexnet

from bench.metrics._lpips import build
from bench.metrics.lpips import BACKBONE, LPIPS
from bench.metrics.lpips_squeeze import BACKBONE as SQUEEZE
from bench.metrics.lpips_squeeze import LPIPSSqueeze
from bench.planes import Planes

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


def test_the_map_of_equal_pictures_is_black(untrained: LPIPS) -> None:
    picture = Planes(torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1)))
    assert untrained.spatial(picture, picture).shape == (2, 64, 48)
    assert float(untrained.spatial(picture, picture).abs().max()) == 0


def test_the_map_is_what_lpips_is_the_mean_of(untrained: LPIPS) -> None:
    # But for the interpolation of the coarse layers to the picture's size, which weighs the border a little less.
    generator = torch.Generator().manual_seed(1)
    one, other = (Planes(torch.rand(1, 3, 128, 128, generator=generator)) for _ in range(2))
    value = untrained.score(one, other)
    assert float(untrained.spatial(one, other).mean()) == pytest.approx(float(value), rel=0.1)
    assert torch.equal(untrained.score(one, other), value)


def test_the_map_is_bright_where_the_picture_differs(untrained: LPIPS) -> None:
    plain = torch.full((1, 3, 128, 128), 0.5)
    spoilt = plain.clone()
    spoilt[..., :64] += 0.4 * torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    found = untrained.spatial(Planes(spoilt), Planes(plain))[0]
    # The network has random weights and deep layers that see far, so the other half is not black.
    assert float(found[:, :48].mean()) > 1.2 * float(found[:, 80:].mean())


def test_a_reference_is_looked_at_once_for_all_methods(untrained: LPIPS) -> None:
    seen: list[int] = []
    hook = untrained.network.get_submodule("net").register_forward_hook(lambda *_: seen.append(1))
    first, reference = from_8bit(photographs()[0]), from_8bit(photographs()[1])
    alone = untrained.score(first, Planes(reference.rgb)).tolist()
    assert len(seen) == 2
    for _ in range(3):
        assert untrained.score(Planes(first.rgb), reference).tolist() == alone
    hook.remove()
    assert len(seen) == 2 + 4  # the reference and three methods
