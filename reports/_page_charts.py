"""Charts of the page as numbers: where dots, violins, lines and names stand, in pixels of each drawing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Column, MethodRow, Ranking, Record

from ._sheet import Line, Sheet, arrow, number

WIDTH, LEFT, RIGHT, TOP, STEP, BOTTOM = 300.0, 96.0, 288.0, 8.0, 19.0, 22.0
"""Pixels of a row plot: width, both ends of its axis, room above, between and below the methods."""
PROFILE_WIDTH, PROFILE_LEFT, PROFILE_RIGHT, PROFILE_TOP, PROFILE_BOTTOM = 640.0, 34.0, 520.0, 12.0, 212.0
RANKS_WIDTH, RANKS_LEFT, RANKS_RIGHT, RANKS_TOP = 460.0, 124.0, 336.0, 44.0
SPEED_WIDTH, SPEED_LEFT, SPEED_RIGHT, SPEED_TOP, SPEED_BOTTOM = 460.0, 46.0, 448.0, 16.0, 222.0
COLOURS = 10
"""How many colours lines and points go through before the first comes again."""
VIOLIN_FROM = 6
"""Fewer values than this are drawn as points: a density would invent what lies between them."""
GRID = 48
"""Places at which a violin's density is evaluated."""

Values = Mapping[tuple[str, str, str, str], Sequence[float]]
"""Finite values of the single pictures, ascending, by (data set, protocol, metric, method)."""
Median = Mapping[tuple[str, str], float]
"""Seconds per picture by (method, data set)."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight scale between two places of a drawing."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]
    """Place and text."""

    def at(self, value: float) -> float:
        """The place of a value, to a tenth of a pixel."""
        return round(self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low), 1)


@dataclass(frozen=True, slots=True)
class Dot:
    """A method's mean and interval on a plot."""

    method: str
    title: str
    label: str
    """The title, shortened to the room at the left."""
    y: float
    x: float | None
    low: float | None
    high: float | None
    mark: str
    says: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Means and intervals of one column."""

    column: Column
    height: float
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Tukey's box plot: quartiles, whiskers to the last value within 1.5 interquartile ranges, values beyond."""

    low: float
    first: float
    median: float
    third: float
    high: float
    beyond: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Violin:
    """How a method's values spread over the pictures, as a row of a plot."""

    method: str
    title: str
    label: str
    y: float
    outline: str
    """SVG path, '' where the values are too few or all alike."""
    box: Box | None
    points: tuple[float, ...]
    """Single values: those beyond the whiskers, or all of them where there are few."""
    says: str


