"""Salient object detection: a model marks what stands out in each picture, and its maps are scored against masks."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.contracts import Arrays, Dataset, Measured, Predictor, Task, Truth
from bench.image import PICTURE_SUFFIXES, natural_key, parse_size, read_rgb, to_uint8
from bench.training import Recipe

from ._saliency_network import SaliencyRecipe, load_network, resized, saliency
from ._saliency_scores import contributions, measured

FILE_SIZE = "320x320"
"""What a user's model sees where no size is given."""
MAPS = "maps:"
SCRIPT_SUFFIXES = (".pt", ".torchscript")
SUFFIXES = (".safetensors", ".onnx", *SCRIPT_SUFFIXES)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LUMA_BT601 = (0.299, 0.587, 0.114)


class Saliency(Task):
    """Maps in 8 bit at the model's own size, resized to the mask's (Pillow, bilinear) and scored by PySODMetrics.

    The network trained here sees 256x256. A user's `.onnx` or TorchScript model sees 320x320 unless a size is given:
    RGB (1, 3, H, W) less ImageNet's mean and divided by its deviation; a model with two inputs is also given the second
    picture (depth, thermal), prepared likewise. Its first output is the map; a sigmoid is applied where a map's values
    leave [0, 1]. A map is stored as the model gives it, not stretched to its minimum and maximum; scoring stretches it.
    """

    label = "Saliency"
    source = "Pang, PySODMetrics 1.6 (github.com/lartpang/PySODMetrics)"
    size = "256x256"
    options = (
        "nothing for the network trained here, FILE.safetensors for other weights of it, FILE.onnx or FILE.pt or "
        "FILE.torchscript for your own model, maps:DIR for maps made elsewhere, DIR/[<data set>/]<method>/<id>.png"
    )
    headline = ("maxf", "max F")
    trained_as = "saliency"
    weights_file: ClassVar[str] = "saliency.safetensors"
    """File below bench/tasks/weights/ that is shipped with the task."""
    recipe: ClassVar[type[Recipe]] = SaliencyRecipe

    def __init__(self, option: str = "", size: str = "", files: Mapping[str, Path] | None = None) -> None:
        super().__init__(option, size, files)
        self._maps = Path(option.removeprefix(MAPS)).expanduser() if option.startswith(MAPS) else None
        self._file = Path(option).expanduser() if option and self._maps is None else None
        if self._file is not None and self._file.suffix not in SUFFIXES:
            raise ValueError(f"saliency:{option} is no model file ({', '.join(SUFFIXES)}) and no maps:DIR")
        if self._file is not None and not self._file.is_file():
            raise ValueError(f"saliency:{option}: there is no file {self._file}")
        if self._maps is not None and not (option != MAPS and self._maps.is_dir()):
            raise ValueError(f"saliency:{option}: {self._maps} is not a folder; expected DIR/<method>/<id>.png")
        own = self._file is None or self._file.suffix == ".safetensors"
        self._size = size or (self.size if own else FILE_SIZE)
        width, height = parse_size(self._size)
        self._sides = (height, width)

    def model(self, dataset: Dataset, method: str) -> tuple[Path, ...]:
        """The weights or model file, or every map of the method."""
        if self._maps is not None:
            return tuple(path for paths in _pictures_below(self._folder(dataset, method)).values() for path in paths)
        file = self._weights
        if not file.is_file():
            raise LookupError(
                f"{file} does not exist; train it with 'bench train saliency --dataset ecssd:train', or name a model "
                f"or maps of your own: saliency:FILE.onnx, saliency:maps:DIR"
            )
        return (file,)

    def protocol(self, dataset: Dataset) -> str:
        """'saliency-bench_sod-256x256', 'saliency-<file's stem>-320x320' or 'saliency-maps-<folder's name>'."""
        if self._maps is not None:
            return f"saliency-maps-{_portable(self._maps.resolve().name)}"
        return f"saliency-{_portable(self._file.stem) if self._file else 'bench_sod'}-{self._size}"

    def load(self, dataset: Dataset, method: str, device: torch.device) -> Predictor:
        """The network or model on the device, or the reader of the method's maps."""
        if self._maps is not None:
            folder = self._folder(dataset, method)
            return _Maps(folder, _pictures_below(folder))
        file = self._weights
        if file.suffix == ".safetensors":
            return _Network(load_network(file).to(device), self._sides, device)
        foreign = _onnx(file, self._sides, device) if file.suffix == ".onnx" else _script(file, device)
        return _Foreign(foreign, file, self._sides, device)

    def assess(self, prediction: Arrays, truth: Truth) -> Arrays:
        """The map (h, w) uint8 and its contributions to the scores."""
        found = prediction["map"]
        mask = _mask(truth)
        if found.shape != mask.shape:
            height, width = mask.shape
            found = np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.BILINEAR))
        return {**prediction, **contributions(found, mask)}

    def keep(self, truth: Truth, classes: Sequence[str]) -> Arrays:
        """`mask`: the H * W bits of the mask row by row, as np.packbits packs them; `shape`: H and W."""
        mask = _mask(truth)
        return {"mask": np.packbits(mask), "shape": np.array(mask.shape, dtype=np.int32)}

    @classmethod
    def measure(
        cls,
        truths: Sequence[Arrays],
        predictions: Sequence[Arrays | None],
        classes: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        confidence: float | None = None,
    ) -> list[Measured]:
        """MAE, F (max, mean, adaptive, weighted), S and E (max, mean, adaptive); max F and MAE of each group too.

        `confidence` means nothing here: the scores go through all thresholds.
        """
        return measured(predictions, groups)

    @property
    def _weights(self) -> Path:
        return self._file or Path(__file__).parent / "weights" / self.weights_file

    def _folder(self, dataset: Dataset, method: str) -> Path:
        """Where the maps of a method's pictures lie; LookupError naming the places looked at."""
        assert self._maps is not None
        name = type(dataset).__module__.rpartition(".")[2] + (f":{dataset.option}" if dataset.option else "")
        methods = dict.fromkeys((method, _portable(method)))
        sets = dict.fromkeys((name, _portable(name), dataset.label, _portable(dataset.label)))
        places = [self._maps / one / kind for one in sets for kind in methods] + [self._maps / kind for kind in methods]
        for place in places:
            if place.is_dir():
                return place
        raise LookupError(
            f"{self._maps} has no maps of {method!r}: expected {self._maps / _portable(name) / _portable(method)} or "
            f"{self._maps / _portable(method)} with <id>.png"
        )


