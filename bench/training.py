"""The loop that a method's recipe fills in: seeded, logged, and resumed after a kill to the same bits."""

from __future__ import annotations

import itertools
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from bench.contracts import Dataset, Pair, Sample

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
CACHE_BYTES = 4 * 2**30
"""Pictures stay decoded up to this many bytes; those beyond it are decoded again whenever they are drawn."""

_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, UnpicklingError)
"""What torch.load, its zip reader and its unpickler raise for files that are no checkpoints."""

Setting = str | int | float | bool


class Recipe(nn.Module, ABC):
    """How a method is trained; one step of it is one batch.

    The constructor builds the networks as submodules and the optimisers over their parameters. It runs under the run's
    seed, so plain torch initialisation is reproducible. A method of two stages holds both networks and lets `step`
    choose by `share` which of them learns.
    """

    weights_file: ClassVar[str]
    """Name of the file that training writes; the adapter's `weights_file`."""
    batch_size: ClassVar[int]
    steps: ClassVar[int]
    """How many steps are taken where the user names no number."""
    paired: ClassVar[bool]
    """Whether every picture needs its normal-light reference."""
    settings: ClassVar[Mapping[str, Setting]]
    """What a reader must know to judge the weights: loss weights, learning rate, crop; stored with them."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The part that enhances; its state is what the weights file holds."""

    @property
    @abstractmethod
    def optimisers(self) -> Sequence[Optimizer]:
        """Every optimiser, always in the same order; a checkpoint holds their states."""

    @abstractmethod
    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """What is kept of a decoded sample, on the CPU: made once per picture, so nothing random belongs here."""

    @abstractmethod
    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """A batch from the pictures of a step: crop, flip, stack; every random choice comes from the generator."""

    @abstractmethod
    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Learn from a batch when `share` (0 to below 1) of the training is done; returns the loss and its parts."""


@runtime_checkable
class Trainable(Protocol):
    """An adapter class that names its recipe."""

    recipe: ClassVar[type[Recipe]]


class Item(NamedTuple):
    """A sample and the data set that decodes it."""

    dataset: Dataset
    sample: Sample


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands after a step."""

    step: int
    """Steps done, counted from 1."""
    steps: int
    losses: Mapping[str, float]
    """The step's loss and its parts; empty where a finished run was only asked again."""
    seconds: float
    """Spent on steps so far, resumed parts included; decoding counts, writing checkpoints does not."""
    weights: Path | None = None
    """The weights file, once it is written: in the last Progress."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a training is, as the weights file tells it; a checkpoint is continued by the same training only.

    The recipe's code is not part of it (the commit is for that): after a change of code that the settings do not show,
    begin again instead of resuming.
    """

    recipe: str
    settings: Mapping[str, Setting] = field(hash=False)
    data: str
    """The data sets as the user writes them, joined by '+'."""
    pictures: int
    files: str
    """SHA-256 over the names and contents of every picture file."""
    steps: int
    seed: int

    def difference(self, found: Mapping[str, Any]) -> str:
        """What differs from another run's identity, in words; empty where nothing does."""
        mine = _plain(self)
        return "; ".join(
            f"{key} is {found.get(key)!r} there and {mine[key]!r} here" for key in mine if found.get(key) != mine[key]
        )


def recipe_of(method: str, adapter: type) -> type[Recipe]:
    """The recipe of a method; raises ValueError for a method that is not trained here."""
    if not isinstance(adapter, Trainable):
        raise ValueError(
            f"{method!r} has no training recipe: its adapter class {adapter.__name__} has no attribute `recipe` "
            f"(a method that needs no training, or one that is used with weights trained elsewhere)"
        )
    return adapter.recipe


