"""What there is and what is missing on this machine, as rows of text for `bench list`, `data`, `weights`, `doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence

import torch

import bench
from bench import config as configuration
from bench import parameters, plugins, provenance
from bench.config import Config
from bench.contracts import Adapter, Dataset, Figure, Metric, ParameterFile, Report, Task
from bench.lineup import build_dataset
from bench.plugins import Spec

Rows = tuple[Sequence[str], list[Sequence[str]]]


def listing(kind: str) -> Rows:
    """Every plug-in of a kind with its facts; raises LookupError for an unknown kind."""
    listings = {
        "methods": _methods,
        "datasets": _datasets,
        "metrics": _metrics,
        "tasks": _tasks,
        "reports": _reports,
        "figures": _figures,
        "tables": _tables,
    }
    if kind not in listings:
        raise LookupError(f"`bench list {kind}`: no such list{plugins.near(kind, listings)}")
    return listings[kind]()


def data_status(config: Config) -> Rows:
    """Per data set: found or not, where, how many pictures, what is expected."""
    lines: list[Sequence[str]] = []
    for name in plugins.names(Dataset):
        kind = plugins.load(Dataset, Spec.parse(name))
        try:
            kind()
        except ValueError:
            continue  # folder:DIR is wherever the user says
        root = config.root(Spec.parse(name))
        place = str(root) if root else (f"--root {name}=PATH" if kind.needs_root else "comes with the project")
        try:
            found = f"{len(build_dataset(name, config).samples())} pictures"
        except (OSError, ValueError, LookupError) as error:
            found = "no" if root is None else f"no: {error}"
        lines.append((name, kind.label, found, place, kind.layout, kind.origin))
    return ("name", "data set", "found", "place", "expected below its root", "origin"), lines


def weights_status(config: Config) -> Rows:
    """Per file: place, digest, licence, who needs it."""
    users = _parameter_files()
    names = {file.name: ", ".join(metrics) for file, metrics in users.items()}
    lines: list[Sequence[str]] = [
        (
            row.name,
            names[row.name],
            row.digest,
            str(row.place or ("-" if row.digest == "absent" else row.reason)),
            row.licence,
            row.url,
        )
        for row in parameters.status(users, config.parameters)
    ]
    return ("file", "needed by", "state", "place", "licence", "download"), lines


def doctor(config: Config) -> Iterator[Rows]:
    """Versions and device, then files of metrics, then data sets."""
    commit, dirty = provenance.revision()
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    facts = {
        "bench": bench.__version__ + (f" ({commit[:12]}{', changed' if dirty else ''})" if commit else ""),
        "python": f"{platform.python_version()} on {platform.platform(terse=True)}",
        "cores": f"{os.cpu_count()}, torch uses {torch.get_num_threads()} threads",
        "CUDA device": cuda,
        "bench.toml": str(configuration.find_file() or "none: built-in defaults"),
        "BENCH_DATA": os.environ.get("BENCH_DATA", "not set"),
        "BENCH_PARAMETERS": os.environ.get("BENCH_PARAMETERS", "not set"),
    }
    yield ("fact", "value"), [*facts.items(), *provenance.versions().items()]
    needs: list[Sequence[str]] = []
    for name in plugins.names(Metric):
        metric = plugins.load(Metric, Spec.parse(name))
        absent = [row for row in parameters.status(metric.files, config.parameters) if row.place is None]
        state = "; ".join(f"{row.name} is {row.digest}" for row in absent) or "ready"
        needs.append((name, state))
    yield ("metric", "on this machine"), needs
    header, lines = data_status(config)
    yield header[:4], [line[:4] for line in lines]


def fetchable(names: Sequence[str]) -> list[ParameterFile]:
    """The named files, or all; raises LookupError for a name that no metric needs."""
    files = {file.name: file for file in _parameter_files()}
    for name in names:
        if name not in files:
            raise LookupError(f"no metric or task needs a file called {name!r}{plugins.near(name, files)}")
    return [files[name] for name in names or files]


def _parameter_files() -> dict[ParameterFile, list[str]]:
    users: dict[ParameterFile, list[str]] = {}
    metrics = [(name, plugins.load(Metric, Spec.parse(name)).files) for name in plugins.names(Metric)]
    tasks = [(name, plugins.load(Task, Spec.parse(name)).files) for name in plugins.names(Task)]
    for name, files in metrics + tasks:
        for file in files:
            users.setdefault(file, []).append(name)
    return users


def _methods() -> Rows:
    lines: list[Sequence[str]] = []
    for name in plugins.names(Adapter):
        kind = plugins.load(Adapter, Spec.parse(name))
        options = "; ".join(f"{name}:{option} = {meaning}" for option, meaning in kind.options.items())
        lines.append((name, kind.label, kind.kind, kind.source, options))
    return ("name", "method", "kind", "source", "options"), lines


def _datasets() -> Rows:
    kinds = [(name, plugins.load(Dataset, Spec.parse(name))) for name in plugins.names(Dataset)]
    return ("name", "data set", "layout", "origin"), [(name, k.label, k.layout, k.origin) for name, k in kinds]


def _metrics() -> Rows:
    lines: list[Sequence[str]] = []
    for name in plugins.names(Metric):
        kind = plugins.load(Metric, Spec.parse(name))
        if kind.options:
            meaning = "; ".join(kind.options.values())
            lines.append((f"{name}:{'|'.join(kind.options)}", kind.label, "by name", "by name", meaning, kind.source))
            continue
        arrow = "higher" if kind.higher_is_better else "lower"
        lines.append((name, kind.label, arrow, "yes" if kind.needs_reference else "no", kind.definition, kind.source))
    return ("name", "metric", "better", "reference", "definition", "source"), lines


def _tasks() -> Rows:
    lines: list[Sequence[str]] = []
    for name in plugins.names(Task):
        kind = plugins.load(Task, Spec.parse(name))
        trained = f"bench train {kind.trained_as}" if kind.trained_as else "no"
        lines.append((f"{name}:MODEL", kind.label, kind.options, kind.size, trained, kind.source))
    return ("name", "task", "MODEL", "sees", "trained here", "scores follow"), lines


def _reports() -> Rows:
    kinds = [(name, plugins.load(Report, Spec.parse(name))) for name in plugins.names(Report)]
    return ("name", "file", "what"), [(name, kind.filename, kind.label) for name, kind in kinds]


def _figures() -> Rows:
    kinds = [(name, plugins.load(Figure, Spec.parse(name))) for name in plugins.names(Figure)]
    return ("name", "what"), [(name, kind.label) for name, kind in kinds]


def _tables() -> Rows:
    from bench import papers

    return papers.listing()