class _Network(Predictor):
    """The network of this project."""

    def __init__(self, network: torch.nn.Module, sides: tuple[int, int], device: torch.device) -> None:
        self._network = network
        self._sides = sides
        self._device = device

    @torch.no_grad()
    def predict(self, enhanced: Tensor, truths: Sequence[Truth], ids: Sequence[str]) -> list[Arrays]:
        pictures = enhanced.to(self._device).contiguous(memory_format=torch.channels_last)
        maps = to_uint8(saliency(self._network, pictures, self._sides)).cpu()
        return [{"map": one[0].numpy()} for one in maps]


class _Maps(Predictor):
    """Maps that somebody else's code made, found by the pictures' ids."""

    def __init__(self, folder: Path, files: Mapping[str, Sequence[Path]]) -> None:
        self._folder = folder
        self._files = files

    def predict(self, enhanced: Tensor, truths: Sequence[Truth], ids: Sequence[str]) -> list[Arrays]:
        return [{"map": _grey(self._find(name))} for name in ids]

    def _find(self, name: str) -> Path:
        found = self._files.get(name, ())
        if not found:
            raise ValueError(f"picture {name!r} has no map: expected {self._folder / name}.png (or .jpg, .webp, …)")
        if len(found) > 1:
            raise ValueError(f"picture {name!r} has {len(found)} maps, {' and '.join(map(str, found))}; keep one")
        return found[0]


class _Model(NamedTuple):
    run: Callable[[list[Tensor]], Any]
    inputs: int
    """1 for RGB alone, 2 with depth or thermal picture."""


class _Foreign(Predictor):
    """A user's model, given one picture at a time, as many are exported for that only."""

    def __init__(self, model: _Model, file: Path, sides: tuple[int, int], device: torch.device) -> None:
        if model.inputs not in (1, 2):
            raise ValueError(f"{file} takes {model.inputs} inputs; a saliency model takes RGB, or RGB and depth")
        self._model = model
        self._file = file
        self._sides = sides
        self._device = device

    @torch.no_grad()
    def predict(self, enhanced: Tensor, truths: Sequence[Truth], ids: Sequence[str]) -> list[Arrays]:
        return [self._one(*picture) for picture in zip(enhanced, truths, ids, strict=True)]

    def _one(self, picture: Tensor, truth: Truth, name: str) -> Arrays:
        given = [picture]
        if self._model.inputs == 2:
            if truth.second is None:
                raise ValueError(
                    f"{self._file} takes two pictures and {name!r} has no second one (depth, thermal); give a model "
                    f"for RGB alone"
                )
            given.append(truth.second)
        output = self._model.run([_normalised(one[None].to(self._device), self._sides) for one in given])
        return {"map": to_uint8(_as_map(output, self._file)).cpu().numpy()}