@dataclass(frozen=True, slots=True)
class Spread:
    """Violins of one column."""

    column: Column
    height: float
    violins: tuple[Violin, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a line or scatter chart."""

    x: float
    y: float
    says: str


@dataclass(frozen=True, slots=True)
class Course:
    """A method's line through the metrics."""

    method: str
    title: str
    label: str
    colour: int
    path: str
    marks: tuple[Mark, ...]
    label_x: float
    label_y: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Every metric from 0 (worst mean of the methods) to 1 (best), one line for each method."""

    height: float
    stops: tuple[tuple[float, str], ...]
    """Place and label of each metric."""
    slanted: bool
    levels: tuple[tuple[float, str], ...]
    courses: tuple[Course, ...]


@dataclass(frozen=True, slots=True)
class Runner:
    """A method on the chart of speed against quality."""

    method: str
    title: str
    label: str
    colour: int
    mark: Mark
    label_x: float
    label_y: float
    anchor: str
    led: bool
    """Whether the label stands so far off that a line leads to it."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Median time for a picture against the mean of one column; better values are up."""

    column: Column
    across: Axis
    up: Axis
    runners: tuple[Runner, ...]
    unenhanced: tuple[str, str, float] | None
    """Method, title and height of the row without enhancement, which takes no time worth a place."""


@dataclass(frozen=True, slots=True)
class Rank:
    """A method on a critical-difference diagram: where it stands on the axis and where its name is."""

    method: str
    title: str
    label: str
    x: float
    y: float
    end: float
    anchor: str
    says: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """Demšar's diagram: mean ranks on an axis, bars under methods that the critical difference does not separate."""

    title: str
    unit: str
    """How many blocks of what, and Friedman's test."""
    height: float
    axis: Axis
    ranks: tuple[Rank, ...]
    bars: tuple[tuple[float, float, float], ...]
    """Both ends and height."""
    difference: tuple[float, float, str]
    """Both ends of the critical difference, drawn above the axis, and its size."""


def plots(sheet: Sheet) -> list[Plot]:
    """One plot of means for each column that has any."""
    found = [_plot(column, place, sheet.lines) for place, column in enumerate(sheet.columns)]
    return [plot for plot in found if any(dot.x is not None for dot in plot.dots)]


def _plot(column: Column, place: int, lines: Sequence[Line]) -> Plot:
    cells = [line.entries[place].cell for line in lines]
    axis = linear(
        [end for cell in cells for end in (cell.mean, cell.ci_low, cell.ci_high) if end is not None],
        (LEFT, RIGHT),
        column.decimals,
    )

    def x(value: float | None) -> float | None:
        return None if value is None else axis.at(value)

    dots = []
    for at, (line, cell) in enumerate(zip(lines, cells, strict=True)):
        entry = line.entries[place]
        interval = f" [{', '.join(entry.interval)}]" if entry.interval else ""
        dots.append(
            Dot(
                method=line.row.method,
                title=line.title,
                label=shortened(line.title),
                y=TOP + STEP * (at + 0.5),
                x=x(cell.mean),
                low=x(cell.ci_low),
                high=x(cell.ci_high),
                mark=cell.mark,
                says=f"{line.title}: {entry.mean}{interval}, n = {cell.n}"
                if entry.mean
                else f"{line.title}: {entry.remark}",
            )
        )
    return Plot(column, TOP + STEP * len(lines) + BOTTOM, tuple(dots), axis.ticks)


def shortened(title: str, room: int = 15) -> str:
    """A title that fits beside a chart."""
    return title if len(title) <= room else title[: room - 1].rstrip() + "…"


def linear(values: Sequence[float], ends: tuple[float, float], decimals: int) -> Axis:
    """An axis over the values that ends at round numbers; 0 to 1 where there are none."""
    steps = _ticks(min(values), max(values)) if values else [0.0, 1.0]
    low, high = min([*values, steps[0]]), max([*values, steps[-1]])
    bare = Axis(low, high, *ends, ())
    digits = max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9)) if len(steps) > 1 else decimals
    if len(steps) > 1 and round((steps[1] - steps[0]) * 10**digits, 6) % 1:
        digits += 1  # a step of 2.5
    return Axis(low, high, *ends, tuple((bare.at(step), number(step, digits)) for step in steps))


