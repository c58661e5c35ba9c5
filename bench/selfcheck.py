"""Recompute published values on this machine and say how far off it is; needs no network, computes nothing of a run."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import inspect
import io
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bench
from bench import image, parameters, planes, plugins
from bench.contracts import Metric
from bench.lineup import digest_of, file_digest
from bench.planes import Planes
from bench.plugins import Spec
from bench.provenance import describe, versions

VARIABLE = "BENCH_SHARED_DATA"
"""Environment variable with the folder of the pictures that published values belong to."""

EXPECTED = Path(__file__).with_name("selfcheck.csv")
"""Every expected value with its tolerance and its source; no other file types one."""

CPU = torch.device("cpu")
GAMMA = 0.05
"""Width of the Gaussian kernel that the check of regressions trains, BRISQUE's own."""
SIDE = 50
"""Pixels per side of the pictures that are drawn here."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A row of selfcheck.csv."""

    what: str
    """'score', 'mean score', 'detection' or 'regression': how the value is recomputed."""
    picture: str
    """Below the data folder, or 'constant:LEVEL', 'halves:LEFT RIGHT', 'photograph:NAME', 'halved:NAME'."""
    reference: str
    metric: str
    value: float | None
    """None where another library computes it on the spot."""
    tolerance: float
    """Largest deviation, in the value's own unit."""
    source: str


@dataclass(frozen=True, slots=True)
class Check:
    """An expected value beside the one that this machine computes."""

    what: str
    metric: str
    picture: str
    expected: float | None
    got: float | None
    deviation: float | None
    tolerance: float
    source: str
    state: str
    """'ok', 'off' or 'skipped'."""
    reason: str
    """Why it was skipped, or what stopped the computation; empty otherwise."""


class _AbsentError(Exception):
    """Something that a row needs is not on this machine; the text says what and how to get it."""


def expected() -> list[Expected]:
    """The rows of selfcheck.csv."""
    with EXPECTED.open(encoding="utf-8", newline="") as stream:
        return [
            Expected(
                what=row["what"],
                picture=row["picture"],
                reference=row["reference"],
                metric=row["metric"],
                value=float(row["value"]) if row["value"] else None,
                tolerance=float(row["tolerance"]),
                source=row["source"],
            )
            for row in csv.DictReader(stream)
        ]


