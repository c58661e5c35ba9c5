from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench import plugins
from bench.contracts import Arrays, Dataset, Pair, Predictor, Sample, Task, Truth
from bench.plugins import Spec
from bench.training import Plan, read_metadata, recipe_of, train

CPU = torch.device("cpu")
Saliency: Any = plugins.load(Task, Spec.parse("saliency"))
network = sys.modules[Saliency.__module__.replace("saliency", "_saliency_network")]

QUICK = {"batch_size": 2, "side": 64, "smallest_area": 1.0, "jitter": 0.1, "learning_rate": 3e-3}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures of these tests are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def disc(row: float, column: float, radius: float = 15, shape: tuple[int, int] = (60, 80)) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


class Discs(Dataset):
    """Two bright discs in twilight, and what they look like by day."""

    label, layout, origin = "Discs", "none", "made by the test"
    masks: ClassVar = {"1": disc(24, 26), "2": disc(34, 54)}

    @property
    def paired(self) -> bool:
        return self.option != "alone"

    def samples(self) -> list[Sample]:
        file = Path(__file__)
        return [Sample(name, file, file if self.paired else None) for name in self.masks]

    def load(self, sample: Sample) -> Pair:
        noise = torch.rand(3, 60, 80, generator=Generator().manual_seed(int(sample.id)))
        day = (0.3 * noise + 0.65 * torch.from_numpy(self.masks[sample.id])).clamp(0, 1)
        return Pair(day / 5, day) if self.paired else Pair(day, None)

    def truth(self, sample: Sample) -> Truth:
        return Truth((80, 60), mask=None if self.option == "blind" else self.masks[sample.id])


def settings(**changes: Any) -> Any:
    return dataclasses.replace(network.SaliencySettings(), **QUICK | changes)


def recipe(**changes: Any) -> Any:
    torch.manual_seed(0)
    return network.SaliencyRecipe("", settings(**changes))


def truth(mask: NDArray[np.bool_] | None = None, second: Tensor | None = None) -> Truth:
    return Truth((4, 2), mask=mask, second=second)


def only(predictor: Predictor, picture: Tensor, said: Truth | None = None, name: str = "1") -> NDArray[np.uint8]:
    (found,) = predictor.predict(picture[None], [said or truth()], [name])
    return np.asarray(found["map"])


# --- Network and recipe


def test_the_network_is_small() -> None:
    model = network.SaliencyNetwork().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) < 2.5e6
    multiplications = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda layer, given, found: multiplications.append(found.numel() * layer.weight[0].numel())
            )
    with torch.no_grad():
        model(torch.rand(1, 3, 256, 256))
    assert 0.5e9 < sum(multiplications) < 3e9


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (1, 5)])
def test_the_network_takes_any_size(size: tuple[int, int]) -> None:
    found = network.SaliencyNetwork().eval()(torch.rand(2, 3, *size))
    assert found.shape == (2, 1, *size)
    assert found.isfinite().all()


def test_what_is_learned_is_the_mask_from_the_picture_in_normal_light() -> None:
    data = Discs()
    sample = data.samples()[0]
    photograph, mask = recipe().load(data, sample)
    assert torch.equal(photograph, data.load(sample).reference)
    assert mask.shape == (3, 60, 80)
    assert (mask == torch.from_numpy(data.masks["1"])).all()


def test_a_photograph_without_reference_is_learned_from_itself() -> None:
    data = Discs("alone")
    sample = data.samples()[0]
    assert torch.equal(recipe().load(data, sample).low, data.load(sample).low)


def test_a_picture_without_mask_is_named() -> None:
    with pytest.raises(ValueError, match=r"'1' of Discs has no mask"):
        recipe().load(Discs("blind"), Discs("blind").samples()[0])


def test_a_mask_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Discs()
    monkeypatch.setattr(data, "masks", {"1": disc(3, 3, shape=(9, 9))})
    monkeypatch.setattr(Discs, "load", lambda self, sample: Pair(torch.zeros(3, 60, 80), None))
    with pytest.raises(ValueError, match=r"\(60, 80\) and its mask \(9, 9\)"):
        recipe().load(data, Sample("1", Path(__file__)))


