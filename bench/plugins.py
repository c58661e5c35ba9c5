"""Name in, plug-in class out: the folder listing is the registry, and this is the only dynamic import."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from bench import contracts

Plugin = TypeVar("Plugin")

ROOMS: dict[type, tuple[str, str]] = {
    contracts.Adapter: ("adapters", "method"),
    contracts.Dataset: ("datasets", "data set"),
    contracts.Metric: ("metrics", "metric"),
    contracts.Task: ("tasks", "task"),
    contracts.Report: ("reports", "report"),
    contracts.TableFormat: ("reports.tables", "table format"),
    contracts.Figure: ("figures", "figure"),
}
"""Folder of each kind of plug-in, and what users call it."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a user wrote for a plug-in, taken apart: 'gamma:2.2', 'outputs:DIR', 'path/to/mine.py:option'."""

    text: str
    name: str
    option: str
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Split at the first colon behind the name; a name that ends in .py is a file outside the project."""
        name, _, option = text.partition(":")
        path = Path(name) if name.endswith(".py") else None
        return cls(text=text, name=path.stem if path else name, option=option, path=path)


def names(kind: type) -> list[str]:
    """Names of all plug-ins of a kind, sorted; a leading underscore marks shared code, not a plug-in."""
    files = (file for folder in folders(kind) for file in folder.glob("*.py"))
    return sorted({file.stem for file in files if not file.stem.startswith("_")})


def folders(kind: type) -> list[Path]:
    """Where plug-ins of a kind lie."""
    return [Path(folder) for folder in importlib.import_module(f"bench.{ROOMS[kind][0]}").__path__]


def load(kind: type[Plugin], spec: Spec) -> type[Plugin]:
    """The plug-in class that a spec names.

    Raises LookupError for a name without file (with the nearest name), TypeError for a file without exactly one public
    class of the kind.
    """
    room, word = ROOMS[kind]
    if spec.path is not None:
        return _public_class(kind, _load_file(spec.path, word))
    known = names(kind)
    if spec.name not in known:
        raise LookupError(f"no {word} is called {spec.name!r}{near(spec.name, known)}")
    return _public_class(kind, importlib.import_module(f"bench.{room}.{spec.name}"))


def near(name: str, known: Iterable[str]) -> str:
    """The end of an error text: the nearest known name, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def source_digest(plugin: type) -> str:
    """SHA-256 of the plug-in's file and of the files beside it that it imports, directly or through each other.

    A changed recipe makes exactly the values stale that came from it.
    """
    files = [Path(inspect.getfile(plugin))]
    for file in files:  # grows while it is walked
        files += [beside for beside in _imports_beside(file) if beside not in files]
    digest = sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _imports_beside(file: Path) -> list[Path]:
    """Files of the same folder that a file imports, which a room does by `from ._name import ...`."""
    tree = ast.parse(file.read_bytes(), str(file))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    names = [node.module.split(".")[0] if node.module else alias.name for node in nodes for alias in node.names]
    found = (file.parent / f"{name}.py" for name in dict.fromkeys(names))
    return [beside for beside in found if beside.is_file()]


def _load_file(path: Path, word: str) -> ModuleType:
    if not path.is_file():
        raise LookupError(f"{path} does not exist (given as {word})")
    name = f"bench_outside_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LookupError(f"{path} cannot be imported as Python (given as {word})")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up here
    spec.loader.exec_module(module)
    return module


def _public_class(kind: type[Plugin], module: ModuleType) -> type[Plugin]:
    found = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, kind) and value.__module__ == module.__name__ and name[0] != "_"
    ]
    if len(found) != 1:
        what = ", ".join(value.__name__ for value in found) or "none"
        raise TypeError(f"{module.__file__} must define exactly one public {kind.__name__}, found {what}")
    return found[0]
