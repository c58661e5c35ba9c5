"""LPIPS v0.1 on a backbone whose weights are read from a file; nothing is ever downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.planes import Planes

KEPT_BELOW = 32 * 2**20
"""Bytes of a batch of references whose features are kept for the next method; VGG's take forty times as many."""


def build(network: str, backbone: Path, device: torch.device) -> torch.nn.Module:
    """The lpips package's module ('alex', 'vgg' or 'squeeze') with its own linear weights and the file's backbone.

    Raises ValueError where the file does not hold this backbone.
    """
    import lpips

    # The backbone starts at random and is then overwritten; the caller's random state must not notice.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        module: torch.nn.Module = lpips.LPIPS(net=network, version="0.1", pnet_rand=True, verbose=False)
    stored = torch.load(backbone, map_location="cpu", weights_only=True)
    trunk: Any = module.net
    trunk.load_state_dict(backbone_weights(trunk.state_dict(), stored, backbone))
    return module.eval().requires_grad_(False).to(device)


def backbone_weights(wanted: Mapping[str, Tensor], stored: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Weights under lpips's names: its 'slice2.3.bias' is torchvision's 'features.3.bias' (or '3.bias')."""
    found = {}
    for key, tensor in wanted.items():
        layer = key.split(".", 1)[1]
        value = stored.get(f"features.{layer}", stored.get(layer))
        if value is None or value.shape != tensor.shape:
            has = "is missing" if value is None else f"has shape {tuple(value.shape)}"
            raise ValueError(f"{source} is not this LPIPS backbone: {layer} {has}, expected {tuple(tensor.shape)}")
        found[key] = value
    return found


def spatial_distance(module: torch.nn.Module, enhanced: Planes, reference: Planes | None, smallest: int) -> Tensor:
    """The map that LPIPS is the mean of but for its interpolation to the picture's size, float64 (N, H, W)."""
    from lpips.lpips import upsample

    size = enhanced.rgb.shape[2:]
    layers: list[Tensor] = [upsample(layer, out_HW=size) for layer in _compared(module, enhanced, reference, smallest)]
    return reduce(torch.add, layers)[:, 0].to(torch.float64)


def distance(module: torch.nn.Module, enhanced: Planes, reference: Planes | None, smallest: int) -> Tensor:
    """LPIPS per picture, float64 (N,); pictures below `smallest` pixels leave the deepest layer empty."""
    layers = [layer.mean((2, 3)) for layer in _compared(module, enhanced, reference, smallest)]
    return reduce(torch.add, layers).flatten().to(torch.float64)


def _compared(module: Any, enhanced: Planes, reference: Planes | None, smallest: int) -> list[Tensor]:
    """Each layer's weighted squared difference, (N, 1, h, w): the package's forward in two halves.

    All methods of a chunk are compared with one reference, whose half is computed once.
    """
    if reference is None:
        raise ValueError("LPIPS needs a reference picture")
    height, width = enhanced.rgb.shape[-2:]
    if min(height, width) < smallest:
        raise ValueError(f"LPIPS on this backbone needs {smallest}x{smallest} pixels, the picture has {width}x{height}")
    features = _Features(module)
    with torch.inference_mode():
        theirs = reference.derived(features) if reference.rgb.nbytes <= KEPT_BELOW else features(reference)
        return [
            layer(mine.sub_(other).square_())
            for layer, mine, other in zip(module.lins, features(enhanced), theirs, strict=True)
        ]


@dataclass(frozen=True)
class _Features:
    """What a network sees in pictures, layer by layer, each pixel's to unit length; equal for equal networks."""

    module: Any

    def __call__(self, planes: Planes) -> list[Tensor]:
        from lpips import normalize_tensor

        return [normalize_tensor(layer) for layer in self.module.net(self.module.scaling_layer(planes.rgb * 2 - 1))]
