"""Files that metrics and tasks need and this project may not ship: find, verify, fetch. Nobody else looks for them."""

from __future__ import annotations

import os
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from bench.contracts import ParameterFile

VARIABLE = "BENCH_PARAMETERS"
"""Environment variable with folders, separated as in PATH, that are searched recursively by file name."""


class ParameterError(LookupError):
    """A parameter file cannot be used; the text names it, where it was looked for, and the way out."""


class MissingFileError(ParameterError):
    """The file is in none of the places that are searched."""


class WrongDigestError(ParameterError):
    """A file has the right name and other content."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a parameter file stands."""

    name: str
    place: Path | None
    """The verified file, None where there is none."""
    digest: str
    """'verified', 'wrong' or 'absent'."""
    reason: str
    """Why there is no place; empty where there is one."""
    licence: str
    url: str


def find(file: ParameterFile, explicit: Mapping[str, Path]) -> Path:
    """The verified place of a file: explicit (bench.toml), BENCH_PARAMETERS, the user's cache, in this order.

    Raises MissingFileError or WrongDigestError. An explicit place is the only one looked at; elsewhere a file of the
    same name with other content is passed over, and named when no right one follows.
    """
    if file.name in explicit:
        place = explicit[file.name]
        if not place.is_file():
            raise MissingFileError(
                f"{file.name}: {place} does not exist; correct its line in [parameters] of bench.toml"
            )
        if not _matches(place, file):
            raise WrongDigestError(_wrong(file, place))
        return place
    wrong: list[Path] = []
    for place in _candidates(file.name):
        if _matches(place, file):
            return place
        wrong.append(place)
    if wrong:
        raise WrongDigestError("; ".join(_wrong(file, place) for place in wrong))
    looked = ", ".join(str(folder) for folder in (*_folders(), cache_folder()))
    raise MissingFileError(
        f"{file.name} was not found in {looked}; run 'bench weights fetch', set {VARIABLE} to its folder, "
        f"or name its place in [parameters] of bench.toml"
    )


def fetch(file: ParameterFile, folder: Path | None = None, timeout: float = 30) -> Path:
    """Download a file into a folder (default: the user's cache) unless it is there; verified before it gets its name.

    Raises ParameterError where the publisher cannot be reached, WrongDigestError where it sends something else.
    """
    folder = cache_folder() if folder is None else folder
    place = folder / file.name
    if place.is_file() and _matches(place, file):
        return place
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=folder)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as target, urllib.request.urlopen(file.url, timeout=timeout) as source:
            while chunk := source.read(1 << 20):
                target.write(chunk)
        found = digest(partial)
        if not found.startswith(file.sha256.lower()):
            raise WrongDigestError(f"{file.url} sent {file.name} with SHA-256 {found}, expected {file.sha256}")
        partial.replace(place)  # written last: a file of this name is whole
    except OSError as error:
        raise ParameterError(
            f"{file.name} could not be fetched from {file.url} ({error}); download it on another machine and set "
            f"{VARIABLE} to the folder that holds it"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return place


def status(files: Iterable[ParameterFile], explicit: Mapping[str, Path]) -> list[Status]:
    """One row per file, by name, without repetition."""
    rows = []
    for file in sorted(set(files), key=lambda one: one.name):
        place: Path | None = None
        state, reason = "verified", ""
        try:
            place = find(file, explicit)
        except WrongDigestError as error:
            state, reason = "wrong", str(error)
        except MissingFileError as error:
            state, reason = "absent", str(error)
        rows.append(Status(file.name, place, state, reason, file.licence, file.url))
    return rows


def cache_folder() -> Path:
    """Where fetched files go: lowlight-bench in $XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "lowlight-bench"


def digest(file: Path) -> str:
    """SHA-256 of a file's content; read once per process while size and time of change stay the same."""
    facts = file.stat()
    return _digest(str(file.resolve()), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest(file: str, size: int, mtime_ns: int) -> str:
    total = sha256()
    with open(file, "rb") as source:
        while chunk := source.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def _matches(place: Path, file: ParameterFile) -> bool:
    return digest(place).startswith(file.sha256.lower())


def _wrong(file: ParameterFile, place: Path) -> str:
    return (
        f"{place} is not the {file.name} that is meant: its SHA-256 is {digest(place)}, expected {file.sha256}; "
        f"remove it, or run 'bench weights fetch'"
    )


def _folders() -> list[Path]:
    return [Path(part).expanduser() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]


def _candidates(name: str) -> Iterator[Path]:
    for folder in _folders():
        yield from sorted(path for path in folder.rglob(name) if path.is_file())
    cached = cache_folder() / name
    if cached.is_file():
        yield cached
