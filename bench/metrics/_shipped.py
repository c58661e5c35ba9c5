"""Parameter sets that this project fitted itself: found beside the metrics, checked by digest, read."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

from ._support_vectors import Classification, Regression
from .sseq import Machines

FOLDER = Path(__file__).parent / "weights"
FACTS = "fit"
"""The one key of the files' metadata; its value is JSON."""


class ScaledRegression(NamedTuple):
    """A support vector regression with the ranges of its features."""

    low: Tensor
    """Smallest fitted value of each feature, float64; becomes -1."""
    high: Tensor
    """Largest; becomes 1."""
    machine: Regression

    def predict(self, features: Tensor) -> Tensor:
        """One value per row of features (N, F), both in main memory."""
        return self.machine.predict(-1 + 2 * (features - self.low) / (self.high - self.low))


def read_shipped(name: str, digest: str) -> dict[str, Tensor]:
    """The tensors of weights/<name>.safetensors as float64.

    Raises ValueError where the content is not the one that the metric's source names: scores are stored under a key
    over that source, so a file that changed on its own would let old and new scores stand in one column.
    """
    file = FOLDER / f"{name}.safetensors"
    content = file.read_bytes()
    found = sha256(content).hexdigest()
    if found != digest:
        raise ValueError(
            f"{file} has SHA-256 {found}, bench/metrics/{name}.py expects {digest}; install the project again or, "
            f"after a fit of your own, write the new digest there"
        )
    return {key: tensor.to(torch.float64) for key, tensor in load(content).items()}


def read_scaled_regression(name: str, digest: str) -> ScaledRegression:
    """The regression in weights/<name>.safetensors."""
    stored = read_shipped(name, digest)
    return ScaledRegression(stored["low"], stored["high"], _regression(stored))


def read_machines(name: str, digest: str) -> Machines:
    """SSEQ's two stages in weights/<name>.safetensors."""
    stored = read_shipped(name, digest)
    count = sum(key.endswith(".rho") for key in stored) - 1  # all but the classifier's
    distortion = Classification(
        vectors=stored["classifier.vectors"],
        coefficients=stored["classifier.coefficients"],
        rho=stored["classifier.rho"],
        slope=stored["classifier.slope"],
        offset=stored["classifier.offset"],
        gamma=stored["classifier.gamma"].item(),
        classes=count,
    )
    strengths = tuple(_regression(stored, f"strength{index}.") for index in range(count))
    return Machines(stored["low"], stored["high"], distortion, strengths)


def read_facts(name: str) -> dict[str, Any]:
    """What the metadata of weights/<name>.safetensors says about its fit."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()[FACTS])
    return facts


def _regression(stored: dict[str, Tensor], prefix: str = "") -> Regression:
    return Regression(
        vectors=stored[f"{prefix}vectors"],
        coefficients=stored[f"{prefix}coefficients"],
        rho=stored[f"{prefix}rho"].item(),
        gamma=stored[f"{prefix}gamma"].item(),
    )
