"""A plan in, leaks out: test pictures, or near copies of them, that a method or a task's model has seen in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import fingerprints, lineup
from bench.config import Config
from bench.contracts import LEAK, Copy, Leak, Table
from bench.fingerprints import PRINT, Fingerprints
from bench.lineup import Material, digest_of, file_digest
from bench.plan import Plan
from bench.store import Store
from bench.training import list_digest, read_metadata, training_files

UNTRAINED = ("none", "classical")
"""Kinds of methods that learn from no picture."""
_BATCH = 64
"""Pictures after which new fingerprints are recorded."""


class LeakError(ValueError):
    """Test pictures were seen in training and the user refuses such results; the text lists them."""


@dataclass(frozen=True)
class Findings:
    """What is known about a plan's pictures."""

    leaks: tuple[Leak, ...]
    unknown: tuple[str, ...]
    """Methods and tasks that learned from pictures which nobody wrote down."""

    def refuse(self) -> None:
        """Raise LeakError with every picture where there is a leak."""
        if self.leaks:
            lines = [f"{_told(leak)}: {', '.join(map(_beside, leak.copies))}" for leak in self.leaks]
            raise LeakError("\n".join([*lines, "refused by --strict; without it the table marks such values"]))

    def warnings(self) -> list[str]:
        """What a user should know before the run begins."""
        lines = [f"{_told(leak)}; the table marks it {LEAK}, --strict refuses it" for leak in self.leaks]
        if self.unknown:
            lines.append(f"pictures seen in training cannot be told for {', '.join(self.unknown)}: nothing says which")
        return lines

    def facts(self) -> dict[str, Any]:
        """What stands in a run's manifest, as JSON values."""
        leaks = [{**one, "copies": len(one["copies"])} for one in as_json(self.leaks)]
        return {"leaks": leaks, "unknown": list(self.unknown)}


def _told(leak: Leak) -> str:
    who = ", ".join(leak.methods)
    whose = f"the {leak.model} model behind {who}" if leak.model else who
    near = sum(not copy.exact for copy in leak.copies)
    how = f" ({near} as near copies)" if near else ""
    return f"{whose}: {len(leak.copies)} of {leak.pictures} pictures of {leak.dataset} were seen in training{how}"


def _beside(copy: Copy) -> str:
    return f"{copy.image} ({'the same as' if copy.exact else 'near copy of'} {copy.seen})"


class _Source(NamedTuple):
    """Weights whose pictures are known, and whose values rest on them."""

    method: str
    material: Material
    protocol: str
    model: str
    seen: Fingerprints


def find(plan: Plan, store: Store) -> Findings:
    """Compare every data set of a plan with the pictures that its methods and models have seen.

    A data set is decoded for this once, and only where anything is known to compare it with; a picture that cannot be
    read has no fingerprint. Raises ValueError for weights whose own list of fingerprints is damaged.
    """
    seen_by = cache(_seen_by)  # for this plan only: a file may change
    sources: list[_Source] = []
    unknown: dict[str, None] = {}
    for name, kind, material, protocol, model, files in _trained(plan):
        seen = [known for file in files if file.suffix == ".safetensors" and (known := seen_by(file)) is not None]
        sources += [_Source(name, material, protocol, model, one) for one in seen]
        if not seen and (model or kind not in UNTRAINED):
            unknown[f"the {model} model" if model else name] = None
    materials = {source.material.name: source.material for source in sources}
    tested = {name: _fingerprints(material, store) for name, material in materials.items()}
    compared: dict[tuple[str, int], tuple[Copy, ...]] = {}
    methods: defaultdict[tuple[str, str, str, tuple[Copy, ...]], list[str]] = defaultdict(list)
    for source in sources:
        name = source.material.name
        pair = name, id(source.seen)
        if pair not in compared:
            compared[pair] = tuple(fingerprints.copies(tested[name], source.seen))
        if compared[pair]:
            methods[name, source.protocol, source.model, compared[pair]].append(source.method)
    leaks = tuple(
        Leak(tuple(who), name, protocol, model, len(materials[name].samples), found)
        for (name, protocol, model, found), who in methods.items()
    )
    return Findings(leaks, tuple(unknown))


def _trained(plan: Plan) -> Iterator[tuple[str, str, Material, str, str, tuple[Path, ...]]]:
    """Method and its kind, data set, protocol and task ('' for the method itself), files with what was learned."""
    for job in plan.jobs:
        adapter = job.method.adapter
        yield job.method.name, adapter.kind, job.material, "", "", adapter.files
    for exam in plan.exams:
        for row in plan.rows:
            if row.method not in exam.missing:
                files = exam.examination.task.model(exam.material.dataset, row.method)
                yield row.method, row.kind, exam.material, exam.protocol, exam.examination.name, files


