"""One SQLite file per run folder: every record committed as it comes, so that a killed run loses nothing."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.contracts import Arrays, RunStopped
from bench.image import is_remote, over_network, reading

FILENAME = "records.sqlite"
LOCKNAME = "run.lock"

SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scores (
    key TEXT PRIMARY KEY, method TEXT NOT NULL, dataset TEXT NOT NULL, protocol TEXT NOT NULL, metric TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    key TEXT NOT NULL REFERENCES scores, image TEXT NOT NULL, digest TEXT NOT NULL,
    value REAL, error TEXT, seconds REAL, caveat REAL,
    PRIMARY KEY (key, image, digest), CHECK ((value IS NULL) <> (error IS NULL))) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (
    path TEXT PRIMARY KEY, key TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS enhancements (
    key TEXT NOT NULL, image TEXT NOT NULL, digest TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, seconds REAL NOT NULL, content TEXT,
    PRIMARY KEY (key, image, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS predictions (
    key TEXT NOT NULL, image TEXT NOT NULL, digest TEXT NOT NULL, arrays BLOB, error TEXT, seconds REAL,
    PRIMARY KEY (key, image, digest), CHECK ((arrays IS NULL) <> (error IS NULL)));
CREATE TABLE IF NOT EXISTS truths (
    key TEXT NOT NULL, image TEXT NOT NULL, digest TEXT NOT NULL, groups TEXT NOT NULL, arrays BLOB NOT NULL,
    PRIMARY KEY (key, image, digest));
CREATE TABLE IF NOT EXISTS fingerprints (
    key TEXT NOT NULL, image TEXT NOT NULL, digest TEXT NOT NULL, prints BLOB NOT NULL,
    PRIMARY KEY (key, image, digest)) WITHOUT ROWID;
"""


_KNOWN = "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?"
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "sha", "CRC"),
    *("LastModified", "last_modified", "Last-Modified", "updated", "modified", "modify", "mtime", "created"),
)
"""Names under which fsspec's filesystems pass on what changes with a file, the surest first."""

RECORDED = ("records", "predictions")
"""Tables with a value or an error for a picture under a key."""


class StoreError(RunStopped):
    """The run folder cannot be used or written; what was recorded stays."""


@dataclass(frozen=True, slots=True)
class Score:
    """One record as it is stored; `key` says method, data set, protocol and metric with all their digests."""

    key: str
    image: str
    digest: str
    """SHA-256 over the sample's files."""
    value: float | None
    error: str | None
    seconds: float | None
    caveat: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file written below the run folder, and what it shows."""

    path: str
    """Relative to the run folder."""
    key: str
    """The job's enhancement key."""
    digest: str


@dataclass(frozen=True, slots=True)
class Enhancement:
    """What a method made of a picture, and how long it took."""

    key: str
    image: str
    digest: str
    width: int
    height: int
    seconds: float
    content: str | None = None
    """SHA-256 of the enhanced picture as the metrics saw it; two runs with the same one made the same picture. None
    where the run was made before this was kept."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a task's model says of one enhanced picture; `key` says method, data set, protocol, task and model."""

    key: str
    image: str
    digest: str
    arrays: Arrays | None
    error: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class KeptTruth:
    """What predictions for one picture are scored against; `key` says data set and task."""

    key: str
    image: str
    digest: str
    groups: Mapping[str, str]
    arrays: Arrays


