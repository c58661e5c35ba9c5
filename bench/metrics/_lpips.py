"""LPIPS v0.1 on a backbone whose weights are read from a file; nothing is ever downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.planes import Planes


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


def spatial_distance(module: Any, enhanced: Planes, reference: Planes | None, smallest: int) -> Tensor:
    """The map that LPIPS is the mean of but for its interpolation to the picture's size, float64 (N, H, W)."""
    module.spatial = True
    try:
        return _compared(module, enhanced, reference, smallest)[:, 0].to(torch.float64)
    finally:
        module.spatial = False


def distance(module: torch.nn.Module, enhanced: Planes, reference: Planes | None, smallest: int) -> Tensor:
    """LPIPS per picture, float64 (N,); pictures below `smallest` pixels leave the deepest layer empty."""
    return _compared(module, enhanced, reference, smallest).flatten().to(torch.float64)


def _compared(module: torch.nn.Module, enhanced: Planes, reference: Planes | None, smallest: int) -> Tensor:
    if reference is None:
        raise ValueError("LPIPS needs a reference picture")
    height, width = enhanced.rgb.shape[-2:]
    if min(height, width) < smallest:
        raise ValueError(f"LPIPS on this backbone needs {smallest}x{smallest} pixels, the picture has {width}x{height}")
    with torch.inference_mode():
        values: Tensor = module(enhanced.rgb * 2 - 1, reference.rgb * 2 - 1)
    return values
