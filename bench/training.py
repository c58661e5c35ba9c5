"""The loop that a method's recipe fills in: seeded, logged, and resumed after a kill to the same bits."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, NamedTuple, Protocol, Self, get_type_hints, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from bench import fingerprints
from bench.contracts import Dataset, Pair, Sample
from bench.image import round_8bit

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
CACHE_BYTES = 4 * 2**30
"""Pictures stay decoded up to this many bytes; those beyond it are decoded again whenever they are drawn."""

_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, UnpicklingError)
"""What torch.load, its zip reader and its unpickler raise for files that are no checkpoints."""

Setting = str | int | float | bool

HALF_PRECISION_COST = 0.02
"""Weights are stored in half precision where that costs less than this on the held-out pairs, in dB."""


@dataclass(frozen=True, kw_only=True)
class Adjustable:
    """Numbers that `--set NAME=VALUE` replaces."""

    def replaced(self, words: Sequence[str]) -> Self:
        """The settings with each 'name=value' in place; raises ValueError naming the word and what is accepted."""
        changes: dict[str, Any] = dict(self._parsed(word) for word in words)
        return dataclasses.replace(self, **changes)

    def _parsed(self, word: str) -> tuple[str, Setting]:
        name, _, text = word.partition("=")
        known = self.as_dict()
        if name not in known:
            listed = ", ".join(f"{key}={value}" for key, value in known.items())
            raise ValueError(f"--set {word}: no setting is called {name!r}; there are {listed}")
        # The annotation, not the default's own type: `largest_scale: float = 1` takes 2.5.
        kind: type[Setting] = get_type_hints(type(self))[name]
        try:
            value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise ValueError(
                f"--set {word}: {name} is a {kind.__name__} (default {known[name]}), found {text!r}"
            ) from None
        if not isinstance(value, str) and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"--set {word}: {name} has to be a finite number, not below 0")
        return name, value

    def as_dict(self) -> dict[str, Setting]:
        """Every setting by name."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}


@dataclass(frozen=True, kw_only=True)
class Settings(Adjustable):
    """Numbers of a recipe, stored with the weights; a recipe adds its own. The defaults are the paper's."""

    batch_size: int
    """Pictures of each kind in a step."""
    steps: int
    """Optimiser steps of the whole training, all stages together."""
    crops: int = 1
    """How often a picture is drawn in an epoch."""


class Kind(Enum):
    """What a recipe draws its pictures from; it gets `batch_size` pictures of each kind it names, in that order."""

    ANY = "any"
    """Every picture of the data sets, with or without reference."""
    PAIR = "pair"
    """Pictures with a normal-light reference."""
    NIGHT = "night"
    """Pictures without reference; where all have one, the low pictures of other pairs."""