class Store:
    """The records of a run folder; opened for writing by one run at a time, for reading by any number."""

    def __init__(self, folder: Path, *, readonly: bool = False) -> None:
        """Open or make the folder's store.

        Raises FileNotFoundError where there is no run to read, StoreError where another run is at work, the file is
        not a store, or there is no room.
        """
        self.folder = folder
        self._lock: IO[str] | None = None
        file = folder / FILENAME
        if readonly and not file.is_file():
            raise FileNotFoundError(
                f"{folder} holds no run ({FILENAME} is not there); `bench run --out {folder}` makes one"
            )
        with explained(folder):
            if not readonly:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = _lock(folder / LOCKNAME)
            uri = f"{file.resolve().as_uri()}?mode={'ro' if readonly else 'rwc'}"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
            try:
                self._prepare(readonly=readonly)
            except sqlite3.Error:
                self.close()
                raise

    def _prepare(self, *, readonly: bool) -> None:
        if not readonly:
            # WAL with NORMAL: a killed process loses nothing; a power cut may lose the last batches.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(SCHEMA)
            if not self._knows_contents():
                self._connection.execute("ALTER TABLE enhancements ADD COLUMN content TEXT")
        self._connection.execute("SELECT count(*) FROM notes").fetchone()

    def _knows_contents(self) -> bool:
        """Whether the enhanced pictures' digests are kept: they were not in the first stores."""
        return any(row[1] == "content" for row in self._connection.execute("PRAGMA table_info(enhancements)"))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let the next run in."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def note(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a JSON value under a name (the plan, the manifest)."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))

    def noted(self, name: str) -> Any:
        """The JSON value kept under a name, None where there is none."""
        row = self._connection.execute("SELECT json FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def sha256(self, paths: Iterable[Path]) -> list[str]:
        """SHA-256 of files; a file of known size and time of change (or ETag) is not read again."""
        paths = list(paths)
        each = over_network if any(map(is_remote, paths)) else map
        versions = list(each(_version, paths))
        known = [self._connection.execute(_KNOWN, version).fetchone() for version in versions]
        unread = [place for place, row in enumerate(known) if row is None]
        read = dict(zip(unread, each(_digest, [paths[place] for place in unread]), strict=True))
        fresh = [(*versions[place], digest) for place, digest in read.items() if None not in versions[place]]
        if fresh:
            with self._transaction():
                self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", fresh)
        return [read[place] if row is None else row[0] for place, row in enumerate(known)]

    def declare(self, scores: Iterable[tuple[str, str, str, str, str]]) -> None:
        """Say in plain words what score keys stand for: (key, method, dataset, protocol, metric)."""
        with self._transaction():
            self._connection.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?)", scores)

    def add(
        self,
        scores: Iterable[Score],
        pictures: Iterable[Picture] = (),
        enhancements: Iterable[Enhancement] = (),
        predictions: Iterable[Prediction] = (),
        truths: Iterable[KeptTruth] = (),
    ) -> None:
        """Record a batch as a whole; what is already recorded stays as it is."""
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key, image, digest) DO NOTHING",
                [(s.key, s.image, s.digest, s.value, s.error, s.seconds, s.caveat) for s in scores],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", [(p.path, p.key, p.digest) for p in pictures]
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO enhancements VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(e.key, e.image, e.digest, e.width, e.height, e.seconds, e.content) for e in enhancements],
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO predictions VALUES (?, ?, ?, ?, ?, ?)",
                [(p.key, p.image, p.digest, _packed(p.arrays), p.error, p.seconds) for p in predictions],
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO truths VALUES (?, ?, ?, ?, ?)",
                [(t.key, t.image, t.digest, json.dumps(dict(t.groups)), _packed(t.arrays)) for t in truths],
            )

    def forget_failures(self, key: str) -> None:
        """Drop the errors of a score key or of a task's key, so that they are tried again."""
        with self._transaction():
            for table in RECORDED:
                self._connection.execute(f"DELETE FROM {table} WHERE key = ? AND error IS NOT NULL", (key,))

    def done(self, key: str) -> set[tuple[str, str]]:
        """(image, digest) of everything recorded under a score key or a task's key."""
        rows = " UNION ".join(f"SELECT image, digest FROM {table} WHERE key = ?1" for table in RECORDED)
        return set(self._connection.execute(rows, (key,)))

    def failed(self, key: str) -> set[tuple[str, str]]:
        """(image, digest) of everything recorded as an error under a score key or a task's key."""
        rows = " UNION ".join(
            f"SELECT image, digest FROM {table} WHERE key = ?1 AND error IS NOT NULL" for table in RECORDED
        )
        return set(self._connection.execute(rows, (key,)))

    def scores(self, key: str) -> dict[tuple[str, str], Score]:
        """Records of a score key by (image, digest)."""
        rows = self._connection.execute("SELECT * FROM records WHERE key = ?", (key,))
        return {(row[1], row[2]): Score(*row) for row in rows}

    def predictions(
        self, key: str, wanted: Collection[tuple[str, ...]] | None = None
    ) -> dict[tuple[str, str], Prediction]:
        """What a task's model said under a key, by (image, digest); of all pictures or of the wanted ones."""
        rows = self._connection.execute("SELECT * FROM predictions WHERE key = ?", (key,))
        return {
            (image, digest): Prediction(key, image, digest, _unpacked(arrays), error, seconds)
            for key, image, digest, arrays, error, seconds in rows
            if wanted is None or (image, digest) in wanted
        }

    def truths(self, key: str) -> dict[tuple[str, str], KeptTruth]:
        """What a task's predictions are scored against, by (image, digest)."""
        rows = self._connection.execute("SELECT * FROM truths WHERE key = ?", (key,))
        return {
            (image, digest): KeptTruth(key, image, digest, json.loads(groups), _unpacked(arrays) or {})
            for key, image, digest, groups, arrays in rows
        }

    def fingerprints(self, key: str) -> dict[tuple[str, str], bytes]:
        """Fingerprints of pictures as bytes, by (image, digest); `key` says data set and kind of fingerprint."""
        rows = self._connection.execute("SELECT image, digest, prints FROM fingerprints WHERE key = ?", (key,))
        return {(image, digest): prints for image, digest, prints in rows}

    def add_fingerprints(self, key: str, prints: Iterable[tuple[str, str, bytes]]) -> None:
        """Record fingerprints as (image, digest, bytes); they depend on nothing but the files."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO fingerprints VALUES (?, ?, ?, ?)", [(key, *one) for one in prints]
            )

    def pictures(self) -> dict[str, Picture]:
        """Every picture written below the folder, by its path."""
        return {row[0]: Picture(*row) for row in self._connection.execute("SELECT * FROM pictures")}

    def seconds(self, key: str) -> list[float]:
        """Enhancement times of a job, one per picture."""
        return [row[0] for row in self._connection.execute("SELECT seconds FROM enhancements WHERE key = ?", (key,))]

    def prediction_seconds(self, key: str) -> dict[str, float]:
        """How long a task's model took for each picture it has an answer for."""
        rows = self._connection.execute(
            "SELECT image, seconds FROM predictions WHERE key = ? AND error IS NULL", (key,)
        )
        return {image: seconds for image, seconds in rows if seconds is not None}

    def enhancements(self, key: str) -> dict[tuple[str, str], Enhancement]:
        """What a job made of each picture, by (image, digest)."""
        content = "content" if self._knows_contents() else "NULL"
        rows = self._connection.execute(
            f"SELECT key, image, digest, width, height, seconds, {content} FROM enhancements WHERE key = ?", (key,)
        )
        return {(row[1], row[2]): Enhancement(*row) for row in rows}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say in the user's words why a run folder could not be written."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_FULL:
            raise StoreError(_full(folder)) from error
        raise StoreError(f"{folder / FILENAME}: {error}; is it a file of another program?") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(_full(folder)) from error
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error


