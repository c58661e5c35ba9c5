"""What each kind of plug-in promises and the values they exchange; imports nothing of bench.

A plug-in is one file with one public class: `adapters/<name>.py` holds an Adapter, `datasets/<name>.py` a Dataset,
`bench/metrics/<name>.py` a Metric, `bench/tasks/<name>.py` a Task, `reports/<name>.py` a Report,
`bench/figures/<name>.py` a Figure.
Users write `name` or `name:option` (`gamma:2.2`, `outputs:DIR`, `lol:our485`); what follows the colon arrives as
`option`.

One image convention everywhere: RGB float32 tensor (N, 3, H, W), range [0, 1], on any device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from bench.planes import Planes


MAP_PEAK = 1.0
"""Value of a metric's map that is shown white; larger ones are cut."""
REFIT = "_refit"
"""Ending of a metric's second form, scored with parameters that this project fitted and ships."""


class RunStopped(RuntimeError):
    """A run cannot go on; what was recorded stays, and the same command goes on from there."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a data set."""

    id: str
    """Unique in the data set; the file's stem where there is one."""
    low: Path
    """The file the low-light picture comes from (for a synthetic set: the photograph that is darkened)."""
    reference: Path | None = None
    """The file of the normal-light reference, None where the set has none."""
    truth: tuple[Path, ...] = ()
    """Files that say what is in the picture (boxes, mask, second input); empty where no task has a truth."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the two pictures are read from, without repetition; their SHA-256 identify the sample."""
        if self.reference is None or self.reference == self.low:
            return (self.low,)
        return (self.low, self.reference)


class Pair(NamedTuple):
    """A decoded sample: RGB float32 (3, H, W) in [0, 1] each."""

    low: Tensor
    reference: Tensor | None


@dataclass(frozen=True, slots=True)
class Boxes:
    """The objects of a picture that a detector should find, in pixels of the picture as its data set loads it."""

    corners: NDArray[np.float64]
    """(M, 4): left, top, right, bottom; inside the picture, right > left and bottom > top."""
    names: tuple[str, ...]
    """Class of each, by its COCO name where COCO has the class ('motorcycle', 'person', 'dining table')."""
    ignored: NDArray[np.bool_]
    """(M,): COCO's iscrowd; a detection inside such a region counts neither as right nor as wrong."""
    areas: NDArray[np.float64]
    """(M,): what COCO's size ranges go by: the area of the object's outline, or of its box where none is known."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about a picture besides how it should look; what tasks are scored against."""

    size: tuple[int, int]
    """Width and height of the picture that boxes and mask belong to."""
    boxes: Boxes | None = None
    """None where objects are not annotated; an annotated picture without objects has Boxes of length 0."""
    mask: NDArray[np.bool_] | None = None
    """(H, W): True on the salient object."""
    second: Tensor | None = None
    """(3, H, W) in [0, 1]: depth or thermal picture of the same scene, handed to the model as it is."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Kinds of pictures that scores are also given for, e.g. {'light': 'twilight', 'place': 'outdoor'}."""


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

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the set has a truth for: 'detection', 'saliency'."""
        return ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the annotated classes, in the order tables show them; empty without boxes."""
        return ()

    def truth(self, sample: Sample) -> Truth:
        """What is in the picture; raises ValueError or OSError naming file and line."""
        raise ValueError(f"{self.label} has no truth for any task")


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
    noise: ClassVar[float] = 0
    """How far the value of one picture moves, at most, between devices, thread counts and library versions; in the
    metric's unit, measured (docs/gate.md). A gate takes smaller differences for none."""
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

    def spatial(self, enhanced: Planes, reference: Planes | None) -> Tensor | None:
        """Where a picture differs, (N, H, W) in the metric's own unit; None for a metric without such a map."""
        return None

    def caveats(self, enhanced: Planes) -> Tensor | None:
        """How far each value is in doubt, (N,) in [0, 1], 0 for no doubt; None for a metric without such cases."""
        return None


Arrays = Mapping[str, NDArray[Any]]
"""What a model says of one picture, by name; stored with the run."""