def _ticks(low: float, high: float) -> list[float]:
    """About four round numbers that cover [low, high]."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # equal but for rounding: no step could tell them apart
        room = abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def by_method(records: Iterable[Record]) -> Values:
    """Finite values of the pictures; ascending, so that no sum depends on the order of the records."""
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for record in records:
        if record.value is not None and math.isfinite(record.value):
            key = record.dataset, record.protocol, record.metric, record.method
            found.setdefault(key, []).append(record.value)
    return {key: sorted(values) for key, values in found.items()}


def spreads(sheet: Sheet, values: Values) -> list[Spread]:
    """Violins for each column whose values belong to single pictures, of which there is more than one."""
    found = []
    for column in sheet.columns:
        of = {line.row.method: values.get((*_place(column), line.row.method), ()) for line in sheet.lines}
        if max(map(len, of.values()), default=0) > 1:
            found.append(_spread(column, sheet.lines, of))
    return found


def _place(column: Column) -> tuple[str, str, str]:
    return column.dataset, column.protocol, column.metric


def _spread(column: Column, lines: Sequence[Line], values: Mapping[str, Sequence[float]]) -> Spread:
    axis = linear([end for of in values.values() if of for end in (of[0], of[-1])], (LEFT, RIGHT), column.decimals)
    step = STEP + 5
    violins = []
    for at, line in enumerate(lines):
        of, y = values[line.row.method], TOP + step * (at + 0.5)
        many = len(of) >= VIOLIN_FROM
        box = boxed(of) if many else None
        outline = _outline(of, axis, y) if many and of[-1] > of[0] else ""
        shown = tuple(axis.at(value) for value in (box.beyond if box else of))
        quartiles = (
            f"median {number(box.median, column.decimals)}, quartiles {number(box.first, column.decimals)} and "
            f"{number(box.third, column.decimals)}, "
            if box
            else ""
        )
        says = f"{line.title}: {quartiles}n = {len(of)}" if of else f"{line.title}: no value"
        violins.append(
            Violin(
                line.row.method, line.title, shortened(line.title), y, outline, box and _placed(box, axis), shown, says
            )
        )
    return Spread(column, TOP + step * len(lines) + BOTTOM, tuple(violins), axis.ticks)


def _placed(box: Box, axis: Axis) -> Box:
    low, first, median, third, high = (axis.at(one) for one in (box.low, box.first, box.median, box.third, box.high))
    return Box(low, first, median, third, high, tuple(axis.at(one) for one in box.beyond))


def boxed(values: Sequence[float]) -> Box:
    """Quartiles by linear interpolation and Tukey's whiskers of ascending values."""
    first, median, third = (float(one) for one in np.percentile(values, (25, 50, 75)))
    reach = 1.5 * (third - first)
    within = [value for value in values if first - reach <= value <= third + reach]
    beyond = tuple(value for value in values if not first - reach <= value <= third + reach)
    return Box(min(within[0], first), first, median, third, max(within[-1], third), beyond)


