"""Weights files in, network states out: every way in which a file can be the wrong one has its own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.training import read_metadata

_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, UnpicklingError)
"""What torch.load, its zip reader and its unpickler raise for files that are no state dicts."""


def shipped(file: str | None) -> Path:
    """Where a weights file of this project lies; `file` is what the adapter's `weights_name` says."""
    return Path(__file__).parent / "weights" / str(file)


def load_weights(network: nn.Module, path: Path, method: str, rename: Callable[[str], str] = str) -> None:
    """Fill a network from `.safetensors`, or from a PyTorch state dict (`.pth`, `.pt`) whose names `rename` translates.

    `method` is what the user writes ('drgn:wo_msr'); a file trained for another one is refused, though it might fit.
    Half-precision tensors become float32. Raises FileNotFoundError for a missing file and ValueError for one that is
    damaged or belongs to another network or method.
    """
    kind = type(network).__name__
    if not path.is_file():
        raise FileNotFoundError(
            f"the weights of {method!r} ({kind}) are expected at {path}, and there is no such file; train them "
            f"(bench train {method} --dataset lol:our485) and name the file (--weights {method}=FILE)"
        )
    trained = _method_of(path, kind)
    if trained not in ("", method):
        raise ValueError(f"{path} holds the weights of {trained!r}, and {method!r} was asked for; name the right file")
    found = {rename(name): tensor for name, tensor in _read(path, kind).items()}
    expected = network.state_dict()
    if problem := _mismatch(expected, found):
        raise ValueError(
            f"{path} does not hold the weights of {kind} ({len(expected)} tensors, {_count(expected):,} values): "
            f"{problem}; give the file that belongs to this method"
        )
    # Weight decay leaves subnormal weights in dead filters; they change no output bit that matters and slow a CPU down:
    # the authors' Zero-DCE takes 23 s for a 600x400 picture with them and 0.5 s without.
    tiny = torch.finfo(torch.float32).tiny
    network.load_state_dict(
        {
            name: torch.where(tensor.float().abs() < tiny, 0, tensor.float()) if tensor.is_floating_point() else tensor
            for name, tensor in found.items()
        }
    )


def _method_of(path: Path, kind: str) -> str:
    """The method a safetensors file was trained for, '' where it does not say."""
    if path.suffix != ".safetensors":
        return ""
    try:
        return str(read_metadata(path).get("method", ""))
    except ValueError as error:
        raise ValueError(f"{path} (weights of {kind}) is damaged or no safetensors file: {error}") from error


def _read(path: Path, kind: str) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} (weights of {kind}) is damaged or no safetensors file: {error}") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ValueError(f"{path} (weights of {kind}) is damaged or no PyTorch state dict: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"{path} (weights of {kind}) holds a {type(state).__name__}, expected a dict of tensors by name"
        )
    return {str(name): tensor for name, tensor in state.items()}


def _mismatch(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """What is wrong, in words; empty where the names and shapes agree."""
    if missing := sorted(expected.keys() - found.keys()):
        return (
            f"{len(missing)} tensors are missing, {missing[0]!r} among them; it holds {', '.join(sorted(found)[:3])} …"
        )
    if extra := sorted(found.keys() - expected.keys()):
        return f"{len(extra)} tensors do not belong to it, {extra[0]!r} among them"
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape:
            return f"{name!r} has shape {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
    return ""


def _count(state: dict[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in state.values())
