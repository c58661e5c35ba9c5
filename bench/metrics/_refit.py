"""Fits the parameters of niqe_refit, brisque_refit and sseq_refit: `python -m bench.metrics._refit --photographs DIR`.

Not read when pictures are scored. Same photographs, seed and library versions give the same files. docs/refit.md tells
the recipe's reasons and what it reached.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from safetensors.torch import save
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from bench.image import pictures_in, read_rgb, resize, round_8bit
from bench.planes import Planes

from ._distortions import DISTORTIONS
from ._filters import correlate2d
from ._scene_statistics import TAPS, WINDOW
from ._shipped import FACTS, FOLDER, ScaledRegression
from ._support_vectors import Classification, Regression, pair_coefficients
from .brisque import brisque_features
from .fsim import fsim
from .niqe import BLOCK, Pristine, niqe, niqe_features
from .sseq import Machines, sseq_features

REDUCTION = (1.5, 2.0)
"""A photograph is reduced by a factor drawn from here, which averages the traces of its own compression away."""
VIEWS = 2
"""How often each photograph is reduced and spoilt, with new draws."""
HELD_OUT = 0.25
"""Share of the photographs that no fit sees."""
SHARPNESS = 0.75
"""Blocks sharper than this part of the photograph's sharpest one enter the pristine model, as in NIQE's paper."""
LABEL_EXPONENT = 0.5
CLASSES = ("gaussian_noise", "gaussian_blur", "jpeg", "jpeg2000")
"""What SSEQ's first stage tells apart. Amplified noise as a fifth made its held-out ranks worse (docs/refit.md)."""
FOLDS = 5

Array = NDArray[np.float64]


class Settings(NamedTuple):
    """What scikit-learn's support vector machines are told; the kernel is Gaussian."""

    gamma: float
    cost: float
    tube: float
    """epsilon: errors of a regression below it cost nothing; in units of its target."""


BRISQUE_SETTINGS = Settings(gamma=0.02, cost=1000, tube=8)
SSEQ_CLASSIFIER = Settings(gamma=1 / 12, cost=100, tube=0)
SSEQ_REGRESSIONS = Settings(gamma=1 / 12, cost=2, tube=0.1)


class Photograph(NamedTuple):
    """A reduced photograph and where it belongs."""

    folder: str
    digest: str
    """SHA-256 of the file, hexadecimal."""
    picture: Tensor
    """Rounded to 8 bit: (3, H, W) in [0, 1]."""
    random: Generator
    """Seeded by the seed, the view and the file's content: a further photograph changes nothing for the others."""

    @property
    def held_out(self) -> bool:
        """Whether fits must not see it; decided by its content, not by its name or place."""
        return int(self.digest[:8], 16) < HELD_OUT * 2**32


class Spoilt(NamedTuple):
    """One picture to learn from or to be tested on."""

    distortion: str
    """'none' for the photograph itself."""
    label: float
    brisque: Array
    sseq: Array
    niqe: float
    """Score under the fitted pristine model; NaN for what fits may see."""
    digest: str
    """Of the photograph."""
    held_out: bool


