"""A run folder in, what reports see out; the plan kept with the records says all, no plug-in or device is needed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import examining, leakage, plugins, ranking, summary
from bench.contracts import Arrays, Column, Leak, MethodRow, Record, Report, Result, View
from bench.plan import Plan
from bench.plugins import Spec
from bench.records import Cell, Records
from bench.store import Store, StoreError, explained
from bench.views import map_file, view_files, view_paths

PLAN, MANIFEST = "plan", "manifest"


def keep(store: Store, plan: Plan, manifest: Mapping[str, Any], thumbnails: int, leaks: Sequence[Leak] = ()) -> None:
    """Write down with the records what they are records of."""
    materials = {job.material.name: job.material for job in plan.jobs}
    note = {
        "protocol": plan.protocol.name,
        "rows": [asdict(row) for row in plan.rows],
        "columns": [asdict(column) for column in plan.columns],
        "missing": [[dataset, metric, reason] for (dataset, metric), reason in plan.missing.items()],
        "images": {
            name: [[sample.id, digest] for sample, digest in zip(material.samples, material.digests, strict=True)]
            for name, material in materials.items()
        },
        "jobs": [
            {
                "method": job.method.name,
                "dataset": job.material.name,
                "key": job.key,
                "score_keys": dict(job.score_keys),
                "task_keys": dict(job.task_keys),
                "views": [
                    view_paths(job, index, plan.protocol) for index in range(min(thumbnails, len(job.material.samples)))
                ],
            }
            for job in plan.jobs
        ],
        "exams": [
            {
                "task": exam.examination.name,
                "dataset": exam.material.name,
                "label": exam.material.dataset.label,
                "protocol": exam.protocol,
                "classes": list(exam.material.dataset.classes),
                "truth_key": exam.truth_key,
                "missing": dict(exam.missing),
            }
            for exam in plan.exams
        ],
        "leaks": leakage.as_json(leaks),
    }
    protocols = {(exam.material.name, exam.examination.name): exam.protocol for exam in plan.exams}
    store.declare(
        (key, job.method.name, job.material.name, protocols.get((job.material.name, name), plan.protocol.name), name)
        for job in plan.jobs
        for name, key in (*job.score_keys.items(), *job.task_keys.items())
    )
    store.note(PLAN, note)
    store.note(MANIFEST, manifest)


@dataclass(frozen=True)
class Gathered:
    """What the store holds of a run, before it is summed up."""

    plan: Mapping[str, Any]
    manifest: Mapping[str, Any]
    rows: list[MethodRow]
    columns: list[Column]
    records: Sequence[Record]
    missing: Mapping[tuple[str, Column], str]
    """Why a cell is empty, by (method, column)."""
    pools: Mapping[tuple[str, Column], summary.Pool]


def gather(store: Store, confidence: float | None = None) -> Gathered:
    """The run's records and scored predictions in plan order; raises StoreError where the folder holds no plan yet."""
    plan, manifest = store.noted(PLAN), store.noted(MANIFEST)
    if plan is None or manifest is None:
        raise StoreError(f"{store.folder} holds no finished plan; give the `bench run` command again")
    rows = [MethodRow(**row) for row in plan["rows"]]
    columns = [Column(**column) for column in plan["columns"]]
    names = {dataset: [(image, digest) for image, digest in images] for dataset, images in plan["images"].items()}
    ids = {dataset: tuple(image for image, _ in images) for dataset, images in names.items()}
    cells = []
    for job in plan["jobs"]:
        dataset = job["dataset"]
        for metric, key in job["score_keys"].items():
            stored = store.scores(key)
            found = {place: stored[name] for place, name in enumerate(names[dataset]) if name in stored}
            cells.append(Cell.of(job["method"], dataset, plan["protocol"], metric, ids[dataset], found))
    reasons = {(dataset, metric): reason for dataset, metric, reason in plan["missing"]}
    missing = {
        (row.method, column): reasons[column.dataset, column.metric]
        for row in rows
        for column in columns
        if (column.dataset, column.metric) in reasons
    }
    pools: dict[tuple[str, Column], summary.Pool] = {}
    examined: list[Record] = []
    for exam in plan["exams"]:
        jobs = {job["method"]: job for job in plan["jobs"] if job["dataset"] == exam["dataset"]}
        keys = {method: job["task_keys"].get(exam["task"]) for method, job in jobs.items()}
        marked = examining.examine(store, exam, keys, names[exam["dataset"]], confidence)
        columns += marked.columns
        examined += marked.records
        missing |= marked.missing
        pools |= marked.pools
    order = list(dict.fromkeys(column.dataset for column in columns))
    columns.sort(key=lambda column: order.index(column.dataset))
    return Gathered(plan, manifest, rows, columns, Records(cells, examined), missing, pools)