def _fingerprints(material: Material, store: Store) -> Fingerprints:
    """Of a data set's pictures, from the store as far as it has them; those that cannot be read are left out."""
    key = digest_of(material.digest, file_digest(fingerprints))
    known = store.fingerprints(key)
    names = list(zip((sample.id for sample in material.samples), material.digests, strict=True))
    lacking = [place for place, name in enumerate(names) if name not in known]
    for start in range(0, len(lacking), _BATCH):
        places = lacking[start : start + _BATCH]
        rows = fingerprints.rows_of([(material.dataset, material.samples[place]) for place in places])
        fresh = {names[place]: row.tobytes() for place, row in zip(places, rows, strict=True) if row is not None}
        store.add_fingerprints(key, ((*name, row) for name, row in fresh.items()))
        known |= fresh
    found = [name for name in names if name in known]
    prints = np.frombuffer(b"".join(known[name] for name in found), PRINT).reshape(-1, 2)
    return Fingerprints(tuple(image for image, _ in found), prints)


def _seen_by(weights: Path) -> Fingerprints | None:
    try:
        told = read_metadata(weights)
    except (OSError, ValueError):  # whoever loads the file says what is wrong with it
        return None
    try:
        return fingerprints.seen_in(told)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{weights}: its list of pictures seen in training (metadata, training.seen) cannot be read ({error}); "
            f"copy the file again, or train again"
        ) from error


def marked(table: Table, leaks: Sequence[Leak]) -> Table:
    """The table with its leaks, and with the number of pictures in every cell that they bear on."""
    cells = dict(table.cells)
    for (method, column), cell in table.cells.items():
        images = {copy.image for leak in leaks if leak.concerns(method, column) for copy in leak.copies}
        if images:
            cells[method, column] = replace(cell, leaked=len(images))
    return replace(table, cells=cells, leaks=tuple(leaks))


def as_json(leaks: Sequence[Leak]) -> list[dict[str, Any]]:
    """JSON values that `parse` reads."""
    return [asdict(leak) for leak in leaks]


def parse(stored: Sequence[Mapping[str, Any]]) -> tuple[Leak, ...]:
    """What `as_json` gave."""
    return tuple(
        Leak(**{**one, "methods": tuple(one["methods"]), "copies": tuple(Copy(*copy) for copy in one["copies"])})
        for one in stored
    )


class Overlap(NamedTuple):
    """What two data sets share."""

    pictures: tuple[int, int]
    unread: tuple[int, int]
    """How many of the pictures cannot be read."""
    copies: list[Copy]
    """Pictures of the first that are in the second."""
    touched: int
    """How many pictures of the second are in the first."""


def overlap(first: str, second: str, config: Config) -> Overlap:
    """Compare two data sets; raises LookupError, ValueError or OSError naming what is wrong with them."""
    sets = [lineup.build_dataset(name, config) for name in (first, second)]
    one, other = ([(dataset, sample) for sample in dataset.samples()] for dataset in sets)
    here, there = fingerprints.of(one), fingerprints.of(other)
    return Overlap(
        pictures=(len(one), len(other)),
        unread=(len(one) - len(here), len(other) - len(there)),
        copies=fingerprints.copies(here, there),
        touched=len(fingerprints.copies(there, here)),
    )


def lines(found: Overlap) -> list[tuple[str, str, str, str]]:
    """A line of text for each picture of the first set that is in the second."""
    return [
        (
            one.image,
            one.seen + (f" and {one.more} more" if one.more else ""),
            "the same" if one.exact else "near copy",
            str(one.distance),
        )
        for one in found.copies
    ]


def in_words(first: str, second: str, found: Overlap) -> str:
    """The overlap as a sentence."""
    one, other = found.pictures
    if not found.copies:
        return f"no overlap: none of the {one} pictures of {first} is, or nearly is, one of the {other} of {second}"
    same = sum(copy.exact for copy in found.copies)
    return (
        f"{len(found.copies)} of {one} pictures of {first} are in {second} ({same} the same, "
        f"{len(found.copies) - same} near copies), where they touch {found.touched} of {other}"
    )


def remember(weights: Sequence[Path], name: str, config: Config, ledger: Path = fingerprints.LEDGER) -> int:
    """Write down what weights were trained on that do not say so themselves; how many pictures that is.

    `name` is the data set, in the state that the weights' metadata names by a digest. Raises ValueError where it is
    not: then nothing is written.
    """
    dataset = lineup.build_dataset(name, config)
    samples = dataset.samples()
    lists = []
    for file in weights:
        stored = read_metadata(file)
        held_out = set(stored.get("held_out", ()))
        ordered = sorted(samples, key=lambda sample: sample.id in held_out)
        by_task = dict.fromkeys(path for sample in samples for path in (*sample.files, *sample.truth))
        known = {list_digest(training_files(ordered)), list_digest(by_task)}
        if stored.get("files") not in known:
            raise ValueError(
                f"{file} was trained on {stored.get('data', 'pictures it does not name')}, {stored.get('pictures')} of "
                f"them learned from, with another list of files than {name} has here; give the same files"
            )
        lists.append(str(stored["files"]))
    seen = fingerprints.of((dataset, sample) for sample in samples)
    if len(seen) < len(samples):
        raise ValueError(
            f"{len(samples) - len(seen)} of {len(samples)} pictures of {name} cannot be read; restore them"
        )
    fingerprints.remember(lists, name, seen, ledger)
    return len(seen)
