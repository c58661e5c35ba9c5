"""Score a folder of pictures made elsewhere, paired with references by file stem."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import image, summary
from bench.config import Config
from bench.contracts import Column, MethodRow, Record, Table
from bench.lineup import Measure, build_measure, metric_names
from bench.planes import Planes
from bench.provenance import sha256_of_files
from bench.store import explained
from bench.work import Outcome, Scorer, exact_convolutions, one_line

PROTOCOL = "native-8bit"


@dataclass(frozen=True)
class FolderPlan:
    """What is scored with what."""

    name: str
    pictures: tuple[tuple[str, Path, Path | None], ...]
    """(stem, enhanced, reference) in natural order."""
    measures: tuple[Measure, ...]
    seed: int


def plan_folder(enhanced: Path, reference: Path | None, config: Config) -> FolderPlan:
    """Pair the folders' pictures and find the metrics.

    Raises FileNotFoundError for a folder without pictures, ValueError for a missing or doubled partner (all are named),
    LookupError for an unknown metric.
    """
    pictures = image.pictures_in(enhanced)
    references = image.pictures_in(reference) if reference is not None else {}
    if reference is not None:
        alone = [f"{path} has no reference in {reference}" for stem, path in pictures.items() if stem not in references]
        alone += [f"{path} has no picture in {enhanced}" for stem, path in references.items() if stem not in pictures]
        if alone:
            raise ValueError("\n".join(alone))
    measures = [build_measure(name, config, sha256_of_files) for name in dict.fromkeys(metric_names(config))]
    if "auto" in config.run.metrics and reference is None:
        measures = [measure for measure in measures if not measure.metric.needs_reference]
    low = [measure.metric.label for measure in measures if measure.metric.needs_low]
    if low:
        raise ValueError(f"{', '.join(low)}: compares with the low-light pictures, which bench score does not see")
    unusable = [measure.metric.label for measure in measures if measure.metric.needs_reference and reference is None]
    if unusable:
        raise ValueError(f"{', '.join(unusable)}: needs a reference; give --reference DIR")
    return FolderPlan(
        name=enhanced.name or str(enhanced),
        pictures=tuple((stem, path, references.get(stem)) for stem, path in pictures.items()),
        measures=tuple(measures),
        seed=config.run.seed,
    )


def score_folder(plan: FolderPlan, device: torch.device) -> Iterator[list[Record]]:
    """One list of records per picture, one record per metric that the machine has the files for."""
    scorer = Scorer.build(plan.measures, device)
    names = [measure.name for measure in plan.measures if measure.missing is None]
    for stem, path, partner in plan.pictures:
        try:
            planes = Planes(image.read_rgb(path)[None].to(device))
            reference = None if partner is None else Planes(image.read_rgb(partner)[None].to(device))
            if reference is not None and reference.rgb.shape != planes.rgb.shape:
                raise ValueError(f"{partner} is {_size(reference)}, {path} is {_size(planes)}")
        except (ValueError, OSError) as error:
            yield [_record(plan, stem, name, Outcome(None, one_line(error))) for name in names]
            continue
        with torch.no_grad(), exact_convolutions():
            yield [_record(plan, stem, name, _outcome(scorer, name, planes, reference)) for name in names]


def tabulate(plan: FolderPlan, records: Sequence[Sequence[Record]]) -> Table:
    """One row: the folder."""
    columns = [
        Column(
            dataset=plan.name,
            dataset_label=plan.name,
            protocol=PROTOCOL,
            metric=measure.name,
            metric_label=measure.metric.label,
            higher_is_better=measure.metric.higher_is_better,
            unit=measure.metric.unit,
            decimals=measure.metric.decimals,
            definition=measure.metric.definition,
            caveat=measure.metric.caveat,
        )
        for measure in plan.measures
    ]
    missing = {
        (plan.name, column): measure.missing
        for column, measure in zip(columns, plan.measures, strict=True)
        if measure.missing is not None
    }
    row = MethodRow(method=plan.name, label=plan.name, kind="outputs")
    return summary.tabulate([row], columns, [one for some in records for one in some], missing, seed=plan.seed)


def write_csv(records: Sequence[Sequence[Record]], path: Path) -> None:
    """Write image,metric,value,error: one row per picture and metric, values unrounded."""
    with explained(path.parent), path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image", "metric", "value", "error"])
        for record in (one for some in records for one in some):
            value = "" if record.value is None else repr(record.value)
            writer.writerow([record.image, record.metric, value, record.error or ""])


def _outcome(scorer: Scorer, metric: str, planes: Planes, reference: Planes | None) -> Outcome:
    if metric in scorer.broken:
        return Outcome(None, scorer.broken[metric])
    return scorer.score(metric, planes, reference)[0]


def _record(plan: FolderPlan, stem: str, metric: str, outcome: Outcome) -> Record:
    value, error, caveat = outcome
    return Record(plan.name, plan.name, PROTOCOL, stem, metric, value, error, None, caveat)


def _size(planes: Planes) -> str:
    return f"{planes.rgb.shape[-1]}x{planes.rgb.shape[-2]}"