def density(values: Sequence[float], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel density with Silverman's bandwidth, 0.9 min(s, IQR / 1.34) n^(-1/5), at the places of `grid`."""
    given = np.asarray(values)
    first, third = np.percentile(given, (25, 75))
    deviation = given.std(ddof=1)
    bandwidth = 0.9 * min(deviation, (third - first) / 1.34 or deviation) * len(given) ** -0.2
    kernel = np.exp(-0.5 * ((grid[:, None] - given) / bandwidth) ** 2)
    return np.asarray(kernel.mean(axis=1) / (bandwidth * math.sqrt(2 * math.pi)))


def _outline(values: Sequence[float], axis: Axis, y: float) -> str:
    """A violin from the smallest to the largest value, as high as its row where it is densest."""
    grid = np.linspace(values[0], values[-1], GRID)
    found = density(values, grid)
    half = 9.5 * found / found.max()
    upper = [f"{axis.at(float(x))} {y - up:.1f}" for x, up in zip(grid, half, strict=True)]
    lower = [f"{axis.at(float(x))} {y + down:.1f}" for x, down in zip(grid, half, strict=True)]
    return f"M{'L'.join(upper)}L{'L'.join(reversed(lower))}Z"


def profile(sheet: Sheet) -> Profile | None:
    """The line chart of papers; None for fewer than three metrics that tell two methods apart."""
    scores = {}
    for place, column in enumerate(sheet.columns):
        means = {line.row.method: line.entries[place].cell.mean for line in sheet.lines}
        known = {method: mean for method, mean in means.items() if mean is not None}
        low, high = min(known.values(), default=0.0), max(known.values(), default=0.0)
        if high > low:
            rising = {method: (mean - low) / (high - low) for method, mean in known.items()}
            better = column.higher_is_better
            scores[place] = {method: score if better else 1 - score for method, score in rising.items()}
    if len(scores) < 3:
        return None
    gap = (PROFILE_RIGHT - PROFILE_LEFT - 24) / (len(scores) - 1)
    xs = {place: round(PROFILE_LEFT + 12 + gap * at, 1) for at, place in enumerate(scores)}
    up = Axis(0, 1, PROFILE_BOTTOM, PROFILE_TOP, ())
    courses = []
    for colour, line in enumerate(sheet.lines):
        marks, path, joined = [], "", False
        for place, of in scores.items():
            score = of.get(line.row.method)
            if score is not None:
                entry = line.entries[place]
                says = f"{line.title}: {entry.column.metric_label} {entry.mean}, {score:.2f} of the range"
                marks.append(Mark(xs[place], up.at(score), says))
                path += f"{'L' if joined else 'M'}{xs[place]} {up.at(score)}"
            joined = score is not None
        if marks:
            label = shortened(line.title, 18)
            at = marks[-1].x + 10, marks[-1].y
            courses.append(Course(line.row.method, line.title, label, colour % COLOURS, path, tuple(marks), *at))
    heights = apart([course.label_y for course in courses], 12, PROFILE_TOP, PROFILE_BOTTOM)
    labels = [f"{sheet.columns[place].metric_label} {arrow(sheet.columns[place])}" for place in scores]
    slanted = max(map(len, labels)) * 5.6 > gap
    return Profile(
        height=PROFILE_BOTTOM + (18 if not slanted else 16 + 3.2 * max(map(len, labels))),
        stops=tuple(zip(xs.values(), labels, strict=True)),
        slanted=slanted,
        levels=tuple((up.at(level), text) for level, text in ((0, "worst"), (0.5, ""), (1, "best"))),
        courses=tuple(
            replace(one, label_x=PROFILE_RIGHT + 4, label_y=y) for one, y in zip(courses, heights, strict=True)
        ),
    )


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved as little as makes them `gap` apart, within [low, high] as long as there is room."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    last = low - gap
    for at in order:
        last = moved[at] = max(moved[at], last + gap)
    last = max(high, low + gap * (len(places) - 1)) + gap
    for at in reversed(order):
        last = moved[at] = min(moved[at], last - gap)
    return [round(one, 1) for one in moved]


def medians(seconds: Mapping[tuple[str, str], Sequence[float]]) -> Median:
    """Median time for a picture, which the first, slow one does not move."""
    found = {key: statistics.median(times) for key, times in seconds.items() if times}
    return {key: median for key, median in found.items() if median > 0}


def timed(row: MethodRow) -> bool:
    """Whether a method's time is its own: pictures read from a folder are not timed, no enhancement takes none."""
    return row.kind not in ("none", "outputs")


def speeds(sheet: Sheet, median: Median) -> list[Speed]:
    """Speed against each column of a main table, where two methods have both."""
    if sheet.group:
        return []
    found = []
    for place, column in enumerate(sheet.columns):
        both = [
            (colour, line, median[line.row.method, sheet.dataset])
            for colour, line in enumerate(sheet.lines)
            if timed(line.row)
            and (line.row.method, sheet.dataset) in median
            and line.entries[place].cell.mean is not None
        ]
        if len(both) > 1:
            found.append(_speed(column, place, both, sheet.lines))
    return found


def _speed(column: Column, place: int, both: Sequence[tuple[int, Line, float]], lines: Sequence[Line]) -> Speed:
    without = next((line for line in lines if line.row.kind == "none"), None)
    level = without.entries[place].cell.mean if without else None
    means = [mean for _, line, _ in both if (mean := line.entries[place].cell.mean) is not None]
    ends = (SPEED_BOTTOM, SPEED_TOP) if column.higher_is_better else (SPEED_TOP, SPEED_BOTTOM)
    up = linear([*means, *([level] if level is not None else [])], ends, column.decimals)
    across = logarithmic([1000 * seconds for _, _, seconds in both], (SPEED_LEFT, SPEED_RIGHT))
    runners = []
    for (colour, line, seconds), mean in zip(both, means, strict=True):
        x, y = across.at(math.log10(1000 * seconds)), up.at(mean)
        says = f"{line.title}: {column.metric_label} {line.entries[place].mean}, {1000 * seconds:.3g} ms"
        left = x > SPEED_LEFT + 0.72 * (SPEED_RIGHT - SPEED_LEFT)
        at, anchor = (x - 8, "end") if left else (x + 8, "start")
        label = shortened(line.title, 18)
        runners.append(
            Runner(line.row.method, line.title, label, colour % COLOURS, Mark(x, y, says), at, y, anchor, False)
        )
    heights: list[float] = [0.0] * len(runners)
    for anchor in ("start", "end"):
        side = [at for at, runner in enumerate(runners) if runner.anchor == anchor]
        for at, y in zip(side, apart([runners[at].label_y for at in side], 12, SPEED_TOP, SPEED_BOTTOM), strict=True):
            heights[at] = y
    return Speed(
        column=column,
        across=across,
        up=up,
        runners=tuple(
            replace(one, label_y=y, led=abs(y - one.label_y) > 5) for one, y in zip(runners, heights, strict=True)
        ),
        unenhanced=(without.row.method, without.title, up.at(level)) if without and level is not None else None,
    )


def logarithmic(values: Sequence[float], ends: tuple[float, float]) -> Axis:
    """An axis of decimal logarithms over positive values, from 1, 2 or 5 times a power of ten to another."""
    powers = range(math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 2)
    steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values) * (1 - 1e-9))
    high = min(step for step in steps if step >= max(values) * (1 + 1e-9))
    inside = [step for step in steps if low <= step <= high]
    if len(inside) > 8:
        inside = [step for step in inside if f"{step:e}".startswith("1.")]
    bare = Axis(math.log10(low), math.log10(high), *ends, ())
    return Axis(bare.low, bare.high, *ends, tuple((bare.at(math.log10(step)), f"{step:g}") for step in inside))