def _full(folder: Path) -> str:
    return f"no space left for {folder}; everything recorded so far is kept: make room and give the same command again"


def _lock(path: Path) -> IO[str]:
    """Hold the folder for this process; the kernel lets go of it when the process ends, however it ends."""
    stream = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.seek(0)
        owner = stream.read().strip() or "unknown"
        stream.close()
        raise StoreError(f"{path.parent} is in use by another run (process {owner}); give another --out") from error
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def _packed(arrays: Arrays | None) -> bytes | None:
    """Arrays by name as one compressed NumPy archive, which any tool reads."""
    if arrays is None:
        return None
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(arrays))
    return stream.getvalue()


def _unpacked(content: bytes | None) -> Arrays | None:
    if content is None:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _version(path: Path) -> tuple[str, int | None, int | None]:
    """Place, size, and a number that changes with the content: nanoseconds of the last change; a server's own word.

    None where the server says nothing of the kind; such a file is read every time.
    """
    with reading(path):
        stat = path.stat()
    if not is_remote(path):
        return str(path.resolve()), stat.st_size, stat.st_mtime_ns
    facts: dict[str, Any] = stat.as_info()  # type: ignore[attr-defined]
    word = next((str(facts[name]) for name in _VERSIONS if facts.get(name)), None)
    number = None if word is None else int.from_bytes(sha256(word.encode()).digest()[:7], "big")
    return str(path), facts.get("size"), number


def _digest(path: Path) -> str:
    digest = sha256()
    with reading(path), path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