def train(
    recipe: type[Recipe],
    datasets: Sequence[Dataset],
    out: Path,
    steps: int,
    seed: int,
    device: torch.device,
    resume: bool = False,
    every: int = 100,
    notes: Mapping[str, str] | None = None,
) -> Iterator[Progress]:
    """Train and write `out/<weights_file>`, yielding after every step; a checkpoint is kept every `every` steps.

    What a step draws depends on the seed and the step's number alone, so a run that was killed and resumed ends in the
    same bits as an unbroken one (same device, torch version and number of threads). `notes` go into the weights file's
    metadata (the commit, say). Nothing runs before the first `next`.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; a training has at least 1")
    items = _items(recipe, datasets)
    identity = _identity(recipe, datasets, items, steps, seed)
    out.mkdir(parents=True, exist_ok=True)
    if not resume and (out / CHECKPOINT).exists():
        raise FileExistsError(f"{out / CHECKPOINT} is there already: resume that training, or choose another folder")

    with _seeded(seed, -1, device):
        learner = recipe()
    learner.to(device)
    done, seconds = _restore(learner, out / CHECKPOINT, identity, device) if resume else (0, 0.0)
    _keep_log(out / LOG, done)

    if done == steps:
        yield Progress(done, steps, {}, seconds, _write_weights(learner, out, identity, device, notes or {}))
        return
    pictures = _Pictures(learner, items)
    # The log is written line by line, to be watched.
    with _without_subnormals(), (out / LOG).open("a", buffering=1, encoding="utf-8") as log:
        for step in range(done, steps):
            begun = time.perf_counter()
            losses = _step(learner, pictures, seed, step, steps, device)
            seconds += time.perf_counter() - begun
            log.write(json.dumps({"step": step + 1, **losses, "seconds": round(seconds, 3)}) + "\n")
            weights = None
            if (step + 1) % every == 0 or step + 1 == steps:
                _save(learner, out / CHECKPOINT, identity, step + 1, seconds)
            if step + 1 == steps:
                weights = _write_weights(learner, out, identity, device, notes or {})
            yield Progress(step + 1, steps, losses, seconds, weights)


def read_metadata(weights: Path) -> dict[str, Any]:
    """How a weights file was trained: recipe, settings, data, steps, seed; empty where the file does not say."""
    try:
        with safe_open(weights, framework="pt") as file:
            stored = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{weights} is no whole safetensors file: {error}") from error
    training: dict[str, Any] = json.loads(stored.get("training", "{}"))
    return training


class _Pictures:
    """Reads pictures through the recipe and keeps them as long as the cache has room."""

    def __init__(self, learner: Recipe, items: Sequence[Item]) -> None:
        self._learner = learner
        self._items = items
        self._kept: dict[int, tuple[Tensor, ...]] = {}
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        if index in self._kept:
            return self._kept[index]
        dataset, sample = self._items[index]
        tensors = self._learner.read(dataset.load(sample))
        size = sum(tensor.nbytes for tensor in tensors)
        if size <= self._room:
            self._kept[index] = tensors
            self._room -= size
        return tensors


def _step(
    learner: Recipe, pictures: _Pictures, seed: int, step: int, steps: int, device: torch.device
) -> dict[str, float]:
    # The global generator is seeded too, for what networks draw by themselves (dropout).
    with _seeded(seed, step, device), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        chosen = _order(len(pictures), learner.batch_size, seed, step)
        batch = learner.draw([pictures[index] for index in chosen], Generator().manual_seed(_mix(seed, step)))
        learner.train()
        losses = {
            name: value.item()
            for name, value in learner.step(tuple(tensor.to(device) for tensor in batch), step / steps).items()
        }
    broken = [name for name, value in losses.items() if not torch.isfinite(torch.tensor(value))]
    if broken:
        raise ArithmeticError(f"{', '.join(broken)} is not finite at step {step + 1}; lower the recipe's learning rate")
    return losses


def _order(count: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Pictures of a step: consecutive places in an endless row of shuffled passes over the data."""
    places = range(step * batch_size, (step + 1) * batch_size)
    passes = {
        number: torch.randperm(count, generator=Generator().manual_seed(_mix(seed, -2 - number))).tolist()
        for number in {place // count for place in places}
    }
    return [passes[place // count][place % count] for place in places]


def _mix(seed: int, number: int) -> int:
    """A seed for one purpose; hashed, because neighbouring seeds may give related streams."""
    return int.from_bytes(sha256(f"{seed}/{number}".encode()).digest()[:7], "big")


@contextmanager
def _seeded(seed: int, number: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_mix(seed, number))
        yield


@contextmanager
def _without_subnormals() -> Iterator[None]:
    """Round subnormal values to 0: nearly dead filters give them, and a CPU is then 15 times as slow.

    A setting of the thread, which threads started later inherit; so it stands around the whole loop.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _items(recipe: type[Recipe], datasets: Sequence[Dataset]) -> list[Item]:
    items = [Item(dataset, sample) for dataset in datasets for sample in dataset.samples()]
    names = " + ".join(map(_name, datasets)) or "no data set"
    if len(items) < recipe.batch_size:
        raise ValueError(f"{names} holds {len(items)} pictures, a batch of {recipe.__name__} needs {recipe.batch_size}")
    alone = [item.sample.id for item in items if item.sample.reference is None]
    if recipe.paired and alone:
        raise ValueError(
            f"{recipe.__name__} learns from pairs, but {len(alone)} of {len(items)} pictures of {names} have no "
            f"reference ({alone[0]!r} is the first)"
        )
    return items


def _name(dataset: Dataset) -> str:
    name = type(dataset).__module__.rpartition(".")[2]
    return f"{name}:{dataset.option}" if dataset.option else name


def _identity(
    recipe: type[Recipe], datasets: Sequence[Dataset], items: Sequence[Item], steps: int, seed: int
) -> Identity:
    digest = sha256()
    for path in itertools.chain.from_iterable(item.sample.files for item in items):
        digest.update(f"{path.parent.name}/{path.name} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return Identity(
        recipe=recipe.__name__,
        settings={"batch_size": recipe.batch_size, **recipe.settings},
        data=" + ".join(map(_name, datasets)),
        pictures=len(items),
        files=digest.hexdigest(),
        steps=steps,
        seed=seed,
    )


def _plain(identity: Identity) -> dict[str, Any]:
    """The identity as JSON gives it back, so that it can be compared with a stored one."""
    fields = Identity.__dataclass_fields__
    plain: dict[str, Any] = json.loads(json.dumps({name: getattr(identity, name) for name in fields}))
    return plain


def _save(learner: Recipe, path: Path, identity: Identity, step: int, seconds: float) -> None:
    state = {
        "identity": json.dumps(_plain(identity)),
        "step": step,
        "seconds": seconds,
        "recipe": learner.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in learner.optimisers],
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)  # a kill while writing leaves the older checkpoint whole


def _restore(learner: Recipe, path: Path, identity: Identity, device: torch.device) -> tuple[int, float]:
    """Steps done and seconds spent; (0, 0) where a run was killed before its first checkpoint."""
    if not path.exists():
        return 0, 0.0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found = json.loads(state["identity"])
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as a checkpoint ({error}); delete it to begin again") from error
    if difference := identity.difference(found):
        raise ValueError(
            f"{path} belongs to another training: {difference}; choose another folder or the same settings"
        )
    learner.load_state_dict(state["recipe"])
    for optimiser, stored in zip(learner.optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(stored)
    return state["step"], state["seconds"]


def _keep_log(path: Path, done: int) -> None:
    """Drop the log's lines beyond the checkpoint; the resumed run writes them again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:done] if path.exists() else []
    path.write_text("".join(lines), encoding="utf-8")


def _write_weights(
    learner: Recipe, out: Path, identity: Identity, device: torch.device, notes: Mapping[str, str]
) -> Path:
    made = {"torch": torch.__version__.partition("+")[0], "device": device.type, "threads": torch.get_num_threads()}
    training = {**_plain(identity), **made, **notes}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in learner.network.state_dict().items()}
    # One key: safetensors writes several in a random order, and equal trainings shall give equal files.
    metadata = {"training": json.dumps(training, sort_keys=True)}
    path = out / learner.weights_file
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(state, metadata))
    os.replace(partial, path)
    return path