def test_drawing_depends_on_the_generator_alone() -> None:
    learner = recipe(smallest_area=0.6, jitter=0.3)
    pictures = [learner.read(learner.load(Discs(), sample)) for sample in Discs().samples()]
    first, again, other = (learner.draw(pictures, Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])
    assert [one.shape for one in first] == [(2, 3, 64, 64), (2, 1, 64, 64)]


def test_photograph_and_mask_are_cropped_alike() -> None:
    learner = recipe(smallest_area=0.3, jitter=0.0)
    mask = torch.from_numpy(disc(20, 30)).float().expand(3, -1, -1)
    picture = learner.read(Pair(mask, mask))
    for seed in range(5):
        photographs, masks = learner.draw([picture], Generator().manual_seed(seed))
        torch.testing.assert_close(photographs, masks.expand(-1, 3, -1, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("found", "loss"),
    [
        (torch.tensor([1.0, 1, 0, 0]), 0),
        (torch.tensor([0.0, 0, 1, 1]), 1 - 1 / 5),
        (torch.tensor([0.5, 0.5, 0.5, 0.5]), 1 - 2 / 4),  # 1 of 3
    ],
)
def test_hand_computed_iou_loss(found: Tensor, loss: float) -> None:
    mask = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 2, 2)
    assert float(network.soft_iou_loss(found.view(1, 1, 2, 2), mask)) == pytest.approx(loss)


@pytest.mark.parametrize(("name", "value"), [("side", 16), ("smallest_area", 0.0), ("jitter", 1.0)])
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        recipe(**{name: value})


def test_two_discs_are_learned_in_a_few_dozen_steps(tmp_path: Path) -> None:
    plan = Plan("saliency", recipe_of("saliency", Saliency), settings(steps=30), [Discs()], seed=0, held_out=0)
    *_, last = train(plan, tmp_path, CPU)
    assert last.weights == tmp_path / Saliency.weights_file
    assert read_metadata(last.weights)["method"] == "saliency"

    task = Saliency(str(last.weights), "64x64")
    predictor = task.load(Discs(), "none", CPU)
    for sample in Discs().samples():
        photograph = Discs().load(sample).reference
        assert photograph is not None
        said = Discs().truth(sample)
        found = task.assess({"map": only(predictor, photograph)}, said)
        assert found["map"].shape == (64, 64)
        assert found["mae"] < 0.05
        assert found["wf"] > 0.85


# --- Weights of our own network


def test_without_weights_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saliency, "weights_file", "absent.safetensors")
    with pytest.raises(LookupError, match=r"absent\.safetensors does not exist; train it with 'bench train saliency"):
        Saliency().model(Discs(), "none")
    with pytest.raises(OSError, match=r"absent\.safetensors does not exist"):
        Saliency().load(Discs(), "none", CPU)


@pytest.mark.parametrize(
    ("metadata", "state", "said"),
    [
        ('{"method": "drgn"}', {"a": torch.zeros(1)}, "weights of 'drgn'"),
        ("{}", {"a": torch.zeros(1)}, "does not fit the saliency network"),
    ],
)
def test_weights_of_something_else_are_refused(
    tmp_path: Path, metadata: str, state: dict[str, Tensor], said: str
) -> None:
    file = tmp_path / "other.safetensors"
    save_file(state, file, {"training": metadata})
    with pytest.raises(ValueError, match=said):
        Saliency(str(file)).load(Discs(), "none", CPU)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"torn\.safetensors is no whole safetensors file"):
        Saliency(str(tmp_path / "torn.safetensors")).load(Discs(), "none", CPU)


# --- Models made elsewhere


class Brightness(nn.Module):
    """What ImageNet's normalisation takes away is added again, so that the map is the picture's mean over RGB."""

    def restored(self, picture: Tensor) -> Tensor:
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (picture * deviation.view(1, 3, 1, 1) + mean.view(1, 3, 1, 1)).mean(dim=1, keepdim=True)

    def forward(self, picture: Tensor) -> Tensor:
        return self.restored(picture)


