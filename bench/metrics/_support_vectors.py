"""Evaluation of libsvm's trained machines with a Gaussian kernel; training is not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Regression:
    """An epsilon- or nu-SVR: sum_s coefficient_s exp(-gamma |x - vector_s|^2) - rho."""

    vectors: Tensor
    """(S, F), float64."""
    coefficients: Tensor
    """(S,), float64."""
    rho: float
    gamma: float

    def predict(self, features: Tensor) -> Tensor:
        """One value per row of features (N, F)."""
        return kernel(features, self.vectors, self.gamma) @ self.coefficients - self.rho


@dataclass(frozen=True, slots=True)
class Classification:
    """A C-SVC with probability estimates, one machine for each pair of its classes."""

    vectors: Tensor
    """(S, F), float64, sorted by class."""
    coefficients: Tensor
    """(S, pairs): dual coefficients of each pair's machine, zero for vectors of other classes."""
    rho: Tensor
    """(pairs,)."""
    slope: Tensor
    """(pairs,): libsvm's probA."""
    offset: Tensor
    """(pairs,): libsvm's probB."""
    gamma: float
    classes: int

    def probabilities(self, features: Tensor) -> Tensor:
        """Probability of each class for each row of features (N, F): (N, classes), in the order of the labels."""
        decisions = kernel(features, self.vectors, self.gamma) @ self.coefficients - self.rho
        first = torch.sigmoid(-(decisions * self.slope + self.offset)).clamp(1e-7, 1 - 1e-7)
        rows = [couple(pairwise, self.classes) for pairwise in first.tolist()]
        return torch.tensor(rows, dtype=torch.float64).to(features.device)


def kernel(features: Tensor, vectors: Tensor, gamma: float) -> Tensor:
    """exp(-gamma |x - v|^2) for every row and vector, (N, S)."""
    return torch.exp(-gamma * (features.unsqueeze(1) - vectors).square().sum(-1))


def pair_coefficients(dual: Tensor, counts: Sequence[int]) -> Tensor:
    """Dual coefficients as libsvm stores them (S, classes - 1), one column per pair instead: (S, pairs)."""
    starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
    pairs = list(combinations(range(len(counts)), 2))
    spread = torch.zeros(len(dual), len(pairs), dtype=torch.float64)
    for column, (one, other) in enumerate(pairs):
        of_one, of_other = slice(starts[one], starts[one + 1]), slice(starts[other], starts[other + 1])
        spread[of_one, column] = dual[of_one, other - 1]
        spread[of_other, column] = dual[of_other, one]
    return spread


def couple(pairwise: Sequence[float], classes: int) -> list[float]:
    """Class probabilities from pairwise ones (i before j, for pairs in order): Wu, Lin and Weng 2004, method 2.

    The iteration stops where libsvm's does, at an error of 0.005 / classes: its result is what models were tuned with.
    """
    beats = [[0.0] * classes for _ in range(classes)]
    for (one, other), probability in zip(combinations(range(classes), 2), pairwise, strict=True):
        beats[one][other], beats[other][one] = probability, 1 - probability
    quadratic = [[-beats[j][i] * beats[i][j] for j in range(classes)] for i in range(classes)]
    for i in range(classes):
        quadratic[i][i] = sum(beats[j][i] ** 2 for j in range(classes) if j != i)
    p = [1 / classes] * classes
    for _ in range(max(100, classes)):
        gradient = [sum(weight * value for weight, value in zip(row, p, strict=True)) for row in quadratic]
        energy = sum(value * slope for value, slope in zip(p, gradient, strict=True))
        if max(abs(slope - energy) for slope in gradient) < 0.005 / classes:
            break
        for i in range(classes):
            step = (energy - gradient[i]) / quadratic[i][i]
            p[i] += step
            energy = (energy + step * (step * quadratic[i][i] + 2 * gradient[i])) / (1 + step) ** 2
            gradient = [
                (slope + step * weight) / (1 + step) for slope, weight in zip(gradient, quadratic[i], strict=True)
            ]
            p = [value / (1 + step) for value in p]
    return p


def read_regression(file: Path) -> Regression:
    """A support vector regression in libsvm's text format, as svm-train writes it."""
    header, _, body = file.read_text(encoding="ascii").partition("SV\n")
    facts = dict(line.split(maxsplit=1) for line in header.splitlines() if " " in line)
    if facts.get("svm_type") not in ("epsilon_svr", "nu_svr") or facts.get("kernel_type") != "rbf":
        found = f"{facts.get('svm_type', 'no svm_type')}, {facts.get('kernel_type', 'no kernel_type')}"
        raise ValueError(f"{file} holds no support vector regression with a Gaussian kernel ({found})")
    rows = [line.split() for line in body.splitlines() if line.strip()]
    entries = [[entry.split(":") for entry in row[1:]] for row in rows]
    width = max(int(index) for row in entries for index, _ in row)
    vectors = torch.zeros(len(rows), width, dtype=torch.float64)
    for vector, row in zip(vectors, entries, strict=True):
        for index, value in row:  # indices count from 1, zeros may be left out
            vector[int(index) - 1] = float(value)
    coefficients = torch.tensor([float(row[0]) for row in rows], dtype=torch.float64)
    return Regression(vectors, coefficients, float(facts["rho"]), float(facts["gamma"]))