def photographs(folders: Sequence[Path], seed: int, view: int) -> Iterator[Photograph]:
    """Every picture of the folders, reduced; those below two of NIQE's blocks after that are left out."""
    for folder in folders:
        for file in pictures_in(folder).values():
            digest = sha256(file.read_bytes()).hexdigest()
            random = default_rng([seed, view, int(digest[:16], 16)])
            picture, factor = read_rgb(file), random.uniform(*REDUCTION)
            height, width = (round(side / factor) for side in picture.shape[-2:])
            if (height // BLOCK) * (width // BLOCK) < 2:
                print(f"left out, smaller than two blocks at {width}x{height} pixels: {file}")
                continue
            yield Photograph(short_name(folder), digest, round_8bit(resize(picture, f"{width}x{height}")), random)


def short_name(folder: Path) -> str:
    """The last two parts of its path, as the files name it: the rest is of this machine alone."""
    return "/".join(folder.resolve().parts[-2:])


def sharp_blocks(picture: Tensor) -> Tensor:
    """NIQE's features of the picture's sharp blocks, (blocks, 36); sharpness is the mean of the local deviation."""
    grey = Planes(picture.unsqueeze(0)).grey
    features = niqe_features(grey)[0]
    height, width = (side // BLOCK * BLOCK for side in grey.shape[-2:])
    padded = functional.pad(grey[..., :height, :width], (WINDOW // 2,) * 4, mode="replicate")
    mean = correlate2d(padded, TAPS)
    deviation = (correlate2d(padded.square(), TAPS) - mean.square()).abs().sqrt()
    sharpness = functional.avg_pool2d(deviation, BLOCK).flatten()
    chosen = (sharpness > SHARPNESS * sharpness.max()) & ~features.isnan().any(dim=1)
    return features[chosen]


def fit_pristine(blocks: Tensor) -> Pristine:
    """Mean and covariance of the features of blocks (B, 36)."""
    return Pristine(blocks.mean(dim=0), blocks.T.cov())


def label_of(spoilt: Planes, reference: Planes) -> float:
    """0 (nothing lost) .. 100: 100 (1 - FSIM)^0.5; the root spreads the labels evenly, ranks do not depend on it."""
    return float(100 * max(1 - fsim(spoilt, reference).item(), 0) ** LABEL_EXPONENT)


def spoil(photograph: Photograph, pristine: Pristine) -> Iterator[Spoilt]:
    """The photograph itself and one picture of every distortion, each of a random strength."""
    reference = Planes(photograph.picture.unsqueeze(0))
    levels = photograph.picture.permute(1, 2, 0).double().numpy()
    pictures = {"none": reference}
    for name, distortion in DISTORTIONS.items():
        spoilt = distortion(levels, photograph.random.uniform(), photograph.random)
        pictures[name] = Planes(round_8bit(torch.from_numpy(spoilt).permute(2, 0, 1)).unsqueeze(0))
    for name, planes in pictures.items():
        yield Spoilt(
            distortion=name,
            label=label_of(planes, reference),
            brisque=brisque_features(planes.grey)[0].numpy(),
            sseq=sseq_features(planes.grey)[0].numpy(),
            niqe=niqe(planes.grey, pristine).item() if photograph.held_out else float("nan"),
            digest=photograph.digest,
            held_out=photograph.held_out,
        )


def fit_regression(scaled: Array, targets: Array, settings: Settings) -> Regression:
    """An epsilon-SVR, rounded to float32 as the file keeps it."""
    from sklearn import svm

    untyped: Any = svm  # a type checker's guesses from scikit-learn's defaults are wrong
    machine = untyped.SVR(kernel="rbf", gamma=settings.gamma, C=settings.cost, epsilon=settings.tube, cache_size=1000)
    machine.fit(scaled, targets)
    rho = -float(machine.intercept_[0])  # scikit-learn adds the intercept, libsvm subtracts rho
    return Regression(_rounded(machine.support_vectors_), _rounded(machine.dual_coef_[0]), rho, settings.gamma)


def fit_classification(scaled: Array, classes: NDArray[np.int64], groups: Sequence[str]) -> Classification:
    """A C-SVC for each pair of classes, its decisions turned into probabilities by logistic regression.

    The logistic regression sees decisions on photographs that the machine was not fitted on (libsvm splits pictures
    instead, so that pictures of one photograph stand on both sides).
    """
    from sklearn import svm
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    settings = SSEQ_CLASSIFIER
    untyped: Any = svm
    machine = untyped.SVC(
        kernel="rbf", gamma=settings.gamma, C=settings.cost, decision_function_shape="ovo", cache_size=1000
    )
    folds = GroupKFold(FOLDS)
    decisions: Any = cross_val_predict(machine, scaled, classes, groups=groups, cv=folds, method="decision_function")
    machine.fit(scaled, classes)
    slopes, offsets = [], []
    for column, pair in enumerate(combinations(range(len(CLASSES)), 2)):
        rows = np.isin(classes, pair)
        # C: in effect no regularisation, as in Platt's method.
        curve = LogisticRegression(C=1e6).fit(decisions[rows][:, [column]], classes[rows] == pair[0])
        slopes.append(-float(curve.coef_[0, 0]))
        offsets.append(-float(curve.intercept_[0]))
    return Classification(
        vectors=_rounded(machine.support_vectors_),
        coefficients=pair_coefficients(_rounded(machine.dual_coef_.T), machine.n_support_.tolist()),
        rho=-torch.from_numpy(machine.intercept_),
        slope=torch.tensor(slopes, dtype=torch.float64),
        offset=torch.tensor(offsets, dtype=torch.float64),
        gamma=settings.gamma,
        classes=len(CLASSES),
    )


def fit_brisque(known: Sequence[Spoilt]) -> ScaledRegression:
    """One regression over photographs and all distortions; the target is the label."""
    features = np.stack([one.brisque for one in known])
    low, high = features.min(axis=0), features.max(axis=0)
    labels = np.array([one.label for one in known])
    machine = fit_regression(_scaled(features, low, high), labels, BRISQUE_SETTINGS)
    return ScaledRegression(torch.from_numpy(low), torch.from_numpy(high), machine)


def fit_sseq(known: Sequence[Spoilt]) -> Machines:
    """Two stages: which of four distortions, then its strength (label - 50) / 50 by a regression of its own."""
    spoilt = [one for one in known if one.distortion in CLASSES]
    features = np.stack([one.sseq for one in spoilt])
    low, high = features.min(axis=0), features.max(axis=0)
    scaled = _scaled(features, low, high)
    classes = np.array([CLASSES.index(one.distortion) for one in spoilt])
    strengths = (np.array([one.label for one in spoilt]) - 50) / 50
    return Machines(
        torch.from_numpy(low),
        torch.from_numpy(high),
        fit_classification(scaled, classes, [one.digest for one in spoilt]),
        tuple(
            fit_regression(scaled[classes == index], strengths[classes == index], SSEQ_REGRESSIONS)
            for index in range(len(CLASSES))
        ),
    )


def correlations(scores: Sequence[float], pictures: Sequence[Spoilt]) -> dict[str, float]:
    """Spearman's rank correlation with the label: over all pictures, and by distortion."""
    found = {}
    for name in ("all", *DISTORTIONS):
        rows = [row for row, one in enumerate(pictures) if name in ("all", one.distortion)]
        labels = [pictures[row].label for row in rows]
        found[name] = float(spearmanr([scores[row] for row in rows], labels, nan_policy="omit").statistic)
    return found


def refit(folders: Sequence[Path], seed: int, out: Path) -> None:
    """Fit all three, measure them on the held-out photographs, write and report."""
    names = [short_name(folder) for folder in folders]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two folders are called {', '.join(sorted(repeated))}; the files name folders, rename one")
    first = list(photographs(folders, seed, view=0))
    blocks = torch.cat([sharp_blocks(one.picture) for one in first if not one.held_out])
    pristine = fit_pristine(blocks)
    spoilt: list[Spoilt] = []
    for view in range(VIEWS):
        for number, one in enumerate(first if view == 0 else photographs(folders, seed, view), start=1):
            spoilt += spoil(one, pristine)
            if number % 50 == 0:
                print(f"view {view + 1} of {VIEWS}: {number} of {len(first)} photographs spoilt and measured")
    known, tests = [one for one in spoilt if not one.held_out], [one for one in spoilt if one.held_out]
    quality, entropy = fit_brisque(known), fit_sseq(known)
    data = {
        "photographs": {name: sum(one.folder == name for one in first) for name in names},
        "fitted": sum(not one.held_out for one in first),
        "held_out": sum(one.held_out for one in first),
        "list_sha256": sha256("\n".join(sorted(one.digest for one in first)).encode()).hexdigest(),
        "seed": seed,
        "reduction": REDUCTION,
    }
    labelled = {
        **data,
        "views": VIEWS,
        "label": f"100 (1 - FSIM)^{LABEL_EXPONENT}",
        "pictures": len(known),
    }
    scores = {
        "niqe_refit": [one.niqe for one in tests],
        "brisque_refit": quality.predict(torch.from_numpy(np.stack([one.brisque for one in tests]))).tolist(),
        "sseq_refit": entropy.predict(torch.from_numpy(np.stack([one.sseq for one in tests]))).tolist(),
    }
    tensors = {
        "niqe_refit": pristine._asdict(),
        "brisque_refit": {"low": quality.low, "high": quality.high, **_regression_tensors(quality.machine)},
        "sseq_refit": _machines_tensors(entropy),
    }
    settings: dict[str, dict[str, Any]] = {
        "niqe_refit": {**data, "sharpness": SHARPNESS, "blocks": len(blocks)},
        "brisque_refit": {
            **labelled,
            "distortions": list(DISTORTIONS),
            "regression": BRISQUE_SETTINGS._asdict(),
            "support_vectors": len(quality.machine.vectors),
        },
        "sseq_refit": {
            **labelled,
            "distortions": CLASSES,
            "pictures": sum(one.distortion in CLASSES for one in known),
            "classifier": SSEQ_CLASSIFIER._asdict(),
            "regressions": SSEQ_REGRESSIONS._asdict(),
            "support_vectors": len(entropy.distortion.vectors) + sum(len(one.vectors) for one in entropy.strengths),
        },
    }
    for name in tensors:
        found = correlations(scores[name], tests)
        facts = {**settings[name], "spearman_held_out": {key: round(value, 4) for key, value in found.items()}}
        digest = write(out / f"{name}.safetensors", tensors[name], facts)
        print(f"{name}: rank correlation with the label on {len(tests)} held-out pictures")
        print("   " + ", ".join(f"{key} {value:.3f}" for key, value in found.items()))
        print(f"   DIGEST of bench/metrics/{name}.py: {digest}")


def write(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """Write the file and give its SHA-256."""
    # One key: safetensors writes several in a random order, and equal fits shall give equal files.
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {FACTS: json.dumps(facts)})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return sha256(content).hexdigest()


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(prog="python -m bench.metrics._refit", description=__doc__)
    parser.add_argument(
        "--photographs", required=True, metavar="DIR[,DIR...]", help="folders of clean, well-exposed photographs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default 0)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the three files go (default: %(default)s)")
    given = parser.parse_args(words)
    torch.set_num_threads(1)  # pictures are small: a second thread mostly waits, and sums may then differ in a bit
    refit([Path(folder) for folder in given.photographs.split(",")], given.seed, given.out)


def _scaled(features: Array, low: Array, high: Array) -> Array:
    scaled: Array = -1 + 2 * (features - low) / (high - low)
    return scaled


def _rounded(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(torch.float32).to(torch.float64)


def _regression_tensors(machine: Regression, prefix: str = "") -> dict[str, Tensor]:
    return {
        f"{prefix}vectors": machine.vectors.to(torch.float32),
        f"{prefix}coefficients": machine.coefficients.to(torch.float32),
        f"{prefix}rho": torch.tensor(machine.rho, dtype=torch.float64),
        f"{prefix}gamma": torch.tensor(machine.gamma, dtype=torch.float64),
    }


def _machines_tensors(machines: Machines) -> dict[str, Tensor]:
    stage = machines.distortion
    tensors = {
        "low": machines.low,
        "high": machines.high,
        "classifier.vectors": stage.vectors.to(torch.float32),
        "classifier.coefficients": stage.coefficients.to(torch.float32),
        "classifier.rho": stage.rho,
        "classifier.slope": stage.slope,
        "classifier.offset": stage.offset,
        "classifier.gamma": torch.tensor(stage.gamma, dtype=torch.float64),
    }
    for index, machine in enumerate(machines.strengths):
        tensors |= _regression_tensors(machine, f"strength{index}.")
    return tensors


if __name__ == "__main__":
    main()