def _script(file: Path, device: torch.device) -> _Model:
    """A TorchScript model; raises ValueError for another kind of file."""
    with warnings.catch_warnings():
        # PyTorch recommends another format, 2.11 as a DeprecationWarning; models are shared in this one.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            module: Any = torch.jit.load(str(file), map_location=device)  # type: ignore[no-untyped-call]
            module.eval()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{file} is no TorchScript file ({reason}); save the model by torch.jit.trace(…).save(…), or as ONNX"
            ) from error
    arguments = module.forward.schema.arguments[1:]
    return _Model(lambda given: module(*given), sum(not one.has_default_value() for one in arguments))


def _onnx(file: Path, sides: tuple[int, int], device: torch.device) -> _Model:
    """An ONNX model; raises ImportError without onnxruntime, ValueError for a file or a size that does not fit."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ImportError(f"{file.name} needs onnxruntime; pip install 'lowlight-bench[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    providers = [one for one in (*wanted, "CPUExecutionProvider") if one in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers)
    except Exception as error:  # its errors have no common class of their own
        raise ValueError(f"{file} cannot be loaded by onnxruntime: {error}") from error
    inputs = session.get_inputs()
    for one in inputs:
        _check_input(one.shape, one.type, file, sides)

    def run(given: list[Tensor]) -> Tensor:
        fed = {one.name: picture.cpu().numpy() for one, picture in zip(inputs, given, strict=True)}
        return torch.from_numpy(session.run([session.get_outputs()[0].name], fed)[0])

    return _Model(run, len(inputs))


def _check_input(shape: Sequence[Any], kind: str, file: Path, sides: tuple[int, int]) -> None:
    """Raise ValueError for an input that (1, 3, *sides) in float32 does not fit; a free axis has a name, no number."""
    if kind != "tensor(float)":
        raise ValueError(f"{file} takes {kind}, expected tensor(float): export the model in float32")
    fits = len(shape) == 4 and all(
        not isinstance(there, int) or there == here for there, here in zip(shape, (1, 3, *sides), strict=True)
    )
    if not fits:
        raise ValueError(
            f"{file} takes pictures of shape {list(shape)}, the size asked for makes [1, 3, {sides[0]}, {sides[1]}]; "
            f"give the size that the model was exported for"
        )


def _normalised(picture: Tensor, sides: tuple[int, int]) -> Tensor:
    mean, deviation = (picture.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((resized(picture, sides) - mean) / deviation).contiguous()


def _as_map(output: Any, file: Path) -> Tensor:
    """The first output as (h, w) in [0, 1]; raises ValueError naming the file and what it gave."""
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise ValueError(f"{file} returned a {type(output).__name__}, expected a tensor or a tuple of them")
    if output.ndim < 2 or output.numel() != output.shape[-2] * output.shape[-1]:
        raise ValueError(f"{file} returned shape {tuple(output.shape)}, expected one map: (1, 1, h, w) or (1, h, w)")
    found = output.float().reshape(output.shape[-2:])
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"{file} returned values that are NaN or infinite")
    return torch.sigmoid(found) if float(found.min()) < 0 or float(found.max()) > 1 else found


def _grey(file: Path) -> NDArray[np.uint8]:
    """A saved map as (H, W), BT.601 luma of what is not grey; raises ValueError or OSError naming the file."""
    weights = torch.tensor(LUMA_BT601).view(3, 1, 1)
    levels: NDArray[np.uint8] = to_uint8((read_rgb(file) * weights).sum(dim=0)).numpy()
    return levels


def _mask(truth: Truth) -> NDArray[np.bool_]:
    if truth.mask is None:
        raise ValueError("the picture has no mask, which saliency is scored against")
    return truth.mask


def _pictures_below(folder: Path) -> dict[str, list[Path]]:
    """Picture files in and below a folder by their path without ending, in natural order."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*"), key=lambda path: natural_key(path.as_posix())):
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return found


def _portable(name: str) -> str:
    """A name as a file's or folder's: '_' for every character but letters, digits, '.' and '-'."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", name)