def diagrams(rankings: Sequence[Ranking], titles: Mapping[str, str]) -> list[Diagram]:
    """One diagram for each ranking that has a critical difference."""
    return [
        _diagram(ranking, ranking.critical_difference, titles)
        for ranking in rankings
        if ranking.critical_difference is not None
    ]


def _diagram(ranking: Ranking, difference: float, titles: Mapping[str, str]) -> Diagram:
    count = len(ranking.methods)
    bare = Axis(1, count, RANKS_LEFT, RANKS_RIGHT, ())
    step = math.ceil((count - 1) / 12)
    ticks = tuple((bare.at(rank), str(rank)) for rank in range(1, count + 1, step))
    places = {method: bare.at(rank) for method, rank in zip(ranking.methods, ranking.ranks, strict=True)}
    bars = tuple(
        (places[group[0]] - 3, places[group[-1]] + 3, RANKS_TOP + 9 + 6 * at) for at, group in enumerate(ranking.groups)
    )
    first = RANKS_TOP + 26 + 6 * len(bars)
    left = (count + 1) // 2
    ranks = []
    for at, (method, rank) in enumerate(zip(ranking.methods, ranking.ranks, strict=True)):
        title = titles.get(method, method)
        level = at if at < left else count - 1 - at
        ranks.append(
            Rank(
                method=method,
                title=title,
                label=f"{shortened(title, 14)} {rank:.2f}",
                x=places[method],
                y=first + 15 * level,
                end=RANKS_LEFT - 10 if at < left else RANKS_RIGHT + 10,
                anchor="end" if at < left else "start",
                says=f"{title}: mean rank {rank:.2f}",
            )
        )
    column = ranking.columns[0]
    friedman = f", Friedman p {_probability(ranking.p)}" if ranking.p is not None else ""
    return Diagram(
        title=f"{column.metric_label} {arrow(column)}",
        unit=f"{ranking.n} {ranking.over}{friedman}",
        height=first + 15 * (left - 1) + 8,
        axis=replace(bare, ticks=ticks),
        ranks=tuple(ranks),
        bars=bars,
        difference=(bare.at(1), min(bare.at(1 + difference), RANKS_WIDTH), f"CD {difference:.2f}"),
    )


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