class Recipe(nn.Module, ABC):
    """How a method is trained; one step of it is one batch.

    The constructor builds the networks as submodules and the optimisers over their parameters. It runs under the run's
    seed, so plain torch initialisation is reproducible. A method of two stages holds both networks and lets `step`
    choose by `share` which of them learns.
    """

    defaults: ClassVar[Settings]
    """The paper's settings; its class is the type of `settings`."""
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.PAIR,)

    precision: torch.dtype = torch.float32
    """What `mixed` computes in; set by `train`."""

    def __init__(self, option: str, settings: Settings) -> None:
        """Build the variant that `option` names ('' for the method itself)."""
        super().__init__()

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The part that enhances; its state is what the weights file holds."""

    @property
    @abstractmethod
    def optimisers(self) -> Sequence[Optimizer]:
        """Every optimiser, always in the same order; a checkpoint holds their states."""

    def load(self, dataset: Dataset, sample: Sample) -> Pair:
        """What is learned: the second picture from the first; a recipe of a task gives the mask as the second."""
        return dataset.load(sample)

    @abstractmethod
    def read(self, pair: Pair) -> tuple[Tensor, ...]:
        """What is kept of a decoded sample, on the CPU: made once per picture, so nothing random belongs here."""

    @abstractmethod
    def draw(self, pictures: Sequence[tuple[Tensor, ...]], generator: Generator) -> tuple[Tensor, ...]:
        """A batch from the pictures of a step: crop, flip, stack; every random choice comes from the generator."""

    @abstractmethod
    def step(self, batch: tuple[Tensor, ...], share: float) -> Mapping[str, Tensor]:
        """Learn from a batch when `share` (0 to below 1) of the training is done; returns the loss and its parts."""

    @abstractmethod
    def enhance(self, low: Tensor) -> Tensor:
        """What the adapter will do with (N, 3, H, W) of any size once it has `network`; for validation."""

    def mixed(self, network: nn.Module, *inputs: Tensor) -> Tensor:
        """A network's output in float32, computed in `precision`, in the memory layout that convolutions like."""
        laid_out = [one.contiguous(memory_format=torch.channels_last) if one.ndim == 4 else one for one in inputs]
        with torch.autocast(inputs[0].device.type, self.precision, enabled=self.precision != torch.float32):
            output: Tensor = network(*laid_out)
        return output.float()


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
    """Spent on steps so far, resumed parts included; decoding counts, writing checkpoints and validation do not."""
    validation_psnr: float | None = None
    """Mean PSNR in dB over the held-out pairs, where this step was followed by a validation."""
    weights: Path | None = None
    """The weights file, once it is written: in the last Progress."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained, on what and how long; everything that decides the bits of the weights, machine apart."""

    method: str
    """As the user writes it, without a path: 'drgn', 'drgn:wo_msr'."""
    recipe: type[Recipe]
    settings: Settings
    datasets: Sequence[Dataset]
    seed: int
    held_out: int | None = None
    """Pairs kept for validation; None for a sixteenth of the pairs, 32 at most."""
    precision: torch.dtype = torch.float32
    """What the networks compute in (torch.bfloat16: mixed precision); weights and losses stay float32."""
    start: Path | None = None
    """A weights file of the same method that the network begins with; None for a fresh one."""

    @property
    def option(self) -> str:
        """What follows the colon."""
        return self.method.partition(":")[2]

    @property
    def weights_file(self) -> str:
        """Name of the file that training writes, as the adapter looks for it."""
        return f"{self.method.replace(':', '-')}.safetensors"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a training is, as the weights file tells it; a checkpoint is continued by the same training only.

    The recipe's code is not part of it (the commit is for that): after a change of code that the settings do not show,
    begin again instead of resuming.
    """

    method: str
    recipe: str
    settings: Mapping[str, Setting] = field(hash=False)
    data: str
    """The data sets as the user writes them, joined by '+'."""
    pictures: int
    """How many are learned from."""
    held_out: Sequence[str]
    """Ids of the pairs kept for validation."""
    files: str
    """SHA-256 over the names and contents of every picture file, held-out ones included."""
    seed: int
    precision: str
    start: Mapping[str, Any] = field(hash=False)
    """How the weights were trained that this training began with, and their SHA-256; empty for a fresh network."""

    def difference(self, found: Mapping[str, Any]) -> str:
        """What differs from another run's identity, in words; empty where nothing does."""
        mine = _plain(self)
        both = [(key, found.get(key), mine[key]) for key in mine if found.get(key) != mine[key]]
        return "; ".join(
            _settings_difference(there, here)
            if key == "settings" and isinstance(there, dict)
            else f"{key} is {there!r} there and {here!r} here"
            for key, there, here in both
        )


def recipe_of(method: str, adapter: type) -> type[Recipe]:
    """The recipe of a method; raises ValueError for a method that is not trained here."""
    if not isinstance(adapter, Trainable):
        raise ValueError(
            f"{method!r} has no training recipe: its adapter class {adapter.__name__} has no attribute `recipe` "
            f"(a method that needs no training, or one that is used with weights trained elsewhere)"
        )
    return adapter.recipe


def steps_of(recipe: type[Recipe], settings: Settings, datasets: Sequence[Dataset], epochs: int) -> int:
    """Steps that make so many epochs: every picture drawn `crops` times in each."""
    items = [item for item in _items_of(datasets) if recipe.kinds[0] is Kind.ANY or item.sample.reference is not None]
    return max(1, math.ceil(epochs * settings.crops * len(items) / settings.batch_size))


