"""Other processes compute the same records; one that dies, differs or has no data is named or replaced."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from bench import config, engine, image, profiling
from bench.cli import Exit, app
from bench.lineup import lineup
from bench.plan import Plan, plan
from bench.provenance import sha256_of_files
from bench.runner import Trace
from bench.shards import Order, Shard, WorkerError, order, shards, work_shard
from bench.work import DECODING, Chunk, Lacking, Span

Bench = Callable[..., Result]
PICTURES = 12

MORTAL = """
import os, signal
from pathlib import Path
from torch import Tensor
from bench.contracts import Adapter

class Mortal(Adapter):
    label = "Mortal"
    kind = "classical"
    source = "a test"

    def enhance(self, low: Tensor) -> Tensor:
        marker = Path(__file__).parent / "killed"
        if float(low[0, 0, 0, 0]) > 0 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return low.pow(0.5)
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: torch.Tensor) -> Bench:
    """Runs `bench` in a folder with a dozen pairs."""
    for name, views in {"low": photograph / 4, "high": photograph}.items():
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for index in range(PICTURES):
            image.write_png(tmp_path / "pairs" / name / f"{index}.png", views.roll(index * 7, dims=2))
    (tmp_path / "mortal.py").write_text(MORTAL)
    (tmp_path / "bench.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


WORDS = ("run", "--datasets", "folder:pairs", "--metrics", "psnr,ssim", "--reports", "csv", "--thumbnails", "2")


def run(bench: Bench, out: str, methods: str, *more: str) -> Result:
    return bench(*WORDS, "--methods", methods, "--out", out, *more)


def records(folder: str) -> list[tuple[Any, ...]]:
    """Every value and every enhanced picture's digest; times apart."""
    connection = sqlite3.connect(Path(folder) / "records.sqlite")
    values = connection.execute("SELECT key, image, digest, value, error FROM records").fetchall()
    pictures = connection.execute("SELECT key, image, digest, content FROM enhancements").fetchall()
    connection.close()
    return sorted(values) + sorted(pictures)


@pytest.fixture
def alone(bench: Bench) -> list[tuple[Any, ...]]:
    """What one process records."""
    (Path.cwd() / "killed").touch()
    done = run(bench, "alone", "clahe,mortal.py")
    assert done.exit_code == Exit.OK, done.output
    (Path.cwd() / "killed").unlink()
    found = records("alone")
    assert len(found) == 3 * PICTURES * 3  # three methods; two metrics and a picture each
    return found


@pytest.mark.filterwarnings("default:.*done again")
def test_two_processes_record_what_one_does_though_one_is_killed(bench: Bench, alone: list[tuple[Any, ...]]) -> None:
    done = run(bench, "two", "clahe,mortal.py", "--jobs", "2")
    assert done.exit_code == Exit.OK, done.output
    assert Path("killed").exists()
    assert "done again" in " ".join(done.output.split())
    assert records("two") == alone
    names = sorted(str(path.relative_to("two")) for path in Path("two").rglob("*.webp"))
    assert names == sorted(str(path.relative_to("alone")) for path in Path("alone").rglob("*.webp"))


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A Dask cluster of two worker processes on this machine, or as many as asked for."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[dask]'")
    count = getattr(request, "param", 2)
    with distributed.LocalCluster(
        n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=False
    ) as cluster:
        yield cluster


@pytest.mark.filterwarnings("ignore")  # Dask's own, of the killed worker
def test_a_dask_cluster_records_the_same_though_a_worker_is_killed(
    bench: Bench, alone: list[tuple[Any, ...]], cluster: Any
) -> None:
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    before = {worker.pid for worker in cluster.workers.values()}
    done = run(bench, "dask", "clahe,mortal.py", "--engine", address)
    assert done.exit_code == Exit.OK, done.output
    assert Path("killed").exists()
    assert {worker.pid for worker in cluster.workers.values()} != before
    assert records("dask") == alone


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_a_cluster_of_one_worker_leaves_the_driver_to_record(bench: Bench, cluster: Any) -> None:
    done = run(bench, "one", "clahe", "--profile", "--engine", cluster.scheduler_address.replace("tcp://", "dask://"))
    assert done.exit_code == Exit.OK, done.output
    events = json.loads(Path("one/trace.json").read_text())["traceEvents"]
    (worker,) = cluster.workers.values()
    assert {event["pid"] for event in events if event["name"].startswith("enhance")} == {worker.pid}
    assert {event["pid"] for event in events if event["name"] == "store"} == {os.getpid()}


