"""Where shards of a plan go: processes of this machine, by joblib; a Dask or a Ray cluster, by its own client."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bench.contracts import RunStopped
from bench.shards import Order, Shard, work_shard
from bench.work import Done

LOCAL = "local"
DASK_LOCAL = "dask-local"
CONNECT_SECONDS = 10


class EngineError(ValueError):
    """The engine cannot be used as asked; the text says why and what to do."""


class LostWorkerError(RunStopped):
    """A worker died; what it had not handed over is to be done again."""


class LostClusterError(RunStopped):
    """The cluster is gone."""


@dataclass(frozen=True)
class Engine(ABC):
    """Where shards go."""

    name: str
    workers: int
    """How many there are, as far as it is known."""
    threads: int | None
    """Of torch in a worker; None: as the machine has it."""

    @abstractmethod
    def run(self, order: Order, shards: Sequence[Shard]) -> Iterator[Done]:
        """What the workers made, in the order they finish.

        Raises WorkerError where one is not like the driver, LostWorkerError where one died, LostClusterError where no
        other is left to take its place.
        """

    def _gone(self, error: BaseException) -> LostClusterError:
        what = " ".join(str(error).split())
        return LostClusterError(f"{self.name} is gone ({what}); what was recorded is kept, the same command goes on")

    def _lost(self, error: Exception) -> LostWorkerError:
        return LostWorkerError(f"a worker of {self.name} died ({type(error).__name__})")


@dataclass(frozen=True)
class Processes(Engine):
    """Processes of this machine, by joblib's loky."""

    def run(self, order: Order, shards: Sequence[Shard]) -> Iterator[Done]:
        """Shards by joblib, which keeps a process for the next shard."""
        # Said when a run ends early, of shards that the next run does.
        warnings.filterwarnings("ignore", r"\d+ tasks which were still being processed", UserWarning)
        with joblib.parallel_config(backend="loky", n_jobs=self.workers, inner_max_num_threads=self.threads):
            # joblib's annotations know neither a number here nor that a generator comes back.
            settings: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": "all"}
            results: Any = joblib.Parallel(**settings)(joblib.delayed(work_shard)(order, shard) for shard in shards)
            try:
                for done in results:
                    yield from done
            except (TerminatedWorkerError, BrokenProcessPool) as error:
                raise self._lost(error) from error


@dataclass(frozen=True)
class Dask(Engine):
    """Dask's workers, by its own client: joblib's backend works in this process where there is one worker.

    Dask gives a lost worker's shard to another by itself, three times.
    """

    client: Any

    def run(self, order: Order, shards: Sequence[Shard]) -> Iterator[Done]:
        """Shards as tasks; workers that join later find some left."""
        from distributed import KilledWorker, as_completed
        from distributed.client import FutureCancelledError

        tasks = self.client.map(partial(work_shard, order), shards, pure=False)
        finished: Any = as_completed
        try:
            for task in finished(tasks):
                yield from task.result()
                task.release()
        except KilledWorker as error:
            raise self._lost(error) from error
        except FutureCancelledError as error:
            raise self._gone(error) from error
        finally:
            self.client.cancel(tasks)


@dataclass(frozen=True)
class Ray(Engine):
    """A Ray cluster by Ray's own tasks: under its joblib backend nothing comes back before everything is done.

    Ray gives a lost worker's shard to another by itself, three times.
    """

    def run(self, order: Order, shards: Sequence[Shard]) -> Iterator[Done]:
        """Shards as tasks of one core, and of one GPU where the driver's device is one."""
        import ray

        work = ray.remote(num_cpus=1, num_gpus=int(order.device == "cuda"))(work_shard)
        sent = ray.put(order)
        running = [work.remote(sent, shard) for shard in shards]
        try:
            while running:
                (finished,), running = ray.wait(running)
                yield from self._handed(finished)
        except ConnectionError as error:
            running = []  # to take them back, Ray would start a cluster of its own
            raise self._gone(error) from error
        finally:
            for task in running:
                ray.cancel(task, force=True)

    def _handed(self, finished: Any) -> list[Done]:
        import ray
        from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

        try:
            done: list[Done] = ray.get(finished)
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
            raise self._lost(error) from error
        except RayTaskError as error:
            if isinstance(error.cause, RunStopped):
                raise error.cause from None
            raise
        except RayError as error:
            raise LostWorkerError(f"{self.name}: {' '.join(str(error).split())}") from error
        return done


