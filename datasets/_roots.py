"""The folder a data set lies in, or an error that says how to give one."""

from __future__ import annotations

import inspect
from pathlib import Path

from bench.contracts import Dataset
from bench.image import is_folder


def name_of(dataset: Dataset) -> str:
    """The name by which users call the data set: its file's stem."""
    return Path(inspect.getfile(type(dataset))).stem


def root_of(dataset: Dataset) -> Path:
    """The user's folder of the data set; raises FileNotFoundError where none is given or it does not exist.

    Raises OSError with the server's reason where the root is an address that cannot be asked.
    """
    if dataset.root is None:
        raise FileNotFoundError(f"{dataset.label} needs a folder with {dataset.layout}: {_way_out(dataset)}")
    if not is_folder(dataset.root):
        raise lacking(dataset, dataset.root)
    return dataset.root


def lacking(dataset: Dataset, folder: Path) -> FileNotFoundError:
    """The error for a folder that the data set needs and that is not there."""
    return FileNotFoundError(f"{dataset.label} needs {folder} (from {_way_out(dataset)}")


def refuse_option(dataset: Dataset) -> None:
    """Raise ValueError where something follows the colon of a data set that knows no options."""
    if dataset.option:
        name = name_of(dataset)
        raise ValueError(f"{name} takes no option, got {name}:{dataset.option}; write {name}")


def _way_out(dataset: Dataset) -> str:
    name = name_of(dataset)
    ways = f"[datasets.{name}] root in bench.toml, --root {name}=PATH or BENCH_DATA/{name}"
    where = f"see datasets/{name}.py for where to get it"
    return f"give {ways}; {where}" if dataset.root is None else f"{ways}); {where}"