@pytest.mark.filterwarnings("ignore")  # Dask's own, of the connections that broke
def test_a_cluster_that_is_gone_leaves_a_store_that_goes_on(bench: Bench) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[dask]'")
    address = f"127.0.0.1:{_free_port()}"
    words = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    joining = ["-m", "distributed.cli.dask_worker", f"tcp://{address}", "--nthreads", "1", "--no-nanny"]
    with _started([*words, "--no-dashboard"]) as scheduler, _started(joining):
        with distributed.Client(f"tcp://{address}", timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
        code = MORTAL.replace("Mortal", "Traitor").replace("os.getpid()", str(scheduler.pid))
        Path("traitor.py").write_text(code.replace('"killed"', '"gone"'))
        done = run(bench, "gone-run", "traitor.py", "--engine", f"dask://{address}")
    assert done.exit_code == Exit.STOPPED, done.output
    said = " ".join(done.output.split())
    assert f"dask://{address} is gone" in said
    assert "the same command goes on" in said
    assert run(bench, "gone-run", "traitor.py").exit_code == Exit.OK
    assert _recorded("gone-run") == 4 * PICTURES


@pytest.fixture
def ray_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray cluster of two cores on this machine, under a path short enough for its sockets."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")  # with it a client finds its server hanging now and then
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        words = ["--head", "--block", "--num-cpus", "2", "--port", "0", "--ray-client-server-port", str(port)]
        words += ["--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", folder]
        with _started(["-m", "ray.scripts.scripts", "start", *words]) as head:
            deadline = time.monotonic() + 90
            while not _answers(port):
                assert head.poll() is None and time.monotonic() < deadline
                time.sleep(0.3)
            yield f"ray://127.0.0.1:{port}"


@contextmanager
def _started(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this Python, ended with the block."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.filterwarnings("ignore")  # Ray's own, of the killed worker
def test_a_ray_cluster_records_the_same_though_a_worker_is_killed(
    bench: Bench, alone: list[tuple[Any, ...]], ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(bench, "ray", "clahe,mortal.py", "--engine", ray_address)
    assert done.exit_code == Exit.OK, done.output
    assert Path("killed").exists()
    assert records("ray") == alone

    monkeypatch.setattr("bench.shards._code", lambda: "version 0.0.1 (abc)")
    refused = run(bench, "ray-refused", "clahe", "--engine", ray_address)
    assert refused.exit_code == Exit.STOPPED
    assert "the driver has version 0.0.1 (abc)" in " ".join(refused.output.split())


def test_ctrl_c_leaves_a_store_that_goes_on(bench: Bench, alone: list[tuple[Any, ...]]) -> None:
    Path("killed").touch()
    Path("slow.py").write_text(
        MORTAL.replace("Mortal", "Slow").replace("return low", "import time; time.sleep(0.3); return low")
    )
    command = [sys.executable, "-m", "bench.cli", *WORDS, "--methods", "slow.py", "--out", "stopped", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and _recorded("stopped") < 2:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED, said
    assert "the same command goes on" in " ".join(said.split())
    left = _recorded("stopped")
    assert 0 < left < 4 * PICTURES
    assert run(bench, "stopped", "slow.py", "--jobs", "2").exit_code == Exit.OK
    assert _recorded("stopped") == 4 * PICTURES


def _recorded(folder: str) -> int:
    file = Path(folder) / "records.sqlite"
    if not file.is_file():
        return 0
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--engine", "spark://x"), "expected local, dask-local, dask://HOST:PORT or ray://HOST:PORT"),
        (("--engine", "dask://127.0.0.1:9"), "no scheduler answers at tcp://127.0.0.1:9"),
        (("--engine", "ray://127.0.0.1:9"), "no Ray cluster answers at 127.0.0.1:9"),
        (("--engine", "ray://cluster"), "no Ray cluster answers at"),
        (("--jobs", "0"), "jobs"),
    ],
)
def test_an_engine_that_is_not_there_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: str
) -> None:
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 1)
    done = run(bench, "none", "clahe", *words)
    assert done.exit_code == Exit.USAGE
    assert reason in " ".join(done.output.split())


class Sent:
    """A run as the driver has it, and a shard of it."""

    def __init__(self, methods: str = "zero_dce", weights: tuple[str, ...] = ()) -> None:
        keys = {"methods": methods, "datasets": "folder:pairs", "metrics": "psnr", "thumbnails": 0}
        self.config = config.load(None, keys, (), weights)
        self.plan: Plan = plan(lineup(self.config, sha256_of_files), self.config.run.protocol, "cpu", 0)
        job = self.plan.jobs[1]
        chunk = Chunk(job.material, range(2, 4), (Lacking(job, frozenset({"psnr"}), frozenset()),))
        self.order: Order = order(self.plan, self.config, torch.device("cpu"), None)
        (self.shard,) = shards([chunk], self.plan, 1)

    def refused(self, other: Order | None = None) -> str:
        with pytest.raises(WorkerError) as refusal:
            work_shard(other or self.order, self.shard)
        return str(refusal.value)


