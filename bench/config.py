"""bench.toml and the command line in, one frozen Config out; every misspelt word is named with its place."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

import bench
from bench.contracts import Protocol
from bench.image import is_folder, path_of
from bench.plugins import Spec, near
from bench.tiling import SMALLEST

FILENAME = "bench.toml"

_FOLDERS = re.compile(r"(?:[\w.+-]+::)*[\w.+-]+://[^:]*(?::\d+[^:]*)?|[^:]+")
"""What stands between the colons of BENCH_DATA: an address, whose own colons do not separate, or a path."""


class ConfigError(ValueError):
    """The user's configuration cannot be used; the text names file, key and way out."""


class Section(BaseModel):
    """A table of bench.toml: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_tuple(value: object) -> object:
    """Let `metrics = "psnr,ssim"` and `metrics = ["psnr", "ssim"]` mean the same."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, Sequence):
        return tuple(part for part in value if part != "")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class RunSection(Section):
    """`[run]`: what `bench run` does when the command line does not say otherwise; each key has its flag."""

    methods: Names = ("input", "gamma", "he", "clahe", "lime", "zero_dce")
    datasets: Names = ("demo",)
    metrics: Names = ("auto",)
    """'auto': all seven standard metrics, where a set has no references the no-reference ones; 'none': none."""
    tasks: Names = ("auto",)
    """'auto': detection and saliency on every set that has a truth for them; 'none': none."""
    reports: Names = ("html", "latex", "markdown", "csv", "records")
    out: Path = Path("runs/default")
    device: str = "auto"
    size: str = "native"
    rounding: str = "8bit"
    tile: Annotated[int, Field(ge=0)] = 0
    """Networks see larger pictures in overlapping tiles of this side; 0: whole, or not at all where memory is short."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Only the first pictures of each data set; 0 takes all."""
    batch: Annotated[int, Field(ge=0)] = 0
    """Pictures per batch; 0 chooses: 1 on a CPU, 8 on a GPU."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Threads that decode ahead of the device."""
    jobs: Annotated[int, Field(ge=1)] = 1
    """Processes that work side by side on this machine."""
    engine: str = "local"
    """local, dask-local, dask://HOST:PORT or ray://HOST:PORT."""
    seed: Annotated[int, Field(ge=0)] = 0
    save_images: bool = False
    thumbnails: Annotated[int, Field(ge=0)] = 12
    """Pictures per data set that report.html shows."""
    strict: bool = False
    """Refuse data sets with pictures that a method or a task's model has seen in training."""

    @field_validator("methods", "datasets", "metrics", "tasks")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must name at least one")
        return tuple(dict.fromkeys(value))

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            raise ValueError(f"must be auto, cpu or cuda, not {value!r}")
        return value

    @field_validator("size")
    @classmethod
    def _size(cls, value: str) -> str:
        if not re.fullmatch(r"native|[1-9]\d{0,4}x[1-9]\d{0,4}", value):
            raise ValueError(f"must be native or WIDTHxHEIGHT such as 384x384, not {value!r}")
        return value

    @field_validator("tile")
    @classmethod
    def _tile(cls, value: int) -> int:
        if 0 < value < SMALLEST:
            raise ValueError(f"must be 0 or at least {SMALLEST} pixels, not {value}")
        return value

    @field_validator("rounding")
    @classmethod
    def _rounding(cls, value: str) -> str:
        if value not in ("8bit", "none"):
            raise ValueError(f"must be 8bit or none, not {value!r}")
        return value

    @property
    def protocol(self) -> Protocol:
        """How pictures reach the metrics."""
        return Protocol(size=self.size, rounding=self.rounding, tile=self.tile)


class DatasetSection(Section):
    """`[datasets.NAME]`: where a data set lies on this machine."""

    root: str
    """A folder, or an fsspec address such as s3://bucket/lol."""


class MethodSection(Section):
    """`[methods.NAME]`, or `[methods."NAME:OPTION"]` for one variant: its weights, how it computes."""

    weights: Path | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the network computes in; another than float32 stands in the row's label."""
    compile: bool = False
    """Let torch.compile rewrite the network: faster after its first pictures, and not always to the same bits."""


class TaskSection(Section):
    """`[tasks.NAME]`: the model of a downstream task."""

    model: str = ""
    """What may follow the task's colon: a file, finetuned:DIR, maps:DIR; '' for the default."""
    size: str = ""
    """WIDTHxHEIGHT of the pictures that the model sees; '' for the task's default."""

    @field_validator("size")
    @classmethod
    def _size(cls, value: str) -> str:
        if value and not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", value):
            raise ValueError(f"must be WIDTHxHEIGHT such as 640x480, not {value!r}")
        return value


class GateSection(Section):
    """`[gate]`: what `bench check` takes for a regression."""

    slower: Annotated[float, Field(ge=0)] = 1.5
    """Times as slow, after the machine's own pace is taken off; 0: speed is not compared."""
    tolerance: Mapping[str, Annotated[float, Field(ge=0)]] = {}
    """By metric, in its unit: smaller mean changes are no regression; default: the metric's noise."""