def train(
    plan: Plan,
    out: Path,
    device: torch.device,
    resume: bool = False,
    every: int = 100,
    validate_every: int = 500,
    notes: Mapping[str, str] | None = None,
) -> Iterator[Progress]:
    """Train and write `out/<weights_file>`, yielding after every step; a checkpoint is kept every `every` steps.

    What a step draws depends on the seed and the step's number alone, so a run that was killed and resumed ends in the
    same bits as an unbroken one (same device, torch version and number of threads). The PSNR of held-out training pairs
    is logged every `validate_every` steps and at the end. `notes` go into the weights file's metadata (the commit,
    say), and so do fingerprints of every picture seen. Nothing runs before the first `next`.
    """
    steps = plan.settings.steps
    if steps < 1 or plan.settings.batch_size < 1:
        raise ValueError(f"a training has at least 1 step and 1 picture in a batch, found {plan.settings}")
    items, held_out = _divide(plan)
    identity = _identity(plan, items, held_out)
    out.mkdir(parents=True, exist_ok=True)
    if not resume and (out / CHECKPOINT).exists():
        raise FileExistsError(f"{out / CHECKPOINT} is there already: resume that training, or choose another folder")

    with _seeded(plan.seed, -1, device):
        learner = plan.recipe(plan.option, plan.settings)
    if plan.start is not None:
        _begin_with(learner, plan.start)
    learner.precision = plan.precision
    learner.to(device)
    done, seconds = _restore(learner, out / CHECKPOINT, identity, device) if resume else (0, 0.0)
    _keep_log(out / LOG, done)

    if done == steps:
        psnr = _validate(learner, held_out, device)
        about = {**(notes or {}), "seen": _seen(plan, items, held_out)}
        written = _write_weights(learner, out / plan.weights_file, identity, device, held_out, psnr, about)
        yield Progress(done, steps, {}, seconds, weights=written)
        return
    streams = [_Stream(learner, items[kind], number) for number, kind in enumerate(plan.recipe.kinds)]
    # The log is written line by line, to be watched.
    with _without_subnormals(), (out / LOG).open("a", buffering=1, encoding="utf-8") as log:
        for step in range(done, steps):
            begun = time.perf_counter()
            losses = _step(learner, streams, plan, step, device)
            seconds += time.perf_counter() - begun
            last = step + 1 == steps
            psnr = _validate(learner, held_out, device) if last or (step + 1) % validate_every == 0 else None
            line = {"step": step + 1, **losses, "seconds": round(seconds, 3)}
            log.write(json.dumps(line if psnr is None else {**line, "validation_psnr": psnr}) + "\n")
            weights: Path | None = None
            if (step + 1) % every == 0 or last:
                _save(learner, out / CHECKPOINT, identity, step + 1, seconds)
            if last:
                about = {**(notes or {}), "seen": _seen(plan, items, held_out)}
                weights = _write_weights(learner, out / plan.weights_file, identity, device, held_out, psnr, about)
            yield Progress(step + 1, steps, losses, seconds, psnr, weights)


def training_files(samples: Sequence[Sample]) -> list[Path]:
    """Every picture file of samples, then their truths; a file of all pictures' annotations once."""
    pictures = [file for sample in samples for file in sample.files]
    return [*pictures, *dict.fromkeys(file for sample in samples for file in sample.truth)]


