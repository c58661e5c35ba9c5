"""What each kind of plug-in promises and the values they exchange; imports nothing of bench.

A plug-in is one file with one public class: `adapters/<name>.py` holds an Adapter, `datasets/<name>.py` a Dataset,
`bench/metrics/<name>.py` a Metric, `reports/<name>.py` a Report. Users write `name` or `name:option`
(`gamma:2.2`, `outputs:DIR`, `lol:our485`); what follows the colon arrives as `option`.

One image convention everywhere: RGB float32 tensor (N, 3, H, W), range [0, 1], on any device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from bench.planes import Planes


REFIT = "_refit"
"""Ending of a metric's second form, scored with parameters that this project fitted and ships."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a data set."""

    id: str
    """Unique in the data set; the file's stem where there is one."""
    low: Path
    """The file the low-light picture comes from (for a synthetic set: the photograph that is darkened)."""
    reference: Path | None = None
    """The file of the normal-light reference, None where the set has none."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the sample is read from, without repetition; their SHA-256 identify the sample."""
        if self.reference is None or self.reference == self.low:
            return (self.low,)
        return (self.low, self.reference)


class Pair(NamedTuple):
    """A decoded sample: RGB float32 (3, H, W) in [0, 1] each."""

    low: Tensor
    reference: Tensor | None


class Dataset(ABC):
    """A set of low-light pictures, with or without references; knows no metric and no method."""

    label: str
    """The name printed in tables; a split or a user's folder is part of it."""
    layout: ClassVar[str]
    """Which files are expected below the root, in one line."""
    origin: ClassVar[str]
    """Who published it and where it is found."""
    needs_root: ClassVar[bool] = True
    """False where the set needs no folder of the user's (demo) or is given one as option (folder:DIR)."""
    training_split: ClassVar[str] = ""
    """Option of the split to learn from, '' where the set is not divided; its other splits are for results alone."""

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        self.option = option
        self.root = root

    @property
    @abstractmethod
    def paired(self) -> bool:
        """Whether every sample has a reference."""

    @abstractmethod
    def samples(self) -> list[Sample]:
        """All samples in natural order of their ids.

        Raises FileNotFoundError or ValueError naming the place and the way out: root missing, empty folder, two files
        with one stem, a file without its partner.
        """

    @abstractmethod
    def load(self, sample: Sample) -> Pair:
        """Decode (or synthesise, deterministically) one sample; raises ValueError or OSError naming the file."""


class Adapter(ABC):
    """An enhancement method; sees low-light pictures and never a reference."""

    label: ClassVar[str]
    """The name printed in tables."""
    kind: ClassVar[str]
    """'none', 'classical', 'zero-reference', 'unpaired', 'paired' or 'outputs'."""
    source: ClassVar[str]
    """Paper or documentation the recipe follows."""
    options: ClassVar[Mapping[str, str]] = {}
    """What may follow the colon, each with its meaning; empty where nothing may."""
    pad_multiple: ClassVar[int] = 1
    """Height and width are padded (reflected) to a multiple of this before enhance and cropped after it."""
    weights_file: ClassVar[str | None] = None
    """File below adapters/weights/ that is shipped with the method, None for a method without weights."""
    memory_per_pixel: ClassVar[int] = 0
    """Working memory in bytes that `enhance` takes per pixel of a picture, measured; 0 where it is next to nothing."""

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        """Build the method; `weights` replaces the shipped file. Raises ValueError for an unknown option."""
        self.option = option
        self.weights = weights

    @classmethod
    def weights_name(cls, option: str) -> str | None:
        """Shipped file of a variant: 'drgn.safetensors', and 'drgn-wo_msr.safetensors' for drgn:wo_msr."""
        if cls.weights_file is None or not option:
            return cls.weights_file
        stem, _, ending = cls.weights_file.partition(".")
        return f"{stem}-{option}.{ending}"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file besides the source that the result depends on (weights, pictures made elsewhere)."""
        return (self.weights,) if self.weights is not None else ()

    def to(self, device: torch.device) -> None:  # noqa: B027 - most methods have nothing to move
        """Move the method to the device on which enhance will be called."""

    @abstractmethod
    def enhance(self, low: Tensor) -> Tensor:
        """Enhance a batch (N, 3, H, W) in [0, 1]; same shape, dtype, device and range out."""

    def enhance_named(self, low: Tensor, dataset: str, ids: Sequence[str]) -> Tensor:
        """Enhance with the pictures' names at hand; only a method that reads its output from disk needs them."""
        return self.enhance(low)


@dataclass(frozen=True, slots=True)
class ParameterFile:
    """A file that a metric or task needs and this project may not ship."""

    name: str
    """File name looked for."""
    sha256: str
    """Hex digest, or its first 8 or more digits where the publisher pins only those."""
    url: str
    """Where `bench weights fetch` downloads it."""
    licence: str
    """Terms under which the publisher offers it."""