class Config(Section):
    """Everything a command needs to know from the user."""

    run: RunSection = RunSection()
    datasets: Mapping[str, DatasetSection] = {}
    methods: Mapping[str, MethodSection] = {}
    tasks: Mapping[str, TaskSection] = {}
    gate: GateSection = GateSection()
    parameters: Mapping[str, Path] = {}
    """`[parameters]`: place of a metric's file by its name, before any other place is searched."""
    places: Mapping[str, str] = {}
    """`[places]`: what to read for a name of [run] whose folder or file lies elsewhere ('folder:OLD' to 'folder:NEW');
    `bench rerun` fills it."""

    def root(self, dataset: Spec) -> Path | None:
        """The data set's folder: from --root or bench.toml, else NAME below a folder of BENCH_DATA, else None.

        Raises ImportError, ValueError or OSError for an address that this machine cannot read.
        """
        if dataset.name in self.datasets:
            return path_of(self.datasets[dataset.name].root)
        for folder in _FOLDERS.findall(os.environ.get("BENCH_DATA", "")):
            place = path_of(folder) / dataset.name
            if is_folder(place):
                return place
        return None

    def weights(self, method: Spec) -> Path | None:
        """The user's weights for a method, None where the shipped ones serve."""
        return self.method(method).weights

    def method(self, method: Spec) -> MethodSection:
        """What the user says of a method, of its variant first."""
        return self.methods.get(method.text) or self.methods.get(method.name) or MethodSection()


def find_file() -> Path | None:
    """The bench.toml in force: in the working folder, else beside the package in a checkout, else none."""
    for folder in (Path.cwd(), Path(bench.__file__).resolve().parent.parent):
        if (folder / FILENAME).is_file():
            return folder / FILENAME
    return None


def load(
    file: Path | None,
    run: Mapping[str, object] | None = None,
    roots: Sequence[str] = (),
    weights: Sequence[str] = (),
    tasks: Mapping[str, Mapping[str, str | None]] | None = None,
) -> Config:
    """Read `file` (or the bench.toml in force, or the defaults) and lay the command line's words over it.

    `run` holds keys of `[run]` and `tasks` those of `[tasks.NAME]`, None meaning "not given"; `roots` and `weights` are
    'NAME=PATH' words; a root may be an address.
    Raises ConfigError naming the file or flag, the key, and the accepted ones.
    """
    if file is not None and not file.is_file():
        raise ConfigError(f"{file} does not exist (given by --config)")
    file = file or find_file()
    data = _read(file) if file else {}
    _resolve_paths(data, file.parent if file else Path())
    _build(data, str(file))  # the file's own mistakes are reported as the file's
    data.setdefault("run", {}).update({key: value for key, value in (run or {}).items() if value is not None})
    for word in roots:
        name, path = _split(word, "--root")
        data.setdefault("datasets", {})[name] = {"root": path}
    for word in weights:
        name, path = _split(word, "--weights")
        data.setdefault("methods", {}).setdefault(name, {})["weights"] = Path(path).expanduser()
    for name, keys in (tasks or {}).items():
        given = {key: value for key, value in keys.items() if value is not None}
        if given:
            data.setdefault("tasks", {}).setdefault(name, {}).update(given)
    return _build(data, "command line")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Paths in bench.toml are relative to its folder; `out` is relative to where the user stands."""
    for section in _table(data.get("datasets")).values():
        if isinstance(section, dict) and isinstance(section.get("root"), str) and "://" not in section["root"]:
            section["root"] = str(folder / Path(section["root"]).expanduser())
    for section in _table(data.get("methods")).values():
        if isinstance(section, dict) and isinstance(section.get("weights"), str):
            section["weights"] = folder / Path(section["weights"]).expanduser()
    for section in _table(data.get("tasks")).values():
        if isinstance(section, dict) and isinstance(section.get("model"), str) and section["model"]:
            kind, colon, path = section["model"].rpartition(":")
            section["model"] = f"{kind}{colon}{folder / Path(path).expanduser()}"
    parameters = _table(data.get("parameters"))
    for name, path in parameters.items():
        if isinstance(path, str):
            parameters[name] = folder / Path(path).expanduser()


def _table(value: object) -> dict[str, Any]:
    """The value where it is a table; a wrong type is left for validation to name."""
    return value if isinstance(value, dict) else {}


def _split(word: str, flag: str) -> tuple[str, str]:
    name, equals, path = word.partition("=")
    if not (name and equals and path):
        raise ConfigError(f"{flag} {word}: expected NAME=PATH, such as {flag} lol=data/lol")
    return name, path


def _build(data: Mapping[str, Any], place: str) -> Config:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(place, data, problem) for problem in error.errors())) from error


def _explain(place: str, data: Mapping[str, Any], problem: Any) -> str:
    """One validation problem as a sentence that names place, key and way out."""
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        section: type[Section] = Config
        for part in where[:-1]:
            section = _SECTIONS.get(part, section)
        accepted = sorted(section.model_fields)
        table = f"[{'.'.join(where[:-1])}]" if where[:-1] else "the top level"
        hint = near(where[-1], accepted)
        listed = "" if "there are" in hint else f" (accepted: {', '.join(accepted)})"
        return f"{place}: unknown key {where[-1]!r} in {table}{hint}{listed}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {'.'.join(where)}: {message[0].lower() + message[1:]} (found {problem['input']!r})"


_SECTIONS: dict[str, type[Section]] = {
    "run": RunSection,
    "datasets": DatasetSection,
    "methods": MethodSection,
    "tasks": TaskSection,
    "gate": GateSection,
}
