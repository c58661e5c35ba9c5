from __future__ import annotations

import colorsys
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import plugins, work
from bench.contracts import Adapter, Dataset
from bench.plugins import Spec
from bench.training import Plan, Progress, train

CPU = torch.device("cpu")
NEID = plugins.load(Adapter, Spec.parse("neid"))
neid = sys.modules[NEID.__module__]
VARIANTS = ["", *NEID.options]
QUICK = {"batch_size": 2, "crop": 64, "learning_rate": 3e-3, "schedule": "cosine", "initialisation": "kaiming"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers a quarter as wide, for facts that do not depend on the width."""
    monkeypatch.setattr(neid, "WIDTHS", (8, 16, 32, 64, 128))


@pytest.fixture
def data(pairs: Path) -> Dataset:
    for folder in (pairs / "low", pairs / "high"):
        for name in ("3.png", "4.png"):
            (folder / name).unlink()
    return plugins.load(Dataset, Spec.parse("folder"))(str(pairs))


def settings(**changes: Any) -> Any:
    return dataclasses.replace(neid.NEIDSettings(), **QUICK | changes)


def recipe(option: str = "", **changes: Any) -> Any:
    torch.manual_seed(0)
    return neid.NEIDRecipe(option, settings(**changes))


def running(data: Dataset, out: Path, method: str = "neid", resume: bool = False, **changes: Any) -> Iterator[Progress]:
    plan = Plan(method, neid.NEIDRecipe, settings(**changes), [data], seed=0, held_out=0)
    return train(plan, out, CPU, resume=resume, every=2)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module) -> float:
    """Multiply-accumulates of the convolutions for a 384x384 picture."""
    with FlopCounterMode(display=False) as counter:
        module.to("meta")(torch.zeros(1, 3, 384, 384, device="meta"))
    return float(counter.get_total_flops() / 2)


def psnr(enhanced: Tensor, reference: Tensor) -> float:
    return -10 * float(torch.log10((enhanced - reference).square().mean()))


@pytest.fixture
def uncomputed() -> Iterator[None]:
    """Tensors without values, for facts about their number and shapes."""
    with torch.device("meta"):
        yield


# The paper prints no counts and no widths: these follow by hand from its layers with widths 32 to 512.


@pytest.mark.usefixtures("uncomputed")
@pytest.mark.parametrize(("option", "millions"), [("unet", 7.761), ("le", 7.764), ("le_dr", 10.815), ("", 10.818)])
def test_parameters_in_training(option: str, millions: float) -> None:
    assert parameters(recipe(option)) / 1e6 == pytest.approx(millions, abs=6e-4)


@pytest.mark.usefixtures("uncomputed")
@pytest.mark.parametrize(("option", "billions"), [("le", 7.82), ("", 13.18)])
def test_operations_in_use(option: str, billions: float) -> None:
    assert macs(neid.build(option)) / 1e9 == pytest.approx(billions, abs=0.01)


@pytest.mark.usefixtures("uncomputed")
def test_operations_in_training_without_fusion() -> None:
    # 13.11 G with both decoders, and DR's up-sampler on 192x192
    assert macs(recipe("le_dr")._branches) / 1e9 == pytest.approx(13.11 + 9 * 32 * 12 * 192**2 / 1e9, abs=0.01)


@pytest.mark.usefixtures("uncomputed")
def test_the_plain_unet_works_at_full_size_and_takes_four_times_the_operations() -> None:
    # 7.73 G for 192x192
    assert macs(neid.build("unet")) / 1e9 == pytest.approx(4 * 7.73, abs=0.03)


@pytest.mark.usefixtures("uncomputed")
def test_enhancing_drops_the_up_sampler_of_dr_and_nothing_else() -> None:
    # 3x3 convolution from 32 to 12 channels, with bias
    learned = recipe()
    assert parameters(learned) - parameters(learned.network) == 9 * 32 * 12 + 12


@pytest.mark.usefixtures("uncomputed")
def test_a_guide_that_nothing_reads_costs_nothing_after_training() -> None:
    assert parameters(recipe("le_dr").network) == parameters(recipe("le").network)


@pytest.mark.usefixtures("uncomputed")
def test_fusing_at_every_level_adds_three_more_blocks() -> None:
    # of widths 64, 128 and 256: 2w to w/4 and back, and 2w to w, all 1x1 with bias
    more = sum(2 * (2 * w * w // 4) + w // 4 + 2 * w + 2 * w * w + w for w in (64, 128, 256))
    assert parameters(neid.build("ff_levels")) - parameters(neid.build("")) == more


@pytest.mark.usefixtures("slim")
def test_without_its_fusion_the_method_is_the_le_branch() -> None:
    whole, branch = recipe().network, recipe("le").network
    nn.init.zeros_(whole.decoder.fusions[0].merge.weight)
    branch.load_state_dict({name: whole.state_dict()[name] for name in branch.state_dict()})
    low = random(1, 3, 64, 32)
    torch.testing.assert_close(whole(low), branch(low), rtol=0, atol=0)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", ["", "ff_levels"])
def test_the_guide_has_a_say_in_the_picture(option: str) -> None:
    network = recipe(option).network
    low = random(1, 3, 64, 32)
    with torch.no_grad():
        before = network(low)
        network.guide.rises[-1].convs[2].weight.zero_()
        assert not torch.allclose(network(low), before, rtol=0.01)


@pytest.mark.usefixtures("slim")
def test_in_training_le_makes_the_picture_that_it_makes_alone() -> None:
    learned = recipe("ff_levels")
    low = random(2, 3, 32, 64)
    torch.testing.assert_close(learned._branches(low)[:, :3], learned.network(low))


def test_fusion_is_channel_attention_over_both_branches() -> None:
    torch.manual_seed(0)
    fusion = neid.Fusion(8)
    ours, guide = random(2, 2, 8, 5, 6)
    first, second = fusion.attention[1], fusion.attention[3]
    both = np.concatenate([ours.numpy(), guide.numpy()], axis=1)
    matrices = {name: one.detach().numpy().squeeze() for name, one in fusion.named_parameters()}
    assert (first.out_channels, second.out_channels) == (2, 16)
    hidden = np.maximum(both.mean(axis=(2, 3)) @ matrices["attention.1.weight"].T + matrices["attention.1.bias"], 0)
    logits = hidden @ matrices["attention.3.weight"].T + matrices["attention.3.bias"]
    weighted = both / (1 + np.exp(-logits))[:, :, None, None]
    merged = np.einsum("oc,nchw->nohw", matrices["merge.weight"], weighted) + matrices["merge.bias"][:, None, None]
    np.testing.assert_allclose(fusion(ours, guide).detach().numpy(), ours.numpy() + merged, atol=1e-5)


def test_a_rise_enlarges_by_repetition_and_its_even_kernel_looks_right_and_down() -> None:
    rise = neid.Rise(1)
    seen: list[Tensor] = []
    rise.narrow.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        rise.narrow.weight.copy_(torch.tensor([[[[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]]))
        rise.narrow.bias.zero_()
        rise(torch.tensor([[[[1.0, 2.0]], [[9.0, 9.0]]]]), torch.zeros(1, 1, 2, 4))
    assert seen[0].tolist() == [[[[1, 2, 2, 0], [0, 0, 0, 0]]]]


def test_halving_is_antialiased_bicubic_as_pillow_does_it() -> None:
    picture = random(48, 64)
    expected = Image.fromarray(picture.numpy()).resize((32, 24), Image.Resampling.BICUBIC)
    found = neid.halved(picture[None, None].expand(1, 3, 48, 64))[0, 0]
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), atol=1e-6)


def test_hue_and_saturation_are_those_of_the_standard_library() -> None:
    colours = random(200, 3)
    expected = torch.tensor([colorsys.rgb_to_hsv(*colour)[:2] for colour in colours.tolist()])
    found = neid.hue_saturation(colours.T.reshape(1, 3, 200, 1))
    torch.testing.assert_close(torch.stack((found.hue, found.saturation)).view(2, 200).T, expected, rtol=0, atol=1e-5)


def test_grey_has_no_hue() -> None:
    assert not neid.hue_saturation(torch.full((1, 3, 2, 2), 0.4)).coloured.any()


def painted(*colours: tuple[float, float, float]) -> Tensor:
    """A picture of one row."""
    return torch.tensor(colours).T.reshape(1, 3, 1, -1)


RED, GREEN, CYAN, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 1.0), (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("found", "wanted", "loss"),
    [
        # The saturations agree in all but the last; the directions stand 0, 120, 180 and about 6 degrees apart.
        (painted(RED), painted(RED), 0),
        (painted(RED), painted(GREEN), 1.5),
        (painted(RED), painted(CYAN), 2),
        (painted((1, 0, 0.05)), painted((1, 0.05, 0)), 1 - np.cos(np.pi / 30)),
        (painted(RED, GREY), painted(GREY, RED), 2),
    ],
    ids=["same", "a third of the circle", "opposite", "across the jump at red", "colour elsewhere"],
)
def test_colour_loss(found: Tensor, wanted: Tensor, loss: float) -> None:
    assert float(neid.colour_loss(found, wanted)) == pytest.approx(loss, abs=1e-6)


def test_colour_loss_as_printed_takes_hue_for_a_plain_number() -> None:
    # Hues (0, 1/3, 1/2) and (1/3, 1/3, 1/2): a red pixel adds nothing to the product.
    found, wanted = painted(RED, GREEN, CYAN), painted(GREEN, GREEN, CYAN)
    cosine = (1 / 9 + 1 / 4) / ((1 / 9 + 1 / 4) * (1 / 9 + 1 / 9 + 1 / 4)) ** 0.5
    assert float(neid.cosine_colour_loss(found, wanted)) == pytest.approx(1 - cosine, abs=1e-6)


def test_colour_loss_is_the_mean_over_pictures() -> None:
    found = torch.cat((painted(RED), painted(RED)))
    wanted = torch.cat((painted(RED), painted(CYAN)))
    assert float(neid.colour_loss(found, wanted)) == pytest.approx(1)


@pytest.mark.parametrize("loss", ["safe", "cosine"])
@pytest.mark.parametrize("level", [-0.1, 0.0, 1e-9, 0.5, 1.2])
def test_colour_losses_have_a_slope_at_grey_black_and_beyond(loss: str, level: float) -> None:
    enhanced = torch.full((1, 3, 4, 4), level, requires_grad=True)
    neid.COLOUR_LOSSES[loss](enhanced, random(1, 3, 4, 4)).backward()
    assert enhanced.grad is not None
    assert bool(enhanced.grad.isfinite().all())


@pytest.mark.usefixtures("slim")
def test_the_losses_of_a_black_picture() -> None:
    # Huber at 0.1 and an error of 0.5: 0.1 * (0.5 - 0.05); a tenth of 0.2 squared; a grey reference has no colour.
    learned = recipe()
    for parameter in learned.parameters():
        nn.init.zeros_(parameter)
    losses = learned.step((torch.full((2, 3, 64, 64), 0.2), torch.full((2, 3, 64, 64), 0.5)), 0.0)
    found = {name: float(value) for name, value in losses.items()}
    assert found == pytest.approx({"loss": 0.049, "huber": 0.045, "magnified": 0.004, "colour": 0}, abs=1e-6)


@pytest.mark.usefixtures("slim")
def test_dr_may_learn_the_reference_instead() -> None:
    learned = recipe(magnified="reference")
    for parameter in learned.parameters():
        nn.init.zeros_(parameter)
    losses = learned.step((torch.full((1, 3, 64, 64), 0.2), torch.full((1, 3, 64, 64), 0.5)), 0.0)
    assert float(losses["magnified"]) == pytest.approx(0.1 * 0.25)


@pytest.mark.usefixtures("slim")
@pytest.mark.parametrize("option", VARIANTS)
def test_a_step_moves_every_weight_that_its_loss_reaches(option: str) -> None:
    learned = recipe(option)
    before = {name: tensor.clone() for name, tensor in learned.state_dict().items()}
    losses = learned.step((random(2, 3, 64, 64), random(2, 3, 64, 64, seed=1)), 0.0)
    unmoved = [name for name, tensor in learned.state_dict().items() if torch.equal(tensor, before[name])]
    assert unmoved == []
    assert ("magnified" in losses) == (option not in ("unet", "le"))


@pytest.mark.usefixtures("slim")
def test_two_pairs_are_learned_by_heart(photograph: Tensor) -> None:
    reference = torch.stack((photograph[:, :64, :64], photograph[:, -64:, -64:]))
    low = reference / 4
    learned = recipe(weight_colour=0.01)
    with torch.no_grad():
        before = psnr(learned.enhance(low), reference)
    steps = [learned.step((low, reference), 0.0) for _ in range(50)]
    with torch.no_grad():
        assert psnr(learned.enhance(low), reference) > before + 6
    assert float(steps[-1]["loss"]) < 0.25 * float(steps[0]["loss"])


@pytest.mark.usefixtures("slim")
def test_a_killed_and_resumed_training_ends_in_the_same_bits(data: Dataset, tmp_path: Path) -> None:
    *_, unbroken = running(data, tmp_path / "unbroken", steps=5)
    killed = running(data, tmp_path / "killed", steps=5)
    for _ in range(3):
        next(killed)
    killed.close()  # type: ignore[attr-defined]
    *_, resumed = running(data, tmp_path / "killed", resume=True, steps=5)
    assert unbroken.weights is not None
    assert resumed.weights is not None
    assert resumed.weights.read_bytes() == unbroken.weights.read_bytes()


@pytest.mark.usefixtures("slim")
def test_the_adapter_does_what_validation_measured(data: Dataset, tmp_path: Path) -> None:
    *_, last = running(data, tmp_path / "out", steps=2)
    low = random(1, 3, 45, 70)
    learned = recipe()
    learned.network.load_state_dict(load_file(str(last.weights)))
    with torch.no_grad():
        expected = learned.eval().enhance(low)
        torch.testing.assert_close(NEID("", last.weights).enhance(low), expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("slim")
def test_weights_of_another_variant_are_refused_though_they_fit(data: Dataset, tmp_path: Path) -> None:
    *_, last = running(data, tmp_path / "out", "neid:le_dr", steps=1)
    assert last.weights is not None
    with pytest.raises(ValueError, match="holds the weights of 'neid:le_dr', and 'neid:le' was asked for"):
        NEID("le", last.weights)


@pytest.fixture
def adapter(request: pytest.FixtureRequest, slim: None, tmp_path: Path) -> Adapter:
    """A variant with random weights."""
    file = tmp_path / "random.safetensors"
    save_file(recipe(request.param).network.state_dict(), file)
    return NEID(request.param, file)


@pytest.mark.parametrize("adapter", VARIANTS, indirect=True)
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 1), (37, 53), (64, 96)], ids=lambda size: "{}x{}".format(*size))
def test_every_size_comes_out_as_it_went_in(adapter: Adapter, size: tuple[int, int]) -> None:
    low = random(2, 3, *size)
    assert work.enhance(adapter, low, "set", ["a", "b"], 0).shape == low.shape


@pytest.mark.parametrize("adapter", [""], indirect=True)
def test_the_input_is_left_alone_and_the_same_picture_gives_the_same_result(adapter: Adapter) -> None:
    low = random(1, 3, 32, 64)
    kept = low.clone()
    assert torch.equal(adapter.enhance(low), adapter.enhance(low))
    assert torch.equal(low, kept)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 1e-4), (499, 1e-4), (500, 1e-5), (999, 1e-5), (1000, 1e-6), (1999, 1e-6)]
)
def test_the_rate_falls_at_the_papers_epochs(epoch: int, rate: float) -> None:
    assert neid.learning_rate(neid.NEIDSettings(), epoch / 2000) == pytest.approx(rate)


@pytest.mark.parametrize(("share", "part"), [(0, 1), (0.5, 0.505), (1, 0.01)])
def test_the_cosine_falls_to_a_hundredth(share: float, part: float) -> None:
    assert neid.learning_rate(settings(), share) == pytest.approx(3e-3 * part)


def test_the_defaults_are_the_papers() -> None:
    defaults = neid.NEIDSettings()
    assert (defaults.batch_size, defaults.crop, defaults.learning_rate) == (8, 256, 1e-4)
    assert (defaults.weight_magnified, defaults.weight_colour) == (0.1, 0.1)
    assert defaults.steps == 2000 * 485 / 8


@pytest.mark.usefixtures("slim")
def test_weights_begin_as_the_paper_says() -> None:
    learned = recipe(initialisation="paper")
    weights = torch.cat(
        [tensor.detach().flatten() for name, tensor in learned.named_parameters() if name.endswith("weight")]
    )
    biases = torch.cat([tensor.detach() for name, tensor in learned.named_parameters() if name.endswith("bias")])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.01)
    assert float(weights.mean()) == pytest.approx(0, abs=1e-4)
    assert not biases.any()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schedule": "linear"}, "schedule is 'paper' or 'cosine', found 'linear'"),
        ({"initialisation": "zero"}, "initialisation is 'paper' or 'kaiming', found 'zero'"),
        ({"magnified": "high"}, "magnified is 'low' or 'reference', found 'high'"),
        ({"colour": "lab"}, "colour is 'safe' or 'cosine', found 'lab'"),
        ({"crop": 100}, "crop has to be a multiple of 32, found 100"),
        ({"crop": 0}, "crop has to be a multiple of 32, found 0"),
        ({"huber_delta": 0.0}, r"huber_delta has to be above 0, found 0\.0"),
    ],
)
@pytest.mark.usefixtures("slim")
def test_a_setting_that_makes_no_sense_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        recipe(**change)


@pytest.mark.parametrize("make", [NEID, recipe], ids=["adapter", "recipe"])
def test_an_unknown_option_is_answered_with_the_known_ones(make: Any) -> None:
    with pytest.raises(ValueError, match=r"'neid' does not know the option 'ff'; accepted: neid alone; neid:unet \("):
        make("ff")
