from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import plugins, work
from bench.contracts import Adapter, Dataset
from bench.plugins import Spec
from bench.training import Plan, Progress, train

CPU = torch.device("cpu")
LWDRGN = plugins.load(Adapter, Spec.parse("lw_drgn"))
DRGN = plugins.load(Adapter, Spec.parse("drgn"))
lw_drgn = sys.modules[LWDRGN.__module__]
degradation = sys.modules[lw_drgn.DegradationRecipe.__module__]
VARIANTS = ["", *LWDRGN.options]
QUICK = {"batch_size": 2, "crop": 16, "largest_scale": 1.0, "learning_rate": 5e-3, "schedule": "cosine"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers with few channels, for facts that do not depend on the width."""
    monkeypatch.setattr(lw_drgn, "WIDTH", 16)
    monkeypatch.setattr(degradation, "JUDGES", (32,))


@pytest.fixture
def data(pairs: Path) -> Dataset:
    return plugins.load(Dataset, Spec.parse("folder"))(str(pairs))


def settings(**changes: Any) -> Any:
    return dataclasses.replace(degradation.DegradationSettings(), **QUICK | changes)


def recipe(option: str = "", **changes: Any) -> Any:
    torch.manual_seed(0)
    return lw_drgn.LWDRGNRecipe(option, settings(**changes))


def running(data: Dataset, out: Path, resume: bool = False) -> Iterator[Progress]:
    plan = Plan("lw_drgn", lw_drgn.LWDRGNRecipe, settings(steps=5), [data], seed=0, held_out=0)
    return train(plan, out, CPU, resume=resume, every=2)


def saved(network: nn.Module, path: Path) -> Path:
    save_file(network.state_dict(), path)
    return path


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module) -> float:
    """Multiply-accumulates of the convolutions for a 384x384 picture."""
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, 384, 384, device="meta"))
    return counter.get_total_flops() / 2


@functools.cache
def meta(option: str = "") -> Any:
    with torch.device("meta"):
        return lw_drgn.LWDRGNRecipe.build(option)


def psnr(enhanced: Tensor, reference: Tensor) -> float:
    return -10 * float(torch.log10((enhanced - reference).square().mean()))


# Cost. The paper's Table 2: 0.660 M parameters, 18.15 G, which fits both networks and one pass of one of them.


@pytest.mark.parametrize("option", VARIANTS)
def test_both_networks_have_the_published_parameters(option: str) -> None:
    assert parameters(meta(option)) == pytest.approx(0.660e6, rel=0.005)


def test_one_network_takes_the_published_operations() -> None:
    assert macs(meta().refinement) == pytest.approx(18.15e9, rel=0.005)


def test_in_the_budget_variant_both_networks_together_take_them() -> None:
    assert macs(meta("budget")) == pytest.approx(18.15e9, rel=0.01)


def test_parameters_follow_from_the_layers() -> None:
    def conv(before: int, after: int, side: int) -> int:
        return before * after * side * side + after

    rcab = 2 * conv(32, 32, 3) + 1 + conv(32, 8, 1) + conv(8, 32, 1)
    # the input and i outputs of 32 channels, narrowed to a sixteenth
    fusions = sum(conv(c, c // 16, 1) + conv(c // 16, c, 1) + conv(c, 32, 1) for c in (64, 96, 128, 160))
    ends = conv(3, 32, 3) + 2 * (conv(32, 32, 3) + 1) + conv(64, 32, 1) + conv(32, 3, 3)
    assert parameters(meta().refinement) == (2 + 4 * 3 + 1) * rcab + fusions + ends


# Network.


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("stage", range(4))
def test_the_last_fusion_sees_every_stage(stage: int) -> None:
    torch.manual_seed(0)
    network = lw_drgn.LightNet(1, 1)
    merge = network.fusions[-1].merge
    merge.weight.data[:, : 16 * (stage + 1)] = 0
    merge.weight.data[:, 16 * (stage + 2) :] = 0
    picture = random(1, 3, 8, 8)
    before = network(picture)
    # What an earlier stage gives reaches the later ones too; so only the way through the last fusion is left open.
    nn.init.zeros_(merge.weight)
    assert float((network(picture) - before).detach().abs().max()) > 1e-5


@pytest.mark.usefixtures("slim")
def test_the_picture_at_full_size_goes_past_the_body() -> None:
    torch.manual_seed(0)
    network = lw_drgn.LightNet(1, 1)
    nn.init.zeros_(network.up[0][0].weight)
    first, second = (network(picture) for picture in random(2, 1, 3, 8, 8))
    assert float((first - second).detach().abs().max()) > 1e-3


@pytest.mark.parametrize(("option", "side"), [("", 48), ("budget", 24)])
def test_the_body_works_on_a_half_or_a_quarter_of_the_size(option: str, side: int) -> None:
    network = meta(option).refinement
    assert network.down(torch.zeros(1, 32, 96, 96, device="meta")).shape == (1, 32, side, side)


# Learning.


def test_the_recipe_is_that_of_drgn() -> None:
    assert lw_drgn.LWDRGNRecipe.defaults == DRGN.recipe.defaults


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", VARIANTS)
def test_every_variant_learns_in_both_stages(option: str) -> None:
    learned = recipe(option)
    reference = random(2, 3, 16, 16)
    for share in (0.0, 0.9):
        found = learned.step((0.2 * reference, reference, reference.flip(0)), share)
        assert all(value.isfinite() for value in found.values())


@pytest.mark.usefixtures("slim")
def test_two_pairs_are_learned_by_heart() -> None:
    learned = recipe(degradation_share=0.1)
    reference = torch.nn.functional.interpolate(random(2, 3, 4, 4), (16, 16), mode="bilinear")
    low = 0.2 * reference
    before = psnr(learned.enhance(low).detach(), reference)
    losses = [learned.step((low, reference, reference.flip(0)), step / 60)["loss"] for step in range(60)]
    assert float(losses[-1]) < 0.25 * float(losses[6]) - 0.1
    assert psnr(learned.enhance(low).detach(), reference) > before + 6


@pytest.mark.usefixtures("slim")
def test_a_killed_and_resumed_training_ends_in_the_same_bits(data: Dataset, tmp_path: Path) -> None:
    unbroken = list(running(data, tmp_path / "unbroken"))[-1].weights
    killed = running(data, tmp_path / "killed")
    for _ in range(3):
        next(killed)
    killed.close()
    resumed = list(running(data, tmp_path / "killed", resume=True))[-1].weights
    assert unbroken is not None
    assert resumed is not None
    assert resumed.read_bytes() == unbroken.read_bytes()
    assert LWDRGN("", resumed).files == (resumed,)


# The adapter.


@pytest.mark.usefixtures("slim")
def test_the_adapter_gives_the_picture_that_validation_saw(tmp_path: Path) -> None:
    learned = recipe()
    low = 0.2 * random(1, 3, 10, 13)
    adapter = LWDRGN("", saved(learned.network, tmp_path / "w.safetensors"))
    torch.testing.assert_close(adapter.enhance(low), learned.enhance(low).detach().clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize(("height", "width"), [(13, 18), (1, 1), (1, 9), (7, 1), (2, 3)])
@pytest.mark.parametrize("option", VARIANTS)
def test_any_size_comes_out_as_it_went_in(tmp_path: Path, option: str, height: int, width: int) -> None:
    adapter = LWDRGN(option, saved(recipe(option).network, tmp_path / "w.safetensors"))
    low = 0.2 * random(2, 3, height, width)
    enhanced = work.enhance(adapter, low, "set", ["a", "b"], 0)
    assert enhanced.shape == low.shape
    assert enhanced.dtype == torch.float32


def test_an_unknown_variant_is_answered_with_all_of_them() -> None:
    with pytest.raises(ValueError, match=r"does not know the option 'wo_kl'; .*lw_drgn:budget"):
        LWDRGN("wo_kl")
