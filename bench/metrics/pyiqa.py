"""Any metric of the package pyiqa, under its name there."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import runpy
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import ImageFile
from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

REFUSED: Mapping[str, str] = {
    "FID": "it compares two sets of pictures, and a metric here scores single ones",
    "InceptionScore": "it scores a set of pictures, and a metric here scores single ones",
    "CLIPScore": "it needs a caption for every picture",
}
"""Why metrics of these architectures of pyiqa cannot be used."""

SEED = 0
"""Some of pyiqa's metrics score random crops; each picture's are drawn from this seed."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What pyiqa states about one of its metrics."""

    name: str
    higher_is_better: bool
    needs_reference: bool


@lru_cache(maxsize=1)
def configurations() -> Mapping[str, Mapping[str, Any]]:
    """The package's own table of its metrics; raises ImportError where it is not installed."""
    found = importlib.util.find_spec("pyiqa")
    if found is None or not found.submodule_search_locations:
        raise ImportError("pyiqa is not installed; pip install pyiqa")
    # Run on its own: importing the package takes seconds and loads every network library there is.
    table = runpy.run_path(str(Path(found.submodule_search_locations[0]) / "default_model_configs.py"))
    configurations: Mapping[str, Mapping[str, Any]] = table["DEFAULT_CONFIGS"]
    return configurations


def facts(name: str) -> Facts:
    """Direction and kind of a metric; raises ValueError for a name that pyiqa does not know or that cannot be used."""
    known = configurations()
    usable = [one for one, entry in known.items() if entry["metric_opts"]["type"] not in REFUSED]
    if not name:
        raise ValueError(f"pyiqa needs a name, pyiqa:NAME; there are {', '.join(usable)}")
    if name not in known:
        near = difflib.get_close_matches(name, usable, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(usable)}"
        raise ValueError(f"pyiqa {_version()} has no metric {name!r}; {hint}")
    entry = known[name]
    architecture = entry["metric_opts"]["type"]
    if architecture in REFUSED:
        raise ValueError(f"pyiqa:{name} cannot be used: {REFUSED[architecture]}")
    return Facts(
        name=name,
        higher_is_better=not entry.get("lower_better", False),
        needs_reference=entry.get("metric_mode") == "FR",
    )


def build(name: str, device: torch.device) -> Any:
    """The package's module; FileNotFoundError where it would have to download weights, RuntimeError where it fails."""
    try:
        with _untouched(), _offline():
            from pyiqa import create_metric

            return create_metric(name, device=device)
    except Exception as error:  # pyiqa and what it builds on raise whatever they like; all of it is a stated reason
        raise _reason(name, error) from error


class Pyiqa(Metric):
    """A metric of pyiqa with its defaults; direction and need of a reference are those that pyiqa states.

    Pictures are scored one by one, because some of its metrics give other values in a batch. Nothing is downloaded;
    weights have to be in pyiqa's cache already, and are not verified: pyiqa publishes no digests.
    """

    label = "pyiqa"
    higher_is_better = True
    needs_reference = False
    definition = "the metric of pyiqa that is named behind the colon"
    source = "C. Chen and J. Mo, IQA-PyTorch (github.com/chaofengc/IQA-PyTorch), PolyForm Noncommercial licence"
    options: ClassVar[Mapping[str, str]] = {
        "NAME": "a metric of pyiqa that scores single pictures, e.g. musiq, topiq_fr, vif; its weights must be in "
        "pyiqa's cache: python -c \"import pyiqa; pyiqa.create_metric('NAME')\" fetches them"
    }
    undefined: ClassVar[str] = "pyiqa returned NaN"

    @classmethod
    def variant(cls, option: str) -> type[Metric]:
        """The class with the facts of the named metric."""
        return _variant(option)

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Build pyiqa's network from its cache."""
        super().__init__(option, files, device)
        self.facts = facts(option)
        self.device = device
        self.network = build(option, device)

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """The package's value of each picture."""
        if reference is None and self.facts.needs_reference:
            raise ValueError(f"pyiqa:{self.option} needs a reference picture")
        others = enhanced.rgb if reference is None else reference.rgb
        pairs = zip(enhanced.rgb.unbind(), others.unbind(), strict=True)
        return torch.cat([self._single(one[None], other[None]) for one, other in pairs])

    def _single(self, enhanced: Tensor, reference: Tensor) -> Tensor:
        words = (enhanced, reference) if self.facts.needs_reference else (enhanced,)
        with _untouched(), _offline(), _seeded(self.device), torch.no_grad():
            value = self.network(*words)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"pyiqa:{self.option} does not return one value per picture")
        return value.reshape(1).to(torch.float64)


@lru_cache(maxsize=64)
def _variant(option: str) -> type[Metric]:
    stated = facts(option)
    return type(
        "Pyiqa",
        (Pyiqa,),
        {
            "__doc__": Pyiqa.__doc__,
            "__module__": __name__,
            "label": f"{option} (pyiqa)",
            "higher_is_better": stated.higher_is_better,
            "needs_reference": stated.needs_reference,
            "definition": f"{option} of pyiqa {_version()} with its defaults, RGB in 0 .. 1, one picture at a time",
        },
    )


def _version() -> str:
    return metadata.version("pyiqa")


class _RefusedError(Exception):
    """A download was asked for. No OSError: those are retried, for up to a minute, by what pyiqa builds on."""


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """No connection is opened by this thread; Hugging Face's hub serves its cache without asking."""
    from huggingface_hub import constants

    owner, resolve, hub = threading.get_ident(), socket.getaddrinfo, constants.HF_HUB_OFFLINE

    def refuse(host: Any, *words: Any, **more: Any) -> Any:
        if threading.get_ident() != owner:
            return resolve(host, *words, **more)
        raise _RefusedError(host)

    # The one call that every connection by Python begins with, urllib's, requests' and httpx' alike.
    socket.getaddrinfo = refuse
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        socket.getaddrinfo, constants.HF_HUB_OFFLINE = resolve, hub


@contextlib.contextmanager
def _untouched() -> Iterator[None]:
    """What pyiqa sets for the whole process is set back, and what it prints and warns of stays out of sight."""
    truncated = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated


@contextlib.contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """Random draws are the same for every picture in any order; the caller's random state does not notice."""
    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(SEED)
            np.random.seed(SEED)
            yield
    finally:
        np.random.set_state(state)


def _reason(name: str, error: Exception) -> Exception:
    """What to tell the user about a metric that could not be built."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    hosts = [str(one) for one in chain if isinstance(one, _RefusedError)]
    hub = {"OfflineModeIsEnabled", "LocalEntryNotFoundError"} & {type(one).__name__ for one in chain}
    if hosts or hub:
        host = hosts[0] if hosts else "huggingface.co"
        return FileNotFoundError(
            f"its weights are not in pyiqa's cache and are not downloaded during a run (from {host}); fetch them with "
            f"python -c \"import pyiqa; pyiqa.create_metric('{name}')\""
        )
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        return ImportError(f"pyiqa:{name} needs the package {error.name}, which is not installed")
    return RuntimeError(f"pyiqa {_version()} fails to build {name}: {type(error).__name__}: {text}")