@dataclass(frozen=True)
class Measured:
    """One score of a task over a set of pictures, as a function of how often each of them counts.

    Most scores of tasks are no means over pictures (average precision, the best F-measure over thresholds); as a
    function of weights they can be resampled all the same.
    """

    name: str
    """As the column's metric, e.g. 'map', 'ap:bicycle', 'maxf'."""
    label: str
    higher_is_better: bool
    definition: str
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """(R, N) weights, not negative, one row per resample, to (R,) values; NaN where the weights leave nothing."""
    group: str = ""
    """'' for the main table, otherwise the table it stands in: 'AP by class', 'mAP by light'."""
    decimals: int = 4
    unit: str = ""
    support: int | None = None
    """How many of the pictures hold what is scored (a class, a kind of light); None for all of them."""
    fewest: int = 6
    """Support below which no method is called better: resamples of few pictures differ too little."""
    values: NDArray[np.float64] | None = None
    """(N,) where the score is the mean of a value per picture; it is then stored and tested like a metric."""


class Scene(NamedTuple):
    """A picture that a task's model learns from."""

    id: str
    picture: Tensor
    """(3, H, W) in [0, 1], at the truth's size."""
    truth: Truth


class Predictor(ABC):
    """A loaded model of a task."""

    @abstractmethod
    def predict(self, enhanced: Tensor, truths: Sequence[Truth], ids: Sequence[str]) -> list[Arrays]:
        """What the model says of each picture of a batch (N, 3, H, W) in [0, 1].

        Coordinates are in pixels of the truth's size, which differs from the batch's where the protocol resizes.
        Besides that the model sees only the truths' second inputs.
        """


class Task(ABC):
    """What comes after enhancement: a model that looks at the pictures, and how its answers are scored.

    `bench/tasks/<name>.py` holds one; users write `--tasks detection` or `--tasks detection:MODEL`. Neither the module
    nor the constructor imports or loads a model.
    """

    label: ClassVar[str]
    source: ClassVar[str]
    """Paper and code the scores follow."""
    files: ClassVar[tuple[ParameterFile, ...]] = ()
    """Models that the task takes when the user names none and that this project may not ship."""
    size: ClassVar[str]
    """Size of the pictures that the model sees where the user gives none: WIDTHxHEIGHT."""
    options: ClassVar[str]
    """What may follow the colon, in one line."""
    trained_as: ClassVar[str] = ""
    """What `bench train` calls its model: 'detector', 'saliency'; '' where none is trained here."""
    headline: ClassVar[tuple[str, str]]
    """Name and label of its main score, which stands with a reason where no model could look at the pictures."""

    def __init__(self, option: str = "", size: str = "", files: Mapping[str, Path] | None = None) -> None:
        """`files` maps the names of those of `files` that are on this machine; raises ValueError for a bad option."""
        self.option = option
        self.size_given = size
        self.found = files or {}

    @abstractmethod
    def model(self, dataset: Dataset, method: str) -> tuple[Path, ...]:
        """Files of the model that looks at a method's pictures of a data set.

        Raises LookupError with the reason and the way out where there is none.
        """

    @abstractmethod
    def protocol(self, dataset: Dataset) -> str:
        """The part of the protocol's name that the task adds, e.g. 'pretrained-yolov8n-640x480'."""

    @abstractmethod
    def load(self, dataset: Dataset, method: str, device: torch.device) -> Predictor:
        """The model, ready to predict; raises ValueError, OSError, RuntimeError or ImportError saying why not."""

    def assess(self, prediction: Arrays, truth: Truth) -> Arrays:
        """What is stored of a prediction: itself and, where scoring is slow, what one picture contributes to scores."""
        return prediction

    @abstractmethod
    def keep(self, truth: Truth, classes: Sequence[str]) -> Arrays:
        """What is stored of a picture's truth, for scoring without the data set and for drawing; no strings."""

    @classmethod
    def fit(
        cls,
        learned: Iterable[Scene],
        held_out: Iterable[Scene],
        classes: Sequence[str],
        words: Sequence[str],
        start: Path | None,
        out: Path,
        name: str,
        seed: int,
        device: torch.device,
        notes: Mapping[str, Any],
    ) -> Path:
        """Train a model on pictures, write it as `out/<name>` with an ending of its own and return that file.

        `words` are settings as 'name=value', `start` a model to begin with. For a task whose model is trained by
        another library; one with a recipe of ours names it as `recipe`, as an adapter does.
        """
        raise ValueError(f"{cls.label} has no model that is trained here")

    @classmethod
    @abstractmethod
    def measure(
        cls,
        truths: Sequence[Arrays],
        predictions: Sequence[Arrays | None],
        classes: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        confidence: float | None = None,
    ) -> list[Measured]:
        """Every score over N pictures; a picture without prediction (None) is given weight 0 by the caller.

        `truths` are what `keep` returned, `predictions` what `assess` returned, `groups` the N values of each kind of
        group. Which scores there are depends on truths, classes and groups alone. `confidence` replaces the least one
        at which an answer counts, where the task has such a threshold.
        """