def list_digest(files: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, in their order."""
    digest = sha256()
    for file in files:
        digest.update(f"{file.parent.name}/{file.name} {sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def read_metadata(weights: Path) -> dict[str, Any]:
    """How a weights file was trained: recipe, settings, data, steps, seed; empty where the file does not say."""
    try:
        with safe_open(weights, framework="pt") as file:
            stored = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{weights} is no whole safetensors file: {error}") from error
    training: dict[str, Any] = json.loads(stored.get("training", "{}"))
    return training


class _Stream:
    """The pictures of one kind: read through the recipe, kept as long as the cache has room, drawn pass by pass."""

    def __init__(self, learner: Recipe, items: Sequence[Item], number: int) -> None:
        self._learner = learner
        self._items = items
        self._number = number
        self._kept: dict[int, tuple[Tensor, ...]] = {}
        self._room = CACHE_BYTES // len(learner.kinds)

    def pictures(self, count: int, seed: int, step: int) -> list[tuple[Tensor, ...]]:
        """Pictures of a step: consecutive places in an endless row of shuffled passes over the data."""
        total = len(self._items)
        places = range(step * count, (step + 1) * count)
        # The second stream's passes are numbered from where no training ever gets to.
        first = -2 - self._number * 10**9
        passes = {
            number: torch.randperm(total, generator=Generator().manual_seed(_mix(seed, first - number))).tolist()
            for number in {place // total for place in places}
        }
        return [self._read(passes[place // total][place % total]) for place in places]

    def _read(self, index: int) -> tuple[Tensor, ...]:
        if index in self._kept:
            return self._kept[index]
        dataset, sample = self._items[index]
        tensors = self._learner.read(self._learner.load(dataset, sample))
        size = sum(tensor.nbytes for tensor in tensors)
        if size <= self._room:
            self._kept[index] = tensors
            self._room -= size
        return tensors


def _step(learner: Recipe, streams: Sequence[_Stream], plan: Plan, step: int, device: torch.device) -> dict[str, float]:
    seed, settings = plan.seed, plan.settings
    # The global generator is seeded too, for what networks draw by themselves (dropout).
    with _seeded(seed, step, device), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        pictures = [one for stream in streams for one in stream.pictures(settings.batch_size, seed, step)]
        batch = learner.draw(pictures, Generator().manual_seed(_mix(seed, step)))
        learner.train()
        losses = {
            name: value.item()
            for name, value in learner.step(tuple(tensor.to(device) for tensor in batch), step / settings.steps).items()
        }
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        raise ArithmeticError(f"{', '.join(broken)} is not finite at step {step + 1}; lower the learning rate (--set)")
    return losses


@torch.no_grad()
def _validate(learner: Recipe, held_out: Sequence[Item], device: torch.device) -> float | None:
    """Mean PSNR over the pairs as a run computes it: whole pictures, 8 bit, RGB; None without pairs."""
    if not held_out:
        return None
    learner.eval()
    values = []
    for dataset, sample in held_out:
        low, reference = learner.load(dataset, sample)
        assert reference is not None
        enhanced = learner.enhance(low[None].to(device)).clamp(0, 1)
        error = (round_8bit(enhanced).double() - reference.to(device).double()).square().mean()
        values.append(-10 * math.log10(max(float(error), 1e-10)))
    return sum(values) / len(values)


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


def _divide(plan: Plan) -> tuple[dict[Kind, list[Item]], list[Item]]:
    """The pictures of each kind that the recipe draws from, and the pairs held out of all of them."""
    recipe, batch_size = plan.recipe.__name__, plan.settings.batch_size
    everything = _items_of(plan.datasets)
    names = " + ".join(map(_name, plan.datasets)) or "no data set"
    pairs = [item for item in everything if item.sample.reference is not None]
    count = min(len(pairs) // 16, 32) if plan.held_out is None else plan.held_out
    if plan.held_out and plan.held_out >= len(pairs):
        raise ValueError(f"{plan.held_out} pairs cannot be held out: {names} holds {len(pairs)} pairs")
    # Spread evenly, because neighbouring numbers are often pictures of the same scene.
    chosen = {id(pairs[(2 * place + 1) * len(pairs) // (2 * count)]) for place in range(count)}
    held_out = [item for item in pairs if id(item) in chosen]
    learned = [item for item in everything if id(item) not in chosen]
    alone = [item for item in learned if item.sample.reference is None]
    items = {
        Kind.ANY: learned,
        Kind.PAIR: [item for item in learned if item.sample.reference is not None],
        Kind.NIGHT: alone or learned,
    }
    for kind in plan.recipe.kinds:
        if len(items[kind]) < batch_size:
            without = f" with a reference, {len(alone)} without" if kind is Kind.PAIR else ""
            first = f" ({alone[0].sample.id!r} is the first)" if kind is Kind.PAIR and alone else ""
            kept = f" besides {count} held out" if count else ""
            raise ValueError(
                f"{names} holds {len(items[kind])} pictures{without}{first}{kept}, a batch of {recipe} needs "
                f"{batch_size}; give more pictures, or a smaller batch with --set batch_size=N"
            )
    return items, held_out


def _items_of(datasets: Sequence[Dataset]) -> list[Item]:
    return [Item(dataset, sample) for dataset in datasets for sample in dataset.samples()]


def _name(dataset: Dataset) -> str:
    name = type(dataset).__module__.rpartition(".")[2]
    return f"{name}:{dataset.option}" if dataset.option else name


def _identity(plan: Plan, items: Mapping[Kind, Sequence[Item]], held_out: Sequence[Item]) -> Identity:
    used = _used(plan, items)
    return Identity(
        method=plan.method,
        recipe=plan.recipe.__name__,
        settings=plan.settings.as_dict(),
        data=" + ".join(map(_name, plan.datasets)),
        pictures=len(used),
        held_out=[item.sample.id for item in held_out],
        files=list_digest(training_files([item.sample for item in (*used, *held_out)])),
        seed=plan.seed,
        precision=str(plan.precision).removeprefix("torch."),
        start=_origin(plan),
    )


def _used(plan: Plan, items: Mapping[Kind, Sequence[Item]]) -> list[Item]:
    """The pictures that the recipe draws from."""
    return list({id(item): item for kind in plan.recipe.kinds for item in items[kind]}.values())


def _seen(plan: Plan, items: Mapping[Kind, Sequence[Item]], held_out: Sequence[Item]) -> dict[str, Any]:
    """Fingerprints of every picture learned from or validated on, also by the weights that the training began with."""
    before = fingerprints.seen_in(read_metadata(plan.start)) if plan.start else None
    here = fingerprints.of((item.dataset, item.sample) for item in (*_used(plan, items), *held_out))
    return fingerprints.joined([before, here] if before else [here]).as_json()


def _origin(plan: Plan) -> dict[str, Any]:
    """Where the first weights come from; raises ValueError for a file that belongs to another method."""
    if plan.start is None:
        return {}
    origin = {**read_metadata(plan.start), "sha256": sha256(plan.start.read_bytes()).hexdigest()}
    origin.pop("seen", None)  # it stands with what this training sees itself
    if origin.get("method") != plan.method:
        raise ValueError(
            f"{plan.start} holds the weights of {origin.get('method', 'no method trained here')!r}; a training of "
            f"{plan.method!r} begins with its own"
        )
    return origin


def _begin_with(learner: Recipe, start: Path) -> None:
    try:
        learner.network.load_state_dict({name: tensor.float() for name, tensor in load_file(start).items()})
    except RuntimeError as error:  # names or shapes: the network has changed since
        raise ValueError(f"{start} does not fit the network any more: {error}") from error


def _settings_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    return "; ".join(f"{name} is {there.get(name)!r} there and {here.get(name)!r} here" for name in names)


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
    learner: Recipe,
    path: Path,
    identity: Identity,
    device: torch.device,
    held_out: Sequence[Item],
    psnr: float | None,
    notes: Mapping[str, Any],
) -> Path:
    """Store the network, in half precision where the held-out pairs show that nothing is lost by it.

    `psnr` is what they gave in full precision.
    """
    made: dict[str, Setting] = {
        "torch": torch.__version__.partition("+")[0],
        "device": device.type,
        "threads": torch.get_num_threads(),
        "stored": "float32",
    }
    network = learner.network
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if psnr is not None:
        made["validation_psnr"] = round(psnr, 4)
        halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        kept = copy.deepcopy(network.state_dict())
        network.load_state_dict(halved)
        half = _validate(learner, held_out, device)
        network.load_state_dict(kept)
        if half is not None and psnr - half < HALF_PRECISION_COST:
            made |= {"stored": "float16", "validation_psnr": round(half, 4)}
            state = halved
    training = {**_plain(identity), **made, **notes}
    # One key: safetensors writes several in a random order, and equal trainings shall give equal files.
    metadata = {"training": json.dumps(training, sort_keys=True)}
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(state, metadata))
    os.replace(partial, path)
    return path
