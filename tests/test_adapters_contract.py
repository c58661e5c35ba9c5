"""What every method promises, asked of every file in adapters/."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import plugins
from bench.contracts import Adapter
from bench.image import write_png
from bench.plugins import Spec

KINDS = {"none", "classical", "zero-reference", "unpaired", "paired", "outputs"}
FROM_DISK = "outputs"
NAMES = plugins.names(Adapter)
COMPUTED = [name for name in NAMES if name != FROM_DISK]  # the methods that enhance what they are given


def build(name: str) -> Adapter:
    adapter_class = plugins.load(Adapter, Spec.parse(name))
    file = adapter_class.weights_file
    folder = Path(inspect.getfile(adapter_class)).parent / "weights"
    if file is not None and not (folder / file).is_file():
        pytest.fail(f"{name} ships {file}, which is not in {folder}")
    return adapter_class("", folder / file if file is not None else None)


def enhance(adapter: Adapter, low: Tensor) -> Tensor:
    """Pad and crop as the harness does."""
    multiple = adapter.pad_multiple
    height, width = low.shape[-2:]
    padding = (0, -width % multiple, 0, -height % multiple)
    padded = torch.nn.functional.pad(low, padding, mode="replicate") if any(padding) else low
    return adapter.enhance(padded)[..., :height, :width]


def dark_pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth and noisy at once, in 8 bit, mostly dark: values between 0 and 96 of 255."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    noisy = 80 * smooth + 16 * torch.rand(count, 3, height, width, generator=generator)
    return noisy.floor() / 255


def assert_lawful(enhanced: Tensor, low: Tensor) -> None:
    assert enhanced.shape == low.shape
    assert enhanced.dtype == torch.float32
    assert enhanced.device == low.device
    assert bool(enhanced.isfinite().all())
    assert float(enhanced.min()) >= 0
    assert float(enhanced.max()) <= 1


def test_the_folder_holds_methods() -> None:
    assert {"input", "gamma", "he", "clahe", "lime", "zero_dce", "outputs"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_facts_for_tables_are_stated(name: str) -> None:
    adapter_class = plugins.load(Adapter, Spec.parse(name))
    assert adapter_class.label.strip()
    assert adapter_class.source.strip()
    assert adapter_class.kind in KINDS
    assert adapter_class.pad_multiple >= 1


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 47), (5, 3), (1, 7), (7, 1), (1, 1)])
def test_any_size_gives_a_picture_of_that_size_in_range(
    name: str, height: int, width: int, device: torch.device
) -> None:
    adapter = build(name)
    adapter.to(device)
    low = dark_pictures(1, height, width).to(device)
    assert_lawful(enhance(adapter, low), low)


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize("level", [0.0, 1 / 255, 0.5, 1.0], ids=["black", "almost black", "grey", "white"])
def test_a_flat_picture_gives_finite_values_in_range(name: str, level: float) -> None:
    low = torch.full((1, 3, 24, 32), level)
    assert_lawful(enhance(build(name), low), low)


@pytest.mark.parametrize("name", COMPUTED)
def test_the_input_is_not_modified(name: str) -> None:
    low = dark_pictures(1, 24, 32)
    before = low.clone()
    enhanced = enhance(build(name), low)
    assert torch.equal(low, before)
    enhanced.zero_()
    assert torch.equal(low, before), "the output shares memory with the input"


@pytest.mark.parametrize("name", COMPUTED)
def test_the_same_picture_gives_the_same_output(name: str) -> None:
    low = dark_pictures(1, 24, 32)
    assert torch.equal(enhance(build(name), low), enhance(build(name), low))


@pytest.mark.parametrize("name", COMPUTED)
def test_a_batch_of_two_equals_two_batches_of_one(name: str) -> None:
    adapter = build(name)
    low = dark_pictures(2, 40, 56)
    alone = torch.cat([enhance(adapter, low[:1]), enhance(adapter, low[1:])])
    # float32 sums of a convolution depend on how the batch is split among vector units: no 8-bit level may change by it
    torch.testing.assert_close(enhance(adapter, low), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", COMPUTED)
def test_no_gradient_is_kept(name: str) -> None:
    assert not enhance(build(name), dark_pictures(1, 24, 32)).requires_grad


@pytest.mark.parametrize("name", COMPUTED)
def test_an_unknown_option_is_refused_with_the_method_and_the_option(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*no-such-option"):
        plugins.load(Adapter, Spec.parse(name))("no-such-option")


@pytest.mark.parametrize("name", COMPUTED)
def test_files_the_result_depends_on_exist(name: str) -> None:
    adapter = build(name)
    assert all(path.is_file() for path in adapter.files)
    assert bool(adapter.files) == (adapter.weights_file is not None)


def test_pictures_from_disk_keep_the_contract(tmp_path: Path) -> None:
    low = dark_pictures(2, 24, 32)
    for name, picture in zip(("a", "b"), 1 - low, strict=True):
        write_png(tmp_path / f"{name}.png", picture)
    enhanced = plugins.load(Adapter, Spec.parse(FROM_DISK))(str(tmp_path)).enhance_named(low, "demo", ["a", "b"])
    assert_lawful(enhanced, low)
    torch.testing.assert_close(enhanced, 1 - low, rtol=0, atol=1e-6)