def test_a_worker_does_its_pictures_and_no_others(bench: Bench) -> None:
    (done,) = work_shard(Sent().order, Sent().shard)
    assert [score.image for score in done.scores] == ["2", "3"]


def test_a_worker_with_another_version_is_refused(bench: Bench) -> None:
    sent = Sent()
    reason = sent.refused(replace(sent.order, code="version 0.0.1 (abc)"))
    assert "the driver has version 0.0.1 (abc)" in reason
    assert reason.startswith("worker ")


def test_a_worker_with_other_weights_is_refused_by_name(bench: Bench) -> None:
    shipped = Path(__file__).resolve().parent.parent / "adapters" / "weights" / "zero_dce.safetensors"
    Path("own.safetensors").write_bytes(shipped.read_bytes())
    sent = Sent(weights=("zero_dce=own.safetensors",))
    from safetensors.torch import load_file, save_file

    save_file({name: value * 1.01 for name, value in load_file("own.safetensors").items()}, "own.safetensors")
    assert "weights own.safetensors of zero_dce is not the driver's" in sent.refused()


def test_a_worker_with_another_picture_is_refused_by_name(bench: Bench) -> None:
    sent = Sent()
    image.write_png(Path("pairs/low/3.png"), torch.zeros(3, 96, 128))
    assert "picture folder:pairs/3 is another file than the driver's" in sent.refused()


def test_a_worker_without_the_data_says_so(bench: Bench) -> None:
    sent = Sent()
    Path("pairs").rename("elsewhere")
    assert "cannot build the run: " in sent.refused()


def test_few_pictures_are_shared_out_by_method(bench: Bench) -> None:
    sent = Sent("clahe,gamma,he")
    material = sent.plan.jobs[0].material
    jobs = tuple(Lacking(job, frozenset({"psnr"}), frozenset()) for job in sent.plan.jobs)
    one = [Chunk(material, range(place, place + 1), jobs) for place in range(PICTURES)]

    def told(chunks: list[Chunk], workers: int) -> list[tuple[int, list[str]]]:
        cut: list[Shard] = shards(chunks, sent.plan, workers)
        return [(each.places.start, [part.method for part in each.parts]) for one in cut for each in one.slices]

    every = [job.method.name for job in sent.plan.jobs]
    assert told(one, 2) == [(place, every) for place in range(PICTURES)]
    assert told(one[:1], 2) == [(0, [name]) for name in every]


def test_shards_shrink_towards_the_end(bench: Bench) -> None:
    sent = Sent("clahe")
    job = sent.plan.jobs[1]
    lacking = (Lacking(job, frozenset({"psnr"}), frozenset()),)
    chunks = [Chunk(job.material, range(0, 1), lacking) for _ in range(400)]
    sizes = [len(shard.slices) for shard in shards(chunks, sent.plan, 2)]
    assert sum(sizes) == 400
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) <= 32
    assert sizes[-8:] == [1] * 8


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_workers_without_the_package_are_refused_by_name(
    bench: Bench, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_probe", lambda: lambda: False)
    done = run(bench, "bare", "clahe", "--engine", cluster.scheduler_address.replace("tcp://", "dask://"))
    assert done.exit_code == Exit.USAGE
    (worker,) = cluster.workers.values()
    assert f"no package bench at {worker.worker_address}" in " ".join(done.output.split())


def test_decoding_beside_the_rest_is_no_part_of_the_whole() -> None:
    trace = Trace(profile=True, wall=10.0, pictures=1)
    trace.add([Span("score: psnr", 0.0, 4.0, 1), Span(DECODING, 0.0, 5.0, 1, 7)])
    _, rows = profiling.table(trace)
    assert dict((row[0], row[1]) for row in rows)["idle and everything else"] == "6.00"


def test_a_profile_adds_up_and_writes_a_trace(bench: Bench) -> None:
    done = run(bench, "profiled", "clahe", "--profile")
    assert done.exit_code == Exit.OK, done.output
    for stage in (
        "decode",
        "enhance: clahe",
        "score: psnr",
        "wait for decoding",
        "store",
        "idle and everything else",
        "whole",
    ):
        assert stage in done.output
    events = json.loads(Path("profiled/trace.json").read_text())["traceEvents"]
    assert sum(event["name"] == "enhance: clahe" for event in events) == PICTURES
    assert min(event["ts"] for event in events) == 0
    lanes = {event["name"]: event["tid"] for event in events}
    assert lanes["decode, beside the rest"] != lanes["score: psnr"] == 0