class Metric(ABC):
    """A score of single pictures; sees batches and never a path. Averaging happens in bench.summary alone."""

    label: ClassVar[str]
    """The name printed in tables."""
    higher_is_better: ClassVar[bool]
    needs_reference: ClassVar[bool]
    needs_low: ClassVar[bool] = False
    """Compares with the low-light picture: `score` is given that in the place of the reference, on every data set."""
    unit: ClassVar[str] = ""
    decimals: ClassVar[int] = 4
    """Digits behind the point in tables; values are stored unrounded."""
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))
    """Smallest and largest possible value."""
    definition: ClassVar[str]
    """The convention in one line: channel, range, window, parameter set. Printed below tables."""
    source: ClassVar[str]
    """Paper and code the definition follows."""
    files: ClassVar[tuple[ParameterFile, ...]] = ()
    """Files the metric cannot do without."""
    options: ClassVar[Mapping[str, str]] = {}
    """What may follow the colon, each with its meaning; empty where nothing may."""
    caveat: ClassVar[str] = ""
    """What a reader must know of the pictures for which `caveats` is above zero, for the table's notes."""
    undefined: ClassVar[str] = ""
    """When the metric has no value for a picture (it scores NaN then), in words for the table's footnote."""

    @classmethod
    def variant(cls, option: str) -> type[Metric]:
        """The class with the facts of what follows the colon; raises ValueError where that names nothing."""
        return cls

    def __init__(self, option: str, files: Mapping[str, Path], device: torch.device) -> None:
        """Load what scoring needs. `files` maps each ParameterFile's name to its verified place."""
        self.option = option

    @abstractmethod
    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """One float64 value per picture of the batch, shape (N,).

        Raises ValueError with the reason where the metric is undefined (picture smaller than the window).
        """

    def caveats(self, enhanced: Planes) -> Tensor | None:
        """How far each value is in doubt, (N,) in [0, 1], 0 for no doubt; None for a metric without such cases."""
        return None


@dataclass(frozen=True, slots=True)
class Protocol:
    """How pictures reach the metrics; two protocols never share a column."""

    size: str = "native"
    """'native', or 'WIDTHxHEIGHT': low and reference are resized (Pillow bicubic) before enhancement."""
    rounding: str = "8bit"
    """'8bit': metrics see what a saved PNG holds; 'none': they see the method's floats."""

    @property
    def name(self) -> str:
        """Short name for tables and files, e.g. 'native-8bit'."""
        return f"{self.size}-{self.rounding}"


@dataclass(frozen=True, slots=True)
class Record:
    """One value: a picture's score under one method and one metric, or why there is none."""

    method: str
    dataset: str
    protocol: str
    image: str
    metric: str
    value: float | None
    error: str | None
    seconds: float | None = None
    """Share of the metric's time for its batch."""
    caveat: float | None = None
    """How far the value is in doubt, in [0, 1]; what it means says the metric's `caveat`."""


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A method as a table's row."""

    method: str
    """As the user wrote it, e.g. 'gamma:2.2'."""
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Column:
    """A metric on a data set under a protocol, as a table's column, with the facts that formatting needs."""

    dataset: str
    dataset_label: str
    protocol: str
    metric: str
    metric_label: str
    higher_is_better: bool
    unit: str
    decimals: int
    definition: str
    caveat: str = ""
    """What a caveat above zero means, '' for a metric without caveats."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a method reached in a column."""

    mean: float | None
    """Mean over the finite values; None where there is none."""
    n: int
    """How many finite values the mean stands on."""
    failed: int
    """How many pictures gave an error."""
    infinite: int
    """How many values were infinite (PSNR of identical pictures); left out of the mean."""
    ci_low: float | None
    ci_high: float | None
    """95 % bootstrap interval of the mean over pictures."""
    reason: str | None
    """Why the cell is empty or incomplete; None where there is nothing to say."""
    rank: int | None
    """1 for the best mean of the column."""
    mark: str
    """'best': best and separated from every other method; 'tie': best or not separated from the best; '' otherwise."""
    caveats: int = 0
    """How many of the n values carry a caveat."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a refit metric puts pictures into the order of the published one, where a run holds both."""

    refit: Column
    published: Column
    spearman: float
    """Rank correlation over pictures x methods."""
    n: int


@dataclass(frozen=True, slots=True)
class Table:
    """Methods x columns; what reports render."""

    rows: tuple[MethodRow, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[str, Column], Cell]
    """By (method, column)."""
    agreements: tuple[Agreement, ...] = ()

    def cell(self, row: MethodRow, column: Column) -> Cell:
        """The cell of a row and a column."""
        return self.cells[row.method, column]

    def datasets(self) -> Iterator[tuple[str, tuple[Column, ...]]]:
        """Consecutive columns by data set, in table order."""
        for name in dict.fromkeys(column.dataset for column in self.columns):
            yield name, tuple(column for column in self.columns if column.dataset == name)


@dataclass(frozen=True, slots=True)
class Result:
    """A run as reports see it: its table, every record, its manifest and the folder with its pictures."""

    table: Table
    records: Sequence[Record]
    manifest: Mapping[str, Any]
    folder: Path
    thumbnails: Mapping[tuple[str, str, str], Path] = field(default_factory=dict)
    """Small pictures by (data set, picture id, method); 'low' and 'reference' stand among the methods."""


class Report(ABC):
    """Renders a Result as one text file; never sees a tensor."""

    filename: ClassVar[str]
    """File written into the run's folder."""
    label: ClassVar[str]
    """What it is, in one line."""

    @abstractmethod
    def render(self, result: Result) -> str:
        """The whole file as text; the same Result always gives the same text."""