@dataclass(frozen=True, slots=True)
class Protocol:
    """How pictures reach the metrics; two protocols never share a column."""

    size: str = "native"
    """'native', or 'WIDTHxHEIGHT': low and reference are resized (Pillow bicubic) before enhancement."""
    rounding: str = "8bit"
    """'8bit': metrics see what a saved PNG holds; 'none': they see the method's floats."""
    tile: int = 0
    """Side of the tiles in which networks see pictures that are larger; 0: always whole."""

    @property
    def name(self) -> str:
        """Short name for tables and files, e.g. 'native-8bit', 'native-8bit-tile1024'."""
        return f"{self.size}-{self.rounding}" + (f"-tile{self.tile}" if self.tile else "")


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
    group: str = ""
    """Which of several tables of the same data set and protocol the column stands in; '' for the main one."""
    noise: float = 0
    """How far one picture's value moves between machines; see Metric. 0 where it was not measured."""


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
    gain: float | None = None
    """Difference of the mean to the row without enhancement, over the pictures both have; None in that row."""
    gain_low: float | None = None
    gain_high: float | None = None
    """95 % bootstrap interval of that difference, the same pictures drawn for both."""
    leaked: int = 0
    """How many of the pictures, or near copies of them, were seen in training; what the table's leaks say in full."""


class Copy(NamedTuple):
    """A picture that is among those of another set."""

    image: str
    """Its id."""
    seen: str
    """Id of the nearest picture of the other set."""
    distance: int
    """In how many of 64 bits the perceptual hashes of the two differ."""
    exact: bool
    """Whether the pixels are the same; otherwise it is a near copy."""
    more: int = 0
    """How many further pictures of the other set are near copies too."""


LEAK = "¶"
"""Mark of a value on pictures that were seen in training."""
LEAK_MEANS = "seen in training, as they are or as near copies: the value does not say how a method does on new pictures"


@dataclass(frozen=True, slots=True)
class Leak:
    """Pictures of a data set that were seen when weights behind its values were trained or validated."""

    methods: tuple[str, ...]
    """Rows it concerns."""
    dataset: str
    protocol: str
    """Of the columns it concerns; '' for every column of the data set."""
    model: str
    """Whose weights: '' for the methods' own, otherwise the task whose model has seen the pictures."""
    pictures: int
    """How many pictures the data set has here."""
    copies: tuple[Copy, ...]

    def concerns(self, method: str, column: Column) -> bool:
        """Whether it bears on a cell."""
        return method in self.methods and column.dataset == self.dataset and self.protocol in ("", column.protocol)

    def said(self, titles: Mapping[str, str], most: int = 6) -> str:
        """In words, naming at most so many pictures of each kind; `titles` name the methods."""
        who = ", ".join(titles.get(method, method) for method in self.methods)
        ids = {kind: [one.image for one in self.copies if one.exact == kind] for kind in (True, False)}
        kinds = [
            f"{name} {', '.join(found[:most])}" + (f" and {len(found) - most} more" if len(found) > most else "")
            for name, found in (("the same", ids[True]), ("near copies", ids[False]))
            if found
        ]
        whose = f"the {self.model} model behind {who}" if self.model else who
        return f"{whose}: {len(self.copies)} of {self.pictures} pictures ({'; '.join(kinds)})"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a refit metric puts pictures into the order of the published one, where a run holds both."""

    refit: Column
    published: Column
    spearman: float
    """Rank correlation over pictures x methods."""
    n: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Mean ranks of the methods over blocks that all of them have, for one metric; what a Demšar diagram draws."""

    columns: tuple[Column, ...]
    """One column, ranked over its pictures; or one per data set, the columns of one metric under one protocol."""
    over: str
    """What the blocks are: 'pictures' or 'data sets'."""
    n: int
    """How many blocks there are."""
    methods: tuple[str, ...]
    """Best mean rank first; the table's order where ranks are equal."""
    ranks: tuple[float, ...]
    """Mean rank of each of `methods`: 1 for a method that is best in every block; equal values share their ranks."""
    left_out: tuple[str, ...] = ()
    """Methods that lack more than half of the blocks."""
    chi2: float | None = None
    """Friedman's statistic, corrected for ties; None for fewer than 5 blocks or 3 methods, as the next three."""
    p: float | None = None
    """Its p-value by the chi-square distribution with k - 1 degrees of freedom."""
    f: float | None = None
    """Iman and Davenport's statistic; infinite where all blocks agree."""
    f_p: float | None = None
    """Its p-value by the F distribution with k - 1 and (k - 1)(n - 1) degrees of freedom."""
    critical_difference: float | None = None
    """Nemenyi's at α = 0.05: mean ranks that differ by at least this much are separated; None below 5 blocks."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Largest runs of two or more methods, best first, that the critical difference does not separate: a diagram's
    bars. They may overlap; empty where there is no critical difference or every method is separated."""

    def rank(self, method: str) -> float | None:
        """Mean rank of a method, None where it is left out."""
        return dict(zip(self.methods, self.ranks, strict=True)).get(method)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two methods in one column, picture by picture."""

    column: Column
    first: str
    second: str
    """A row below `first`."""
    n: int
    """How many pictures have values of both."""
    wins: int
    """Pictures on which the first is better, whichever direction that is; an infinite value beats finite ones."""
    ties: int
    """Pictures with equal values."""
    losses: int
    test: str
    """'wilcoxon' (signed-rank), or 'sign' (exact) where fewer than six pictures differ."""
    p: float
    """Two-sided p-value of that test."""
    p_holm: float
    """The same after Holm's correction over all pairs of the column; compare it with 0.05."""
    effect: float
    """Matched-pairs rank-biserial correlation in [-1, 1]: 1 where the first always wins, 0 where all are ties."""
    shift: float | None
    """Hodges-Lehmann estimate of the first's value less the second's, in the metric's unit and not turned by its
    direction; None where no difference is finite."""