def load(store: Store, confidence: float | None = None) -> Result:
    """The run's table, records, manifest and thumbnails, in plan order.

    Stored detections are scored again on the way; `confidence` replaces the least one that counts for precision.

    Raises StoreError where the folder holds no plan yet.
    """
    found = gather(store, confidence)
    plan, manifest, columns, records = found.plan, found.manifest, found.columns, found.records
    thumbnails: dict[tuple[str, str, str], Path] = {}
    for job in plan["jobs"]:
        images = [(image, digest) for image, digest in plan["images"][job["dataset"]]]
        for (image, _), views in zip(images, job["views"], strict=False):
            for view, path in views.items():
                if (store.folder / path).is_file():
                    thumbnails[job["dataset"], image, view] = store.folder / path
    plain = [column for column in columns if "+" not in column.protocol]
    table = summary.tabulate(found.rows, columns, records, found.missing, int(manifest["seed"]), found.pools)
    table = leakage.marked(ranking.ranked(table, records), leakage.parse(plan.get("leaks", ())))
    return Result(
        table=table,
        records=records,
        manifest=manifest,
        folder=store.folder,
        thumbnails=thumbnails,
        views=_views(store, plan, thumbnails, sorted({column.metric for column in plain})),
        truths=_truths(store, plan, thumbnails),
        classes={exam["dataset"]: tuple(exam["classes"]) for exam in plan["exams"] if exam["classes"]},
        seconds={(job["method"], job["dataset"]): tuple(store.seconds(job["key"])) for job in plan["jobs"]},
    )


Shown = Mapping[tuple[str, str, str], Path]
"""Thumbnails by (data set, picture id, method)."""


def _views(
    store: Store, plan: Mapping[str, Any], shown: Shown, metrics: Collection[str]
) -> dict[tuple[str, str, str], View]:
    """Whole pictures, error maps, histograms and answers of the pictures that have thumbnails."""
    answers: dict[tuple[str, str, str], dict[str, Arrays]] = {key: {} for key in shown}
    for job in plan["jobs"]:
        wanted = {tuple(name) for name in plan["images"][job["dataset"]][: len(job["views"])]}
        for task, key in job["task_keys"].items():
            for (image, digest), said in store.predictions(key, wanted).items():
                place = job["dataset"], image, job["method"]
                if said.arrays is not None and place in answers and (image, digest) in wanted:
                    answers[place][task] = said.arrays
    views = {}
    for place, thumbnail in shown.items():
        files = view_files(thumbnail)
        views[place] = View(
            full=files["full"] if files["full"].is_file() else None,
            error=files["error"] if files["error"].is_file() else None,
            maps={metric: file for metric in metrics if (file := map_file(thumbnail, metric)).is_file()},
            histogram=_histogram(files["histogram"]),
            answers=answers[place],
        )
    return views


def _histogram(file: Path) -> Arrays | None:
    if not file.is_file():
        return None
    return {name: np.array(counts) for name, counts in json.loads(file.read_text()).items()}


def _truths(store: Store, plan: Mapping[str, Any], shown: Shown) -> dict[tuple[str, str, str], Arrays]:
    pictures = {(dataset, image) for dataset, image, _ in shown}
    return {
        (exam["dataset"], image, exam["task"]): kept.arrays
        for exam in plan["exams"]
        for (image, _), kept in store.truths(exam["truth_key"]).items()
        if (exam["dataset"], image) in pictures
    }


def write(result: Result, reports: Mapping[str, Report]) -> list[Path]:
    """Render every report and the manifest into the run's folder; each file is replaced as a whole, and all or none."""
    pieces = {report.filename: report.pieces(result) for report in reports.values()}
    pieces["manifest.json"] = iter([json.dumps(result.manifest, indent=2, ensure_ascii=False) + "\n"])
    with explained(result.folder):
        for name, text in pieces.items():
            with (result.folder / f"{name}.part").open("w", encoding="utf-8") as part:
                part.writelines(text)
        return [(result.folder / f"{name}.part").replace(result.folder / name) for name in pieces]


def build_reports(names: tuple[str, ...]) -> dict[str, Report]:
    """Load reports by name; raises LookupError with the nearest name."""
    return {name: plugins.load(Report, Spec.parse(name))() for name in names}