class Logits(Brightness):
    def forward(self, picture: Tensor) -> Tensor:
        return 8 * self.restored(picture) - 4


class Several(Brightness):
    """(1, h, w) first, as U2-Net's main output stands before its side outputs."""

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        found = self.restored(picture)
        return found[0], 1 - found


class Depth(Brightness):
    def forward(self, picture: Tensor, second: Tensor) -> Tensor:
        return self.restored(second) + 0 * self.restored(picture)


class Colours(nn.Module):
    def forward(self, picture: Tensor) -> Tensor:
        return picture.sigmoid()


class Undefined(Brightness):
    def forward(self, picture: Tensor) -> Tensor:
        return self.restored(picture) / 0 * 0


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    def saved(model: nn.Module, inputs: int = 1, name: str = "model.pt") -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch recommends another format than TorchScript
            torch.jit.trace(model.eval(), (torch.rand(1, 3, 8, 8),) * inputs).save(str(tmp_path / name))
        return tmp_path / name

    return saved


def loaded(file: Path, size: str = "16x8") -> Predictor:
    predictor: Predictor = Saliency(str(file), size).load(Discs(), "none", CPU)
    return predictor


def as_seen(picture: Tensor) -> Tensor:
    """The picture's brightness at the model's size, (8, 16)."""
    return F.interpolate(picture[None], (8, 16), mode="bilinear", antialias=True)[0].mean(dim=0)


def levels(values: Tensor) -> NDArray[np.int64]:
    return (values * 255).round().long().numpy()


def close(found: NDArray[np.uint8], expected: NDArray[np.int64]) -> bool:
    """Within the level that rounding of float32 may turn over."""
    return found.shape == expected.shape and bool((np.abs(found - expected) <= 1).all())


def test_a_torchscript_model_sees_the_normalised_picture_at_its_size(
    script: Callable[..., Path], photograph: Tensor
) -> None:
    assert close(only(loaded(script(Brightness())), photograph), levels(as_seen(photograph)))


def test_values_outside_0_and_1_go_through_a_sigmoid(script: Callable[..., Path], photograph: Tensor) -> None:
    found = only(loaded(script(Logits())), photograph)
    assert close(found, levels(torch.sigmoid(8 * as_seen(photograph) - 4)))


def test_the_first_of_several_outputs_is_the_map(script: Callable[..., Path], photograph: Tensor) -> None:
    found = only(loaded(script(Several(), name="u2net.torchscript")), photograph)
    assert close(found, levels(as_seen(photograph)))


def test_a_map_keeps_its_range(script: Callable[..., Path]) -> None:
    picture = torch.full((3, 8, 16), 0.4)
    picture[:, 2:5, 3:9] = 0.6
    assert set(np.unique(only(loaded(script(Brightness())), picture))) == {102, 153}


def test_a_model_with_two_inputs_sees_the_second_picture(script: Callable[..., Path], photograph: Tensor) -> None:
    predictor = loaded(script(Depth(), inputs=2))
    second = photograph.flip(-1)
    assert close(only(predictor, photograph, truth(second=second)), levels(as_seen(second)))
    with pytest.raises(ValueError, match=r"model\.pt takes two pictures and 'night' has no second one"):
        only(predictor, photograph, name="night")


def test_a_model_for_rgb_alone_ignores_the_second_picture(script: Callable[..., Path], photograph: Tensor) -> None:
    predictor = loaded(script(Brightness()))
    with_second = only(predictor, photograph, truth(second=photograph.flip(-1)))
    assert np.array_equal(with_second, only(predictor, photograph))


