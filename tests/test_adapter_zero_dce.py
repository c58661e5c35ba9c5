from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from bench import plugins
from bench.contracts import Adapter
from bench.image import read_rgb, round_8bit
from bench.plugins import Spec

ZeroDCE = plugins.load(Adapter, Spec.parse("zero_dce"))
zero_dce = sys.modules[ZeroDCE.__module__]

# 8-bit output of the authors' checkpoint on the 15 pictures of eval15, measured with independent code
PUBLISHED_PSNR = 14.8607


def authors_name(name: str) -> str:
    layer, _, part = name.removeprefix("convs.").partition(".")
    return f"e_conv{int(layer) + 1}.{part}"


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return zero_dce.DCENet()


def mean_psnr(adapter: Adapter, folder: Path) -> float:
    values = []
    for low in sorted((folder / "low").glob("*.png")):
        enhanced = round_8bit(adapter.enhance(read_rgb(low)[None]))[0]
        error = (enhanced.double() - read_rgb(folder / "high" / low.name).double()).square().mean()
        values.append(-10 * float(torch.log10(error)))
    assert len(values) == 15
    return sum(values) / len(values)


def test_the_network_has_the_parameters_of_the_paper(network: torch.nn.Module) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == 79_416


def test_curves_keep_black_black_and_white_white() -> None:
    ends = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    curves = torch.rand(1, 24, 1, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(zero_dce.apply_curves(ends, curves), ends)


def test_one_curve_follows_the_equation() -> None:
    # 0.5 - 1 * (0.25 - 0.5) = 0.75, then seven curves of A = 0
    curves = torch.zeros(1, 24, 1, 1)
    curves[:, :3] = -1
    assert torch.equal(zero_dce.apply_curves(torch.full((1, 3, 1, 1), 0.5), curves), torch.full((1, 3, 1, 1), 0.75))


def test_each_iteration_has_three_maps_of_its_own() -> None:
    curves = torch.zeros(1, 24, 1, 1)
    curves[:, 21] = -1  # red of the eighth iteration
    expected = torch.tensor([0.75, 0.5, 0.5]).view(1, 3, 1, 1)
    assert torch.equal(zero_dce.apply_curves(torch.full((1, 3, 1, 1), 0.5), curves), expected)


def test_spatial_loss_is_zero_for_equal_pictures() -> None:
    low = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert float(zero_dce.losses(low, low, torch.zeros(2, 24, 32, 32), 0.6).spatial) == 0


def test_spatial_loss_counts_four_neighbours_with_zero_beyond_the_border() -> None:
    # A change of 0.5 in the only region differs from all four neighbours beyond the border: 4 * 0.25.
    low = torch.zeros(1, 3, 4, 4)
    found = zero_dce._spatial_consistency(low, low + 0.5)
    torch.testing.assert_close(found, torch.tensor(1.0))


def test_spatial_loss_agrees_with_four_convolutions() -> None:
    generator = torch.Generator().manual_seed(0)
    low, enhanced = torch.rand(2, 2, 3, 16, 24, generator=generator)
    pooled = [functional.avg_pool2d(picture.mean(1, keepdim=True), 4) for picture in (low, enhanced)]
    expected = torch.zeros(())
    for row, column in ((1, 0), (1, 2), (0, 1), (2, 1)):
        kernel = torch.zeros(1, 1, 3, 3)
        kernel[0, 0, 1, 1] = 1
        kernel[0, 0, row, column] = -1
        before, after = (functional.conv2d(picture, kernel, padding=1) for picture in pooled)
        expected = expected + (before - after).square().mean()
    torch.testing.assert_close(zero_dce._spatial_consistency(low, enhanced), expected)


def test_exposure_loss_is_zero_at_0_6() -> None:
    picture = torch.full((1, 3, 32, 32), 0.6)
    assert float(zero_dce.losses(picture, picture, torch.zeros(1, 24, 32, 32), 0.6).exposure) == pytest.approx(
        0, abs=1e-12
    )


def test_exposure_loss_is_the_squared_distance_of_regions() -> None:
    picture = torch.cat([torch.full((1, 3, 16, 16), 0.1), torch.full((1, 3, 16, 16), 0.6)], dim=-1)
    found = zero_dce.losses(picture, picture, torch.zeros(1, 24, 16, 32), 0.6).exposure
    assert float(found) == pytest.approx(0.25 / 2)


def test_colour_loss_is_zero_for_grey_and_known_for_red() -> None:
    grey = torch.full((1, 3, 8, 8), 0.3)
    red = grey * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    # gaps 0.3, 0.3, 0: the square root of 2 * 0.3^4
    assert float(zero_dce._colour_constancy(grey)) == pytest.approx(0, abs=2e-6)
    assert float(zero_dce._colour_constancy(red)) == pytest.approx(2**0.5 * 0.09)


def test_smoothness_loss_of_a_ramp() -> None:
    # slope 0.5 along rows, none along columns, 24 maps: 2 * 24 * 0.25
    curves = (torch.arange(3.0) * 0.5).view(1, 1, 1, 3).expand(1, 24, 4, 3)
    assert float(zero_dce._illumination_smoothness(curves)) == pytest.approx(12)


def test_the_authors_names_and_ours_give_the_same_picture(tmp_path: Path, network: torch.nn.Module) -> None:
    state = network.state_dict()
    save_file(state, tmp_path / "ours.safetensors")
    torch.save({authors_name(name): tensor for name, tensor in state.items()}, tmp_path / "theirs.pth")
    low = torch.rand(1, 3, 12, 20, generator=torch.Generator().manual_seed(0)) * 0.2
    ours, theirs = (ZeroDCE("", tmp_path / name).enhance(low) for name in ("ours.safetensors", "theirs.pth"))
    assert torch.equal(ours, theirs)


def test_subnormal_weights_are_read_as_zero(tmp_path: Path, network: torch.nn.Module) -> None:
    state = network.state_dict()
    state["convs.0.weight"][0] = 1e-40
    save_file(state, tmp_path / "w.safetensors")
    assert not ZeroDCE("", tmp_path / "w.safetensors").module.state_dict()["convs.0.weight"][0].any()


def test_missing_weights_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"weights of 'zero_dce' \(DCENet\) are expected at .*absent\.safetensors"
    ):
        ZeroDCE("", tmp_path / "absent.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_named_as_damaged(tmp_path: Path, network: torch.nn.Module, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_file(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"cut{suffix} \(weights of DCENet\) is damaged"):
        ZeroDCE("", path)


def test_an_empty_file_is_named_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    with pytest.raises(ValueError, match=r"empty\.pth .* is damaged"):
        ZeroDCE("", tmp_path / "empty.pth")


def test_weights_of_another_network_say_what_was_expected_and_found(tmp_path: Path) -> None:
    save_file({"head.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(
        ValueError, match=r"other\.safetensors does not hold .*DCENet \(14 tensors, 79,416 values\): .*head\.weight"
    ):
        ZeroDCE("", tmp_path / "other.safetensors")


def test_weights_of_another_width_say_both_shapes(tmp_path: Path, network: torch.nn.Module) -> None:
    state = network.state_dict() | {"convs.6.weight": torch.zeros(3, 64, 3, 3)}
    save_file(state, tmp_path / "three.safetensors")
    with pytest.raises(ValueError, match=r"has shape \(3, 64, 3, 3\), expected \(24, 64, 3, 3\)"):
        ZeroDCE("", tmp_path / "three.safetensors")


def test_a_file_with_tensors_too_many_is_refused(tmp_path: Path, network: torch.nn.Module) -> None:
    save_file(network.state_dict() | {"extra": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(ValueError, match="1 tensors do not belong to it, 'extra'"):
        ZeroDCE("", tmp_path / "more.safetensors")


def test_a_file_that_holds_no_tensors_by_name_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list, expected a dict of tensors"):
        ZeroDCE("", tmp_path / "list.pth")


def test_the_shipped_weights_are_small_and_brighten_a_dark_picture() -> None:
    adapter = ZeroDCE()
    (path,) = adapter.files
    assert path.stat().st_size < 400_000
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float32}
    low = torch.full((1, 3, 32, 32), 0.05)
    assert float(adapter.enhance(low).mean()) > 0.15


def test_the_published_checkpoint_reaches_its_known_psnr(shared_data: Path) -> None:
    adapter = ZeroDCE("", shared_data / "weights" / "zero_dce" / "Epoch99.pth")
    assert mean_psnr(adapter, shared_data / "lol" / "eval15") == pytest.approx(PUBLISHED_PSNR, abs=0.01)


def test_the_shipped_weights_reach_at_least_the_published_psnr(shared_data: Path) -> None:
    assert mean_psnr(ZeroDCE(), shared_data / "lol" / "eval15") >= PUBLISHED_PSNR
