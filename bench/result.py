"""A run folder in, what reports see out; the plan kept with the records says all, no plug-in or device is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import examining, plugins, summary
from bench.contracts import Column, MethodRow, Record, Report, Result
from bench.plan import Plan
from bench.plugins import Spec
from bench.runner import view_paths
from bench.store import Store, StoreError, explained

PLAN, MANIFEST = "plan", "manifest"


def keep(store: Store, plan: Plan, manifest: Mapping[str, Any], thumbnails: int) -> None:
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
    }
    protocols = {(exam.material.name, exam.examination.name): exam.protocol for exam in plan.exams}
    store.declare(
        (key, job.method.name, job.material.name, protocols.get((job.material.name, name), plan.protocol.name), name)
        for job in plan.jobs
        for name, key in (*job.score_keys.items(), *job.task_keys.items())
    )
    store.note(PLAN, note)
    store.note(MANIFEST, manifest)


def load(store: Store, confidence: float | None = None) -> Result:
    """The run's table, records, manifest and thumbnails, in plan order.

    Stored detections are scored again on the way; `confidence` replaces the least one that counts for precision.

    Raises StoreError where the folder holds no plan yet.
    """
    plan, manifest = store.noted(PLAN), store.noted(MANIFEST)
    if plan is None or manifest is None:
        raise StoreError(f"{store.folder} holds no finished plan; give the `bench run` command again")
    rows = [MethodRow(**row) for row in plan["rows"]]
    columns = [Column(**column) for column in plan["columns"]]
    records: list[Record] = []
    thumbnails: dict[tuple[str, str, str], Path] = {}
    for job in plan["jobs"]:
        images = [(image, digest) for image, digest in plan["images"][job["dataset"]]]
        stored = {metric: store.scores(key) for metric, key in job["score_keys"].items()}
        for name in images:
            for metric, scores in stored.items():
                if name in scores:
                    score = scores[name]
                    records.append(
                        Record(
                            method=job["method"],
                            dataset=job["dataset"],
                            protocol=plan["protocol"],
                            image=score.image,
                            metric=metric,
                            value=score.value,
                            error=score.error,
                            seconds=score.seconds,
                            caveat=score.caveat,
                        )
                    )
        for (image, _), views in zip(images, job["views"], strict=False):
            for view, path in views.items():
                if (store.folder / path).is_file():
                    thumbnails[job["dataset"], image, view] = store.folder / path
    reasons = {(dataset, metric): reason for dataset, metric, reason in plan["missing"]}
    missing = {
        (row.method, column): reasons[column.dataset, column.metric]
        for row in rows
        for column in columns
        if (column.dataset, column.metric) in reasons
    }
    pools: dict[tuple[str, Column], summary.Pool] = {}
    for exam in plan["exams"]:
        jobs = {job["method"]: job for job in plan["jobs"] if job["dataset"] == exam["dataset"]}
        keys = {method: job["task_keys"].get(exam["task"]) for method, job in jobs.items()}
        images = [(image, digest) for image, digest in plan["images"][exam["dataset"]]]
        marked = examining.examine(store, exam, keys, images, confidence)
        columns += marked.columns
        records += marked.records
        missing |= marked.missing
        pools |= marked.pools
    order = list(dict.fromkeys(column.dataset for column in columns))
    columns.sort(key=lambda column: order.index(column.dataset))
    table = summary.tabulate(rows, columns, records, missing, int(manifest["seed"]), pools)
    return Result(table=table, records=records, manifest=manifest, folder=store.folder, thumbnails=thumbnails)


def write(result: Result, reports: Mapping[str, Report]) -> list[Path]:
    """Render every report and the manifest into the run's folder; each file is replaced as a whole."""
    contents = {report.filename: report.render(result) for report in reports.values()}
    contents["manifest.json"] = json.dumps(result.manifest, indent=2, ensure_ascii=False) + "\n"
    written: list[Path] = []
    with explained(result.folder):
        for name, text in contents.items():
            path = result.folder / name
            part = path.with_name(f"{name}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
            written.append(path)
    return written


def build_reports(names: tuple[str, ...]) -> dict[str, Report]:
    """Load reports by name; raises LookupError with the nearest name."""
    return {name: plugins.load(Report, Spec.parse(name))() for name in names}
