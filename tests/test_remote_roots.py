"""A data set behind an address is the same data set: same pictures, same digests, same records."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from test_datasets_contract import BUILT_IN, DIRECTORIES, NAMES, fill, kind_of, laid_out
from typer.testing import CliRunner, Result

from bench import config, image, plugins
from bench.cli import Exit, app
from bench.contracts import Dataset, Truth
from bench.image import path_of
from bench.plugins import Spec
from bench.store import FILENAME, Store

ROOT = Path(__file__).resolve().parent.parent
FILESYSTEMS = ["memory", "http", "simplecache"]
PLAIN = ("--metrics", "psnr", "--tasks", "none", "--reports", "csv", "--thumbnails", "0")

Run = Callable[..., Result]


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and notes what it is asked for."""

    def log_message(self, format: str, *args: Any) -> None:
        self.server.asked.append(f"{self.command} {self.path}")  # type: ignore[attr-defined]


class Server(ThreadingHTTPServer):
    """A folder on loopback."""

    def __init__(self, folder: Path, handler: type[Handler] = Handler) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def pictures_sent(self) -> int:
        return sum(line.startswith("GET") and line.endswith(".png") for line in self.asked)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(folder: Path, handler: type[Handler] = Handler) -> Server:
        servers.append(Server(folder, handler))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bench` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def uploaded(folder: Path) -> str:
    """The address of the folder's copy in memory."""
    place = f"{folder.parent.name}/{folder.name}"
    fsspec.filesystem("memory").put(str(folder), f"/{place}", recursive=True)
    return f"memory://{place}"


def address_of(folder: Path, filesystem: str, serve: Callable[..., Server]) -> str:
    if filesystem == "http":
        return f"{serve(folder.parent).address}/{folder.name}"
    return uploaded(folder) if filesystem == "memory" else f"simplecache::{uploaded(folder)}"


def lay_out_lol(folder: Path, photograph: torch.Tensor) -> Path:
    for part, view in (("low", photograph / 4), ("high", photograph)):
        (folder / "eval15" / part).mkdir(parents=True)
        for number in (1, 2, 10):
            image.write_png(folder / "eval15" / part / f"{number}.png", view.roll(number, dims=2))
    return folder


def records(run: Path) -> list[tuple[Any, ...]]:
    import sqlite3

    connection = sqlite3.connect(run / FILENAME)
    found = connection.execute("SELECT key, image, digest, value, error FROM records ORDER BY key, image").fetchall()
    connection.close()
    return found


def facts(truth: Truth) -> list[Any]:
    boxes, mask = truth.boxes, truth.mask
    objects = None if boxes is None else (boxes.corners.tolist(), boxes.names, boxes.areas.tolist())
    return [truth.size, objects, None if mask is None else mask.tolist(), dict(truth.groups)]


# The pictures.


@pytest.mark.filterwarnings("ignore:.*known distributions have")
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in BUILT_IN])
def test_every_data_set_is_the_same_behind_an_address(
    name: str, filesystem: str, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    local = laid_out(name, tmp_path / "set")
    address = address_of(tmp_path / "set", filesystem, serve)
    kind = kind_of(name)
    remote = kind(address) if name in DIRECTORIES else kind(local.option, path_of(address))
    mine, theirs = local.samples(), remote.samples()
    assert [sample.id for sample in theirs] == ["1", "2", "10"]
    assert remote.label == local.label
    with Store(tmp_path / "run") as store:
        for here, there in zip(mine, theirs, strict=True):
            for one, other in zip(local.load(here), remote.load(there), strict=True):
                assert (one is None) == (other is None)
                assert one is None or torch.equal(one, other)
            assert store.sha256(there.files) == [sha256(file.read_bytes()).hexdigest() for file in here.files]
            assert len(there.truth) == len(here.truth)
            if local.tasks:
                assert facts(remote.truth(there)) == facts(local.truth(here))


def test_masks_and_boxes_of_a_folder_are_read_from_an_address(tmp_path: Path, serve: Callable[..., Server]) -> None:
    fill(tmp_path / "set" / "low", "1", "2")
    fill(tmp_path / "set" / "mask", "0", "1")  # of other stems
    remote = kind_of("folder")(f"{serve(tmp_path).address}/set")
    assert remote.tasks == ("saliency",)
    with pytest.raises(ValueError, match=r"low/2\.png has no partner in http://.*/set/mask"):
        remote.samples()


def test_exdark_reads_its_archive_of_annotations_from_an_address(tmp_path: Path) -> None:
    root = fill(tmp_path / "set" / "images", "1").parent
    (root / "imageclasslist.txt").write_text("1.png 9 1 1 3\n")
    with zipfile.ZipFile(root / "ExDark_Annno.zip", "w") as archive:
        archive.writestr("Dog/1.png.txt", "% bbGt version=3\nDog 1 2 3 4 0 0 0 0 0 0 0\n")
    dataset = kind_of("exdark")(root=path_of(uploaded(root)))
    boxes = dataset.truth(dataset.samples()[0]).boxes
    assert boxes is not None and boxes.names == ("dog",)
    np.testing.assert_array_equal(boxes.corners, [[1, 2, 4, 6]])


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_a_data_set_and_its_samples_travel_to_another_process(
    filesystem: str, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    fill(tmp_path / "set", "0", "7")
    dataset = kind_of("folder")(address_of(tmp_path / "set", filesystem, serve))
    travelled, sample = pickle.loads(pickle.dumps((dataset, dataset.samples()[1])))
    assert sample == dataset.samples()[1]
    assert travelled.load(sample).low.unique().tolist() == [pytest.approx(1 / 255)]  # `fill` counts its greys from 0


def test_a_damaged_picture_behind_an_address_is_named_by_it(tmp_path: Path) -> None:
    fill(tmp_path / "set", "1")
    (tmp_path / "set" / "1.png").write_bytes(b"nothing")
    address = uploaded(tmp_path / "set")
    dataset = kind_of("folder")(address)
    with pytest.raises(ValueError, match=f"{address}/1.png is not a picture"):
        dataset.load(dataset.samples()[0])


# Runs.


def test_a_run_over_http_records_what_a_local_run_records(
    bench: Run, tmp_path: Path, photograph: torch.Tensor, serve: Callable[..., Server]
) -> None:
    root = lay_out_lol(tmp_path / "lol", photograph)
    server = serve(tmp_path)
    words = ("run", "--methods", "gamma", "--datasets", "lol", *PLAIN)
    assert bench(*words, "--root", f"lol={root}", "--out", "local").exit_code == Exit.OK
    done = bench(*words, "--root", f"lol={server.address}/lol", "--out", "remote")
    assert done.exit_code == Exit.OK, done.output
    recorded = records(tmp_path / "remote")
    assert recorded == records(tmp_path / "local")
    assert len(recorded) == 2 * 3  # input and gamma, three pictures
    sent = server.pictures_sent()
    assert bench(*words, "--root", f"lol={server.address}/lol", "--out", "local").exit_code == Exit.OK
    assert server.pictures_sent() == sent + 6  # for the digests; there is nothing left to compute
    assert records(tmp_path / "local") == recorded


def test_a_second_run_over_http_asks_for_no_picture_again(
    bench: Run, tmp_path: Path, photograph: torch.Tensor, serve: Callable[..., Server]
) -> None:
    lay_out_lol(tmp_path / "lol", photograph)
    server = serve(tmp_path)
    words = ("run", "--methods", "gamma", "--datasets", "lol", "--root", f"lol={server.address}/lol", *PLAIN)
    assert bench(*words, "--out", "run").exit_code == Exit.OK
    assert server.pictures_sent() == 2 * 6  # for the digest, for the pass
    assert bench(*words, "--out", "run").exit_code == Exit.OK
    assert server.pictures_sent() == 2 * 6


def test_a_chain_that_keeps_copies_reads_each_picture_once(
    bench: Run, tmp_path: Path, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_again(*_: object, **__: object) -> None:
        raise OSError("this picture was read before")

    # As FSSPEC_SIMPLECACHE_CACHE_STORAGE does, which is looked at when fsspec is imported.
    monkeypatch.setitem(fsspec.config.conf, "simplecache", {"cache_storage": str(tmp_path / "copies")})
    address = uploaded(lay_out_lol(tmp_path / "lol", photograph))
    words = ("run", "--datasets", "lol", "--root", f"lol=simplecache::{address}", *PLAIN)
    assert bench(*words, "--methods", "gamma", "--out", "first").exit_code == Exit.OK
    assert len(list((tmp_path / "copies").iterdir())) == 6
    monkeypatch.setattr(MemoryFileSystem, "_open", read_again)
    assert bench(*words, "--methods", "he", "--out", "second").exit_code == Exit.OK
    assert bench(*words[:3], "--root", f"lol={address}", *PLAIN, "--out", "third").exit_code == Exit.USAGE


def test_a_picture_that_vanishes_is_one_failed_picture(
    bench: Run, tmp_path: Path, photograph: torch.Tensor, serve: Callable[..., Server]
) -> None:
    lay_out_lol(tmp_path / "lol", photograph)

    class Forgetful(Handler):
        """Gives out a picture once, which is for its digest."""

        def do_GET(self) -> None:
            forgotten = any(line.endswith("GET /lol/eval15/low/2.png") for line in self.server.asked)  # type: ignore[attr-defined]
            if forgotten and self.path == "/lol/eval15/low/2.png":
                self.send_error(404)
            else:
                super().do_GET()

    server = serve(tmp_path, Forgetful)
    words = ("run", "--methods", "gamma", "--datasets", "lol", "--root", f"lol={server.address}/lol", *PLAIN)
    assert bench(*words, "--out", "run").exit_code == Exit.FAILURES
    failed = [error for _, name, _, _, error in records(tmp_path / "run") if name == "2"]
    assert len(failed) == 2 and all(f"{server.address}/lol/eval15/low/2.png" in error for error in failed)
    assert sum(value is not None for *_, value, _ in records(tmp_path / "run")) == 2 * 2


def test_a_refused_picture_is_named_before_anything_is_computed(
    bench: Run, tmp_path: Path, photograph: torch.Tensor, serve: Callable[..., Server]
) -> None:
    lay_out_lol(tmp_path / "lol", photograph)

    class Partly(Handler):
        def do_GET(self) -> None:
            if self.path.endswith("low/2.png"):
                self.send_error(403, "not yours")
            else:
                super().do_GET()

    address = f"{serve(tmp_path, Partly).address}/lol"
    done = bench("run", "--datasets", "lol", "--root", f"lol={address}", *PLAIN, "--out", "run")
    assert done.exit_code == Exit.USAGE
    assert f"{address}/eval15/low/2.png cannot be read: ClientResponseError: 403" in done.output


# What is read again.


def test_a_file_that_changes_behind_its_address_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "1.png").write_bytes(b"old")
    file = path_of(uploaded(tmp_path / "set")) / "1.png"
    with Store(tmp_path / "run") as store:
        assert store.sha256([file]) == [sha256(b"old").hexdigest()]
        file.write_bytes(b"new")
        assert store.sha256([file]) == [sha256(b"new").hexdigest()]


def test_a_file_of_which_the_server_gives_no_version_is_read_every_time(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    class Silent(Handler):
        def send_header(self, keyword: str, value: str) -> None:
            if keyword != "Last-Modified":
                super().send_header(keyword, value)

    server = serve(tmp_path, Silent)
    (tmp_path / "1.png").write_bytes(b"old")
    file = path_of(f"{server.address}/1.png")
    with Store(tmp_path / "run") as store:
        assert store.sha256([file]) == [sha256(b"old").hexdigest()]
        (tmp_path / "1.png").write_bytes(b"new")
        assert store.sha256([file]) == [sha256(b"new").hexdigest()]


def test_remote_files_are_read_many_at_a_time_and_keep_their_order(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    together = threading.Barrier(4)

    class Patient(Handler):
        """Answers when four are waiting for an answer."""

        def do_GET(self) -> None:
            together.wait(timeout=20)
            super().do_GET()

    server = serve(tmp_path, Patient)
    for name in "abcd":
        (tmp_path / name).write_text(name)
    with Store(tmp_path / "run") as store:
        found = store.sha256([path_of(f"{server.address}/{name}") for name in "abcd"])
    assert found == [sha256(name.encode()).hexdigest() for name in "abcd"]


# Where roots are written.


def test_an_address_in_the_file_or_the_flag_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text('[datasets.lol]\nroot = "memory://bucket/lol"\n[datasets.dicm]\nroot = "data/dicm"\n')
    loaded = config.load(file, roots=["npe=simplecache::memory://bucket/npe", "vv=here"])
    roots = {name: str(loaded.root(Spec.parse(name))) for name in ("lol", "dicm", "npe", "vv")}
    assert roots == {
        "lol": "memory://bucket/lol",
        "dicm": str(tmp_path / "data" / "dicm"),
        "npe": "simplecache::memory:///bucket/npe",
        "vv": "here",
    }


def test_bench_data_may_hold_addresses_between_its_colons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Server]
) -> None:
    for name in ("a/dicm", "b/npe", "c/vv"):
        fill(tmp_path / name, "1")
    remote, chained = f"{serve(tmp_path / 'a').address}", f"simplecache::{uploaded(tmp_path / 'b')}"
    monkeypatch.setenv("BENCH_DATA", f"{remote}:{tmp_path / 'c'}:{chained}")
    found = {name: config.Config().root(Spec.parse(name)) for name in ("dicm", "npe", "vv", "mef")}
    assert found["vv"] == tmp_path / "c" / "vv"
    assert str(found["dicm"]) == f"{remote}/dicm"
    assert str(found["npe"]) == f"simplecache::memory:///{tmp_path.name}/b/npe"
    assert found["mef"] is None


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_an_address_of_a_local_folder_is_that_folder(scheme: str, tmp_path: Path) -> None:
    assert path_of(f"{scheme}://{tmp_path}") == tmp_path


def test_a_home_folder_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("~/lol") == tmp_path / "lol"


def test_a_slash_behind_an_address_changes_nothing() -> None:
    assert path_of("memory://bucket/lol/") == path_of("memory://bucket/lol")


def test_local_roots_import_nothing_for_addresses(tmp_path: Path) -> None:
    fill(tmp_path, "1")
    code = (
        "import sys\n"
        "from bench import plugins\n"
        "from bench.contracts import Dataset\n"
        "from bench.plugins import Spec\n"
        f"folder = plugins.load(Dataset, Spec.parse('folder'))({str(tmp_path)!r})\n"
        "folder.load(folder.samples()[0])\n"
        "print('upath' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# What is missing.


def lol(address: str) -> Dataset:
    return plugins.load(Dataset, Spec.parse("lol"))(root=path_of(address))


def test_an_absent_bucket_is_named_with_the_ways_to_give_a_root() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        lol("memory://no-such-bucket/lol").samples()
    assert str(caught.value) == (
        "LOL-v1 needs memory://no-such-bucket/lol (from [datasets.lol] root in bench.toml, --root lol=PATH or"
        " BENCH_DATA/lol); see datasets/lol.py for where to get it"
    )


def test_an_absent_folder_of_a_server_is_named(tmp_path: Path, serve: Callable[..., Server]) -> None:
    address = f"{serve(tmp_path).address}/lol"
    with pytest.raises(FileNotFoundError, match=f"LOL-v1 needs {address} "):
        lol(address).samples()
    with pytest.raises(FileNotFoundError, match=f"folder:{address} is not a folder"):
        kind_of("folder")(address).samples()


def test_a_server_that_is_not_there_is_named_with_its_reason() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as unused:
        address = f"http://127.0.0.1:{unused.server_port}/lol"
    with pytest.raises(OSError, match=rf"{address} cannot be read: .*Cannot connect to host.*docs/remote\.md"):
        lol(address).samples()


def test_a_refusal_is_told_as_the_server_words_it(tmp_path: Path, serve: Callable[..., Server]) -> None:
    class Closed(Handler):
        def do_GET(self) -> None:
            self.send_error(403, "credentials wanted")

        do_HEAD = do_GET

    address = f"{serve(tmp_path, Closed).address}/lol"
    with pytest.raises(OSError, match=f"{address} cannot be read: .*403.*credentials wanted"):
        lol(address).samples()


@pytest.mark.parametrize(("address", "package"), [("s3://bucket/lol", "s3fs"), ("gs://bucket/lol", "gcsfs")])
def test_the_absent_package_of_a_store_is_named(
    address: str, package: str, monkeypatch: pytest.MonkeyPatch, bench: Run
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OSError, match=rf"{address} cannot be read: .*[Ii]nstall {package}"):
        lol(address).samples()
    done = bench("run", "--datasets", "lol", "--root", f"lol={address}", "--out", "run")
    assert done.exit_code == Exit.USAGE and f"nstall {package}" in done.output
    listed = bench("data", "status", "--root", f"lol={address}")
    assert listed.exit_code == Exit.OK and f"nstall {package}" in listed.output


def test_without_the_extra_an_address_says_what_to_install(bench: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "upath", None)
    for words in (("lol", "--root", "lol=s3://bucket/lol"), ("folder:s3://bucket/lol",)):
        done = bench("run", "--out", "run", "--datasets", *words)
        assert done.exit_code == Exit.USAGE
        assert "s3://bucket/lol is an address, which needs pip install 'lowlight-bench[remote]'" in done.output


def test_an_address_of_no_known_kind_lists_the_kinds(bench: Run) -> None:
    done = bench("run", "--out", "run", "--datasets", "lol", "--root", "lol=s4://bucket/lol")
    assert done.exit_code == Exit.USAGE
    assert "s4://bucket/lol: " in done.output and "write a path, file://, s3://, gs://" in done.output