def find_data() -> Path | None:
    """The folder that BENCH_SHARED_DATA names, else shared/data beside the checkout, else None."""
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else Path(bench.__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def rows(explicit_parameters: Mapping[str, Path], data: Path | None, device: torch.device = CPU) -> Iterator[Check]:
    """Every expected value beside what this machine computes; those that need nothing but this package come first."""
    workbench = _Workbench(explicit_parameters, data, device)
    yield from map(workbench.check, expected())


def table(checks: Iterable[Check]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Header and lines of text for `bench selfcheck`."""
    lines: list[Sequence[str]] = [
        (
            check.state,
            check.metric if check.what == "score" else f"{check.metric} ({check.what})",
            check.picture,
            _text(check.expected),
            _text(check.got),
            "" if check.deviation is None else f"{check.deviation:+.1e}",
            f"{check.tolerance:.0e}",
            check.reason or check.source,
        )
        for check in checks
    ]
    return ("state", "what", "picture", "expected", "got", "deviation", "tolerance", "source, or why not"), lines


def summary(checks: Iterable[Check]) -> dict[str, Any]:
    """Counts, the deviation that uses most of its tolerance, and every row that is off, as JSON values."""
    found = list(checks)
    measured = [check for check in found if check.deviation is not None]
    worst = max(measured, key=_share, default=None)
    return {
        "ok": sum(check.state == "ok" for check in found),
        "off": sum(check.state == "off" for check in found),
        "skipped": sum(check.state == "skipped" for check in found),
        "worst": None if worst is None else asdict(worst),
        "rows_off": [asdict(check) for check in found if check.state == "off"],
    }


def remembered_summary(
    explicit_parameters: Mapping[str, Path], data: Path | None, device: torch.device = CPU, folder: Path | None = None
) -> dict[str, Any]:
    """The summary, computed once for each state of code, libraries, files and machine; kept in the user's cache."""
    place = (folder or parameters.cache_folder()) / f"selfcheck-{_key(explicit_parameters, data, device)[:16]}.json"
    try:
        kept: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return kept
    except (OSError, ValueError):  # absent, or cut off by a full disk: computed again
        pass
    fresh = summary(rows(explicit_parameters, data, device))
    with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds, not the run
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{place.name}.{os.getpid()}")
        partial.write_text(json.dumps(fresh), encoding="utf-8")
        partial.replace(place)
    return fresh


class _Workbench:
    """Metrics, pictures and evaluations that several rows share, each made once."""

    def __init__(self, explicit: Mapping[str, Path], data: Path | None, device: torch.device) -> None:
        self.explicit = explicit
        self.data = data
        self.device = device
        self._made: dict[str, Any] = {}

    def check(self, row: Expected) -> Check:
        """Recompute a row."""
        ways: Mapping[str, Callable[[Expected], tuple[float, float]]] = {
            "score": self._score,
            "mean score": self._mean_score,
            "detection": self._detection,
            "regression": self._regression,
        }
        value, got, deviation, reason = row.value, None, None, ""
        try:
            with torch.no_grad():
                value, got = ways[row.what](row)
        except _AbsentError as error:
            state, reason = "skipped", str(error)
        except (ValueError, OSError, RuntimeError, LookupError) as error:
            state, reason = "off", f"{type(error).__name__}: {error}"
        else:
            state = "ok" if abs(got - value) <= row.tolerance else "off"
            if math.isfinite(got):
                deviation = got - value
            else:  # kept out of JSON, which knows neither NaN nor infinity
                got, reason = None, f"the computed value is {got}"
        return Check(row.what, row.metric, row.picture, value, got, deviation, row.tolerance, row.source, state, reason)

    def _score(self, row: Expected) -> tuple[float, float]:
        self._parameters(row.metric)  # asked for first: nothing is built for a picture that is not there
        picture = self._picture(row.picture)
        reference = self._picture(row.reference) if row.reference else None
        return _typed(row), self._metric(row.metric).score(picture, reference).item()

    def _mean_score(self, row: Expected) -> tuple[float, float]:
        metric = self._metric(row.metric)
        pictures, references = (image.pictures_in(self._file(name)) for name in (row.picture, row.reference))
        scores = [
            metric.score(*(Planes(image.read_rgb(file)[None].to(self.device)) for file in (path, references[stem])))
            for stem, path in pictures.items()
        ]
        return _typed(row), torch.cat(scores).mean().item()

    def _detection(self, row: Expected) -> tuple[float, float]:
        detections, truth = self._file(row.picture), self._file(row.reference)
        stats = self._once(f"{detections} {truth}", lambda: _coco_stats(truth, detections))
        return _typed(row), stats[row.metric]

    def _regression(self, row: Expected) -> tuple[float, float]:
        kind = plugins.load(Metric, Spec.parse(row.metric))
        picture = self._picture(row.picture)
        module: Any = inspect.getmodule(kind)
        features = module.brisque_features(picture.grey)[0].cpu().numpy()
        with tempfile.TemporaryDirectory() as name:
            expected = _train(features, *(Path(name) / file.name for file in kind.files))
            metric = kind("", {file.name: Path(name) / file.name for file in kind.files}, self.device)
            return expected, metric.score(picture, None).item()

    def _parameters(self, metric: str) -> dict[str, Path]:
        try:
            return {
                file.name: parameters.find(file, self.explicit)
                for file in plugins.load(Metric, Spec.parse(metric)).files
            }
        except parameters.ParameterError as error:
            raise _AbsentError(str(error)) from error

    def _metric(self, name: str) -> Metric:
        kind = plugins.load(Metric, Spec.parse(name))
        metric: Metric = self._once(f"metric {name}", lambda: kind("", self._parameters(name), self.device))
        return metric

    def _picture(self, name: str) -> Planes:
        kind, _, what = name.partition(":")

        def read() -> Planes:
            if kind == "constant":
                levels = torch.full((3, SIDE, SIDE), float(what))
            elif kind == "halves":
                left, right = (torch.full((3, SIDE, SIDE // 2), float(level)) for level in what.split())
                levels = torch.cat([left, right], dim=2)
            elif kind in ("photograph", "halved"):
                levels = image.read_rgb(_photograph(what)).mul(255).round() // (2 if kind == "halved" else 1)
            else:
                return Planes(image.read_rgb(self._file(name))[None].to(self.device))
            return Planes(levels[None].div(255).to(self.device))

        planes_: Planes = self._once(name, read)
        return planes_

    def _file(self, name: str) -> Path:
        if self.data is None:
            raise _AbsentError(f"needs {name}; {VARIABLE} names the folder of reference data")
        path = self.data / name
        if not path.exists():
            raise _AbsentError(f"{path} does not exist; {VARIABLE} names the folder of reference data")
        return path

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def _photograph(name: str) -> Path:
    """A photograph that scikit-image carries, found without importing it."""
    found = importlib.util.find_spec("skimage")
    path = Path((found.submodule_search_locations or [""])[0]) / "data" / f"{name}.png" if found else Path()
    if not path.is_file():
        raise _AbsentError(f"the photograph {name!r} comes with scikit-image, which is not installed")
    return path


def _coco_stats(truth: Path, detections: Path) -> dict[str, float]:
    """AP over IoU .50:.95, AP50 and AP75 by pycocotools."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise _AbsentError(f"needs pycocotools ({error})") from error
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth))
        evaluation = COCOeval(annotated, annotated.loadRes(str(detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("AP", "AP50", "AP75"), map(float, evaluation.stats[:3]), strict=True))


def _train(features: np.ndarray[Any, Any], model: Path, ranges: Path) -> float:
    """Let scikit-learn train a regression, write it as libsvm and svm-scale do, return its prediction for features."""
    try:
        from sklearn.svm import SVR
    except ImportError as error:
        raise _AbsentError(f"needs scikit-learn ({error})") from error
    random = np.random.default_rng(0)
    samples = random.uniform(-1, 1, (80, len(features)))
    regression: Any = SVR  # its type hints know no number for gamma
    machine = regression(gamma=GAMMA, C=100).fit(samples, 50 + 20 * samples[:, 0] + 10 * samples[:, 1] ** 2)
    low, high = features - random.uniform(0.1, 1, len(features)), features + random.uniform(0.1, 1, len(features))
    # scikit-learn's intercept is libsvm's -rho; 17 digits give every float64 back.
    header = f"svm_type epsilon_svr\nkernel_type rbf\ngamma {GAMMA}\nrho {-machine.intercept_[0]:.17g}\nSV\n"
    vectors = [
        f"{weight:.17g} " + " ".join(f"{place}:{value:.17g}" for place, value in enumerate(vector, 1))
        for weight, vector in zip(machine.dual_coef_[0], machine.support_vectors_, strict=True)
    ]
    model.write_text(header + "\n".join(vectors), encoding="ascii")
    limits = [f"{place} {least:.17g} {most:.17g}" for place, (least, most) in enumerate(zip(low, high, strict=True), 1)]
    ranges.write_text("\n".join(["x", "-1 1", *limits]), encoding="ascii")
    return float(machine.predict((-1 + 2 * (features - low) / (high - low))[None])[0])


def _typed(row: Expected) -> float:
    """The value that selfcheck.csv holds."""
    if row.value is None:
        raise ValueError(f"{EXPECTED.name} has no value for {row.metric} of {row.picture}")
    return row.value


def _share(check: Check) -> float:
    """Part of the tolerance that is used up."""
    deviation = abs(check.deviation or 0.0)
    return deviation / check.tolerance if check.tolerance else math.inf if deviation else 0.0


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def _key(explicit: Mapping[str, Path], data: Path | None, device: torch.device) -> str:
    """Everything that the values can depend on."""
    expected_rows = expected()
    kinds = [plugins.load(Metric, Spec.parse(name)) for name in plugins.names(Metric)]
    files = {file for kind in kinds for file in kind.files}
    places = [row.place for row in parameters.status(files, explicit)]
    named = sorted({name for row in expected_rows for name in (row.picture, row.reference) if name and ":" not in name})
    return digest_of(
        parameters.digest(EXPECTED),
        *(file_digest(module) for module in (sys.modules[__name__], image, planes)),
        *(plugins.source_digest(kind) for kind in kinds),
        *(parameters.digest(place) if place else "absent" for place in places),
        *(_stamp(data / name) if data else "absent" for name in named),
        *(f"{name} {version}" for name, version in versions().items()),
        f"{platform.node()} {platform.machine()} {describe(device)} {torch.backends.cpu.get_cpu_capability()}",
    )


def _stamp(path: Path) -> str:
    """Size and time of change of a file, or of all files of a folder."""
    found = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    facts = [(file.name, file.stat()) for file in found]
    return ";".join(f"{name} {fact.st_size} {fact.st_mtime_ns}" for name, fact in facts) or "absent"