@dataclass(frozen=True, slots=True)
class Table:
    """Methods x columns; what reports render."""

    rows: tuple[MethodRow, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[str, Column], Cell]
    """By (method, column)."""
    agreements: tuple[Agreement, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    """Over pictures for each column of a main table, in table order; then over data sets for each metric."""
    pairwise: tuple[Comparison, ...] = ()
    """Every pair of methods in each column of a main table that has a value per picture, in table order."""
    leaks: tuple[Leak, ...] = ()
    """What of the pictures was seen in training."""

    def cell(self, row: MethodRow, column: Column) -> Cell:
        """The cell of a row and a column."""
        return self.cells[row.method, column]

    def datasets(self) -> Iterator[tuple[str, tuple[Column, ...]]]:
        """Consecutive columns by data set, in table order."""
        for name in dict.fromkeys(column.dataset for column in self.columns):
            yield name, tuple(column for column in self.columns if column.dataset == name)


@dataclass(frozen=True)
class View:
    """A picture kept for looking at: a method's result, 'low' or 'reference'."""

    full: Path | None = None
    """WebP at full size below the run folder."""
    error: Path | None = None
    """WebP, grey: 8-bit level of the absolute difference to the reference, mean over R, G and B, not stretched."""
    histogram: Arrays | None = None
    """How many pixels have each 8-bit level: 'luma' (256,) of BT.601 luma, 'red', 'green', 'blue' (256,)."""
    answers: Mapping[str, Arrays] = field(default_factory=dict)
    """What each task's model said of the picture."""
    maps: Mapping[str, Path] = field(default_factory=dict)
    """WebP, grey: where the picture differs by a metric that has such a map, 0 to MAP_PEAK, by the metric's name."""


@dataclass(frozen=True, slots=True)
class Result:
    """A run as reports see it: its table, every record, its manifest and the folder with its pictures."""

    table: Table
    records: Sequence[Record]
    manifest: Mapping[str, Any]
    folder: Path
    thumbnails: Mapping[tuple[str, str, str], Path] = field(default_factory=dict)
    """Small pictures by (data set, picture id, method); 'low' and 'reference' stand among the methods."""
    views: Mapping[tuple[str, str, str], View] = field(default_factory=dict)
    """What else is kept of the same pictures, by the same keys."""
    truths: Mapping[tuple[str, str, str], Arrays] = field(default_factory=dict)
    """What the answers are scored against, by (data set, picture id, task), of the same pictures."""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Annotated classes of each data set; boxes of answers and truths name them by place."""
    seconds: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    """How long each method took for each picture, by (method, data set)."""


class Box(NamedTuple):
    """A part of a picture that a figure enlarges, in pixels from the top left corner."""

    left: int
    top: int
    width: int
    height: int
    image: str = ""
    """Id of the only picture it is meant for; '' for all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks of a figure; what is left empty the figure chooses."""

    dataset: str = ""
    methods: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    task: str = ""
    boxes: tuple[Box, ...] = ()
    columns: int | None = None
    """Pictures or panels side by side."""
    width: float = 7.16
    """Inches: 7.16 is a two-column page of IEEE, 3.5 one column."""
    peak: int | None = None
    """8-bit level of the brightest colour of error maps."""
    confidence: float | None = None
    """Least one at which a detection is drawn."""


class Figure(ABC):
    """Draws a Result for print; knows no data set and no method."""

    label: ClassVar[str]
    """What it shows, in one line."""
    heeds: ClassVar[frozenset[str]]
    """Fields of Wanted that mean something to it besides methods and width."""

    @abstractmethod
    def render(self, result: Result, wanted: Wanted, ending: str) -> bytes:
        """The file's content as 'pdf', 'png' or 'svg'; the same Result and wishes always give the same bytes.

        Raises LookupError for a name that the run does not have (with the nearest) and ValueError with the reason
        where the run holds nothing to draw.
        """


@dataclass(frozen=True, slots=True)
class PaperColumn:
    """A column of a paper's results table: a metric on a data set, as the paper names them."""

    dataset: str
    metric: str
    unit: str
    higher_is_better: bool
    decimals: int
    """Digits behind the point that the paper prints."""
    protocol: str
    """The paper's, in this project's words, e.g. '384x384-8bit'."""
    own: tuple[Column, ...] = ()
    """What stands beside it: a column of the run, several where the paper averages data sets, none for a gap."""
    notes: tuple[str, ...] = ()
    """What holds for the whole column: another protocol, an error of the paper, why nothing was measured."""


@dataclass(frozen=True, slots=True)
class PaperCell:
    """A value as the paper prints it and the run's own beside it."""

    printed: str
    """As printed, '' where the paper has no value."""
    own: float | None
    """The run's mean in the paper's unit, unrounded; None is a gap that the notes of cell, row or column explain."""
    low: float | None = None
    high: float | None = None
    """95 % bootstrap interval of `own`."""
    n: int = 0
    """How many pictures `own` stands on."""
    place: int = 0
    """1, 2 or 3 among the run's methods in this table, 0 for the others and where nobody is behind."""
    tied: bool = False
    """Not separated from the first of that place, or that one itself."""
    printed_notes: tuple[str, ...] = ()
    own_notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Own value less the printed one; None where either is missing."""
        return self.own - float(self.printed) if self.own is not None and self.printed else None


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A method's values, in the order of the columns."""

    title: str
    method: str
    """What stands beside it in the run, e.g. 'drgn:wo_msr'; '' for a gap."""
    cells: tuple[PaperCell, ...]
    notes: tuple[str, ...] = ()
    in_paper: bool = True
    """False for a method of the run that the paper's table does not have."""


@dataclass(frozen=True, slots=True)
class PaperPart:
    """Columns of a paper's table that share their rows."""

    title: str
    printed: str
    """What the paper calls the table, e.g. 'Table 4a'."""
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...] = ()
    """What holds for the whole part."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A results table of a paper with a run beside it."""

    name: str
    """As users write it, e.g. 'drgn/2'."""
    title: str
    paper: str
    parts: tuple[PaperPart, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The run's."""


class TableFormat(ABC):
    """Renders a PaperTable as one text file; `reports/tables/<name>.py` holds one."""

    ending: ClassVar[str]
    """Of the file, e.g. 'tex'."""
    label: ClassVar[str]
    """What it is, in one line."""

    @abstractmethod
    def render(self, table: PaperTable) -> str:
        """The whole file as text; the same table always gives the same text."""


class Report(ABC):
    """Renders a Result as one text file; never sees a tensor."""

    filename: ClassVar[str]
    """File written into the run's folder."""
    label: ClassVar[str]
    """What it is, in one line."""

    @abstractmethod
    def render(self, result: Result) -> str:
        """The whole file as text; the same Result always gives the same text."""

    def pieces(self, result: Result) -> Iterator[str]:
        """The same text piece by piece; for a file that grows with the pictures."""
        yield self.render(result)
