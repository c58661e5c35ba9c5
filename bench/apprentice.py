"""Data sets and a method in, the pictures that a task's model learns from out: day renders, or enhanced ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from bench import fingerprints, image, plugins
from bench.contracts import Dataset, Sample, Scene, Task
from bench.lineup import Method
from bench.training import list_digest
from bench.work import enhance

HELD_OUT = 16
"""One picture in so many is kept for validation where nothing else is said."""


@dataclass(frozen=True)
class Schooling:
    """What a task's model learns from."""

    task: str
    datasets: Sequence[Dataset]
    method: Method | None
    """Whose output is learned from; None for the references, or for pictures as they are where there are none."""
    held_out: int | None
    seed: int


def task_trained_as(word: str) -> tuple[str, type[Task]] | None:
    """The task whose model `bench train` calls so, with its name; None where there is none."""
    for name in plugins.names(Task):
        kind = plugins.load(Task, plugins.Spec.parse(name))
        if kind.trained_as == word:
            return name, kind
    return None


def train(
    schooling: Schooling,
    kind: type[Task],
    words: Sequence[str],
    start: Path | None,
    out: Path,
    device: torch.device,
    commit: str,
) -> Path:
    """Train and return the file; raises ValueError where the data sets have no truth for the task."""
    alike = {dataset.classes for dataset in schooling.datasets}
    for dataset in schooling.datasets:
        if schooling.task not in dataset.tasks:
            raise ValueError(f"{dataset.label} has no truth for {schooling.task}, so nothing can be learned from it")
    if len(alike) > 1:
        raise ValueError("the data sets have other classes each; train on one of them")
    samples = [(dataset, sample) for dataset in schooling.datasets for sample in dataset.samples()]
    count = len(samples) // HELD_OUT if schooling.held_out is None else schooling.held_out
    if count >= len(samples):
        raise ValueError(f"{count} pictures cannot be held out of {len(samples)}")
    kept = {(2 * place + 1) * len(samples) // (2 * count) for place in range(count)}
    learned = [one for place, one in enumerate(samples) if place not in kept]
    held_out = [one for place, one in enumerate(samples) if place in kept] or learned[:1]
    if schooling.method is not None:
        schooling.method.adapter.to(device)
    return kind.fit(
        _scenes(schooling, learned, device),
        _scenes(schooling, held_out, device),
        alike.pop(),
        words,
        start,
        out,
        schooling.method.name.replace(":", "-") if schooling.method else kind.trained_as,
        schooling.seed,
        device,
        _notes(schooling, samples, len(learned), start, commit),
    )


def _scenes(schooling: Schooling, samples: Sequence[tuple[Dataset, Sample]], device: torch.device) -> Iterator[Scene]:
    method = schooling.method
    for dataset, sample in samples:
        low, reference = dataset.load(sample)
        picture = low if reference is None else reference
        if method is not None:
            with torch.no_grad():
                picture = enhance(method.adapter, low[None].to(device), dataset.label, [sample.id], schooling.seed)[0]
            picture = image.round_8bit(picture).cpu()
        yield Scene(sample.id, picture, dataset.truth(sample))


def _notes(
    schooling: Schooling, samples: Sequence[tuple[Dataset, Sample]], learned: int, start: Path | None, commit: str
) -> dict[str, Any]:
    """What goes into the metadata besides the settings."""
    files = dict.fromkeys(file for _, sample in samples for file in (*sample.files, *sample.truth))
    method = schooling.method
    return {
        "task": schooling.task,
        "data": " + ".join(dataset.label for dataset in schooling.datasets),
        "pictures": learned,
        "files": list_digest(files),
        "seen": fingerprints.of(samples).as_json(),
        "enhanced_by": {"name": method.name, "digest": method.digest} if method else {},
        "start": sha256(start.read_bytes()).hexdigest() if start else "",
        "commit": commit,
    }