def test_pictures_of_a_batch_do_not_touch_each_other(script: Callable[..., Path], photograph: Tensor) -> None:
    predictor = loaded(script(Logits()))
    # Its values stay inside [0, 1], so that it is no logits for a sigmoid, whatever its neighbour is.
    even = torch.full_like(photograph, 0.55)
    alone = [only(predictor, even), only(predictor, photograph)]
    together = predictor.predict(torch.stack((even, photograph)), [truth(), truth()], ["1", "2"])
    assert [np.unique(alone[0]).tolist()] == [[102]]
    assert all(np.array_equal(one, two["map"]) for one, two in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("model", "said"),
    [(Colours(), r"model\.pt returned shape \(1, 3, 8, 16\), expected one map"), (Undefined(), "NaN or infinite")],
)
def test_an_output_that_is_no_map_is_refused(
    script: Callable[..., Path], photograph: Tensor, model: nn.Module, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        only(loaded(script(model)), photograph)


def test_a_state_dict_is_no_torchscript_file(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt is no TorchScript file .*torch\.jit\.trace"):
        loaded(tmp_path / "state.pt")


def onnx_model(file: Path, inputs: int = 1, sides: tuple[Any, Any] = ("height", "width")) -> Path:
    """Mean over the channels of the last input."""
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = ["rgb", "depth"][:inputs]
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", [names[-1]], ["map"], axes=[1], keepdims=1)],
        "stub",
        [helper.make_tensor_value_info(name, kind, [1, 3, *sides]) for name in names],
        [helper.make_tensor_value_info("map", kind, [1, 1, *sides])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(file))
    return file


def normalised_mean(picture: Tensor) -> Tensor:
    seen = F.interpolate(picture[None], (8, 16), mode="bilinear", antialias=True)[0]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((seen - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)).mean(dim=0)


@pytest.mark.parametrize("inputs", [1, 2])
def test_an_onnx_model(tmp_path: Path, photograph: Tensor, inputs: int) -> None:
    predictor = loaded(onnx_model(tmp_path / "model.onnx", inputs))
    second = photograph.flip(-1)
    found = only(predictor, photograph, truth(second=second))
    assert close(found, levels(torch.sigmoid(normalised_mean(second if inputs == 2 else photograph))))


def test_an_onnx_model_of_another_size_names_its_own(tmp_path: Path) -> None:
    file = onnx_model(tmp_path / "model.onnx", sides=(352, 352))
    with pytest.raises(ValueError, match=r"\[1, 3, 352, 352\], the size asked for makes \[1, 3, 8, 16\]"):
        loaded(file)


def test_a_damaged_onnx_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"torn\.onnx cannot be loaded by onnxruntime"):
        loaded(tmp_path / "torn.onnx")


# --- Maps made elsewhere


def save_map(file: Path, values: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(file)
    return file


def test_maps_are_found_by_method_and_id(tmp_path: Path) -> None:
    file = save_map(tmp_path / "gamma_2.2" / "1.png", [[0, 7], [255, 128]])
    task = Saliency(f"maps:{tmp_path}")
    assert task.model(Discs(), "gamma:2.2") == (file,)
    found = only(task.load(Discs(), "gamma:2.2", CPU), torch.zeros(3, 2, 2))
    assert found.tolist() == [[0, 7], [255, 128]]


def test_maps_of_the_data_set_come_first(tmp_path: Path) -> None:
    save_map(tmp_path / "none" / "1.png", [[1]])
    inner = save_map(tmp_path / "test_task_saliency" / "none" / "1.png", [[2]])
    assert Saliency(f"maps:{tmp_path}").model(Discs(), "none") == (inner,)


def test_a_grey_map_saved_in_colour_keeps_its_values(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save_map(tmp_path / "none" / "1.png", np.repeat(values[:, :, None], 3, axis=2))
    predictor = Saliency(f"maps:{tmp_path}").load(Discs(), "none", CPU)
    assert np.array_equal(only(predictor, torch.zeros(3, 2, 2)), values)


def test_a_missing_map_is_named_by_its_path(tmp_path: Path) -> None:
    save_map(tmp_path / "none" / "1.png", [[0]])
    predictor = Saliency(f"maps:{tmp_path}").load(Discs(), "none", CPU)
    with pytest.raises(ValueError, match=r"picture '2' has no map: expected .*none/2\.png"):
        only(predictor, torch.zeros(3, 2, 2), name="2")


def test_two_maps_of_one_picture_are_named(tmp_path: Path) -> None:
    save_map(tmp_path / "none" / "1.png", [[0]])
    save_map(tmp_path / "none" / "1.bmp", [[0]])
    predictor = Saliency(f"maps:{tmp_path}").load(Discs(), "none", CPU)
    with pytest.raises(ValueError, match=r"has 2 maps, .*1\.bmp and .*1\.png"):
        only(predictor, torch.zeros(3, 2, 2))


def test_a_method_without_maps_is_a_lookup_error(tmp_path: Path) -> None:
    task = Saliency(f"maps:{tmp_path}")
    with pytest.raises(LookupError, match=r"no maps of 'he': expected .*/he"):
        task.model(Discs(), "he")
    with pytest.raises(LookupError, match="no maps of 'he'"):
        task.load(Discs(), "he", CPU)


# --- Task


def test_a_map_is_enlarged_to_the_mask_when_scored() -> None:
    said = truth(np.array([[False, False, True, True]] * 2))
    prediction: Arrays = {"map": np.array([[0, 255]], np.uint8)}
    found = Saliency().assess(prediction, said)
    assert found["map"] is prediction["map"]
    # Bilinear between pixel centres: 0, 63.75, 191.25, 255.
    assert found["mae"] == pytest.approx((0 + 64 + 64 + 0) / 4 / 255)


def test_scores_hold_for_a_perfect_map() -> None:
    mask = disc(20, 30)
    task = Saliency()
    stored = task.assess({"map": mask.astype(np.uint8) * 255}, truth(mask))
    found = task.measure([task.keep(truth(mask), ())], [stored], (), {})
    values = {one.name: float(one.statistic(np.ones((1, 1)))[0]) for one in found}
    assert values["mae"] == 0
    assert [values[name] for name in ("maxf", "adpf", "wf", "s")] == pytest.approx([1] * 4)


def test_what_is_kept_of_a_mask_is_the_mask() -> None:
    mask = disc(3, 4, radius=3, shape=(7, 9))
    kept = Saliency().keep(truth(mask), ())
    height, width = kept["shape"]
    assert kept["mask"].nbytes == 8
    assert np.array_equal(np.unpackbits(kept["mask"], count=height * width).reshape(height, width), mask)


def test_a_truth_without_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="no mask"):
        Saliency().keep(truth(), ())
    with pytest.raises(ValueError, match="no mask"):
        Saliency().assess({"map": np.zeros((2, 2), np.uint8)}, truth())


def test_names_of_protocols(tmp_path: Path) -> None:
    for name in ("u2 net.onnx", "vst.pt", "mine.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "vst_maps").mkdir()
    found = [
        Saliency(option, size).protocol(Discs())
        for option, size in [
            ("", ""),
            ("", "352x352"),
            (str(tmp_path / "u2 net.onnx"), ""),
            (str(tmp_path / "vst.pt"), "224x224"),
            (str(tmp_path / "mine.safetensors"), ""),
            (f"maps:{tmp_path / 'vst_maps'}", ""),
        ]
    ]
    assert found == [
        "saliency-bench_sod-256x256",
        "saliency-bench_sod-352x352",
        "saliency-u2_net-320x320",
        "saliency-vst-224x224",
        "saliency-mine-256x256",
        "saliency-maps-vst_maps",
    ]


@pytest.mark.parametrize(
    ("option", "size", "said"),
    [
        ("u2net.pth", "", r"u2net\.pth is no model file \(\.safetensors, \.onnx"),
        ("absent.onnx", "", r"there is no file absent\.onnx"),
        ("maps:absent", "", "absent is not a folder"),
        ("maps:", "", "is not a folder"),
        ("", "256", "WIDTHxHEIGHT"),
    ],
)
def test_a_bad_option_is_refused(option: str, size: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Saliency(option, size)