@contextmanager
def opened(text: str, jobs: int) -> Iterator[Engine | None]:
    """The engine that the user's words name; None where one process does it all.

    Raises EngineError where it is unknown, not installed, or not there.
    """
    cores = os.cpu_count() or 1
    with ExitStack() as stack:
        if text == LOCAL:
            threads = max(1, cores // jobs)
            yield Processes(f"{jobs} processes", jobs, threads) if jobs > 1 else None
        elif text == DASK_LOCAL or text.startswith("dask://"):
            yield _dask(text, jobs, cores, stack)
        elif text.startswith("ray://"):
            yield _ray(text, stack)
        else:
            raise EngineError(f"--engine {text}: expected {LOCAL}, {DASK_LOCAL}, dask://HOST:PORT or ray://HOST:PORT")


def _dask(text: str, jobs: int, cores: int, stack: ExitStack) -> Engine:
    distributed = _package("distributed", text, "dask")
    threads = None
    if text == DASK_LOCAL:
        threads = max(1, cores // jobs)
        # One thread each: a worker's models serve one shard at a time.
        cluster = distributed.LocalCluster(
            n_workers=jobs, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        )
        client = stack.enter_context(distributed.Client(stack.enter_context(cluster)))
    else:
        address = f"tcp://{text.removeprefix('dask://')}"
        try:
            client = stack.enter_context(distributed.Client(address, timeout=CONNECT_SECONDS))
        except (OSError, ValueError) as error:
            raise EngineError(
                f"--engine {text}: no scheduler answers at {address} ({error}); `dask scheduler` starts one"
            ) from error
    workers = client.run(_probe())
    if not workers:
        raise EngineError(f"--engine {text}: the scheduler has no workers; `dask worker ADDRESS --nthreads 1` adds one")
    _refuse_without_package(text, [address for address, there in workers.items() if not there])
    return Dask(text, len(workers), threads, client)


def _ray(text: str, stack: ExitStack) -> Engine:
    ray = _package("ray", text, "ray")
    host, _, port = text.removeprefix("ray://").rpartition(":")
    try:
        # Ray's own client tries for half a minute.
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineError(
            f"--engine {text}: no Ray cluster answers at {host}:{port} ({error}); `ray start --head` starts one, "
            f"its clients' port is 10001"
        ) from error
    try:
        stack.enter_context(ray.init(text, logging_level=logging.ERROR, log_to_driver=False))
    except (ConnectionError, RuntimeError) as error:
        raise EngineError(
            f"--engine {text}: {' '.join(str(error).split())}; a cluster with token authentication wants "
            f"RAY_AUTH_MODE=token and its token here (`ray get-auth-token`), and Ray and Python in its versions"
        ) from error
    resources = ray.cluster_resources()
    workers = int(resources.get("CPU", 0))
    if not workers:
        raise EngineError(
            f"--engine {text}: the cluster has no CPUs to give; `ray start --address HOST:PORT` adds some"
        )
    if not ray.get(ray.remote(_probe()).remote()):
        _refuse_without_package(text, [f"{host}:{port}"])
    return Ray(text, workers, 1)


def _probe() -> Callable[[], bool]:
    def there() -> bool:  # inside a function, so that it is sent as code: what it looks for may be missing
        from importlib.util import find_spec

        return find_spec("bench") is not None

    return there


def _refuse_without_package(text: str, places: Sequence[str]) -> None:
    if places:
        raise EngineError(f"--engine {text}: no package bench at {', '.join(places)}; install it for the workers too")


def _package(name: str, text: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise EngineError(f"--engine {text} needs {name}: pip install '.[{extra}]'") from error
