"""Galleries of the page: thumbnails with their values, and the best and worst pictures of each metric."""

from __future__ import annotations

import math
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.contracts import Column, Record, Result

from ._sheet import DASH, Line, Sheet, natural, number, one_line, plain

SHOWN = 40
"""Rows of a gallery that are laid out at once; the others follow when asked for."""
EXTREMES = 5
"""How many best and worst pictures of a metric are named at most."""
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
_BESIDES = ("low", "reference")
"""Thumbnails that are no method's output."""

Shown = Mapping[str, Mapping[tuple[str, str, str], Record]]
"""Records of a data set's pictures by picture, then (method, protocol, metric)."""


@dataclass(frozen=True, slots=True)
class Value:
    """One metric of one picture."""

    label: str
    text: str
    flag: str
    """'best' or 'worst' among the methods on this picture, or ''."""
    error: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One thumbnail with the values beneath it."""

    method: str
    """As the user wrote it; 'low' or 'reference' for what no method made."""
    views: tuple[str, ...]
    """Names under which the same picture is kept, the first that exists is shown."""
    title: str
    source: Markup
    """Data URI, '' where no picture was kept; nothing in it can need escaping."""
    values: tuple[Value, ...]
    failed: str
    """The reason, where the picture has no value at all for one reason."""
    always: bool
    """Low and reference stay when methods are filtered."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A gallery's row."""

    id: str
    tiles: tuple[Tile, ...]
    difficulty: tuple[str, ...]
    """Mean over methods of each metric, turned so that more is harder; 'none' without values."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of a data set that thumbnails were kept of."""

    slug: str
    """Of the sheet that it stands in."""
    dataset: str
    base: str
    """Size and rounding of its pictures: the protocol's name without a task."""
    columns: tuple[Column, ...]
    """What single pictures have values of: the quality metrics, and scores of tasks that are means over pictures."""
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Extreme:
    """A picture that one method does best or worst on."""

    image: str
    title: str
    """Of the method."""
    method: str
    text: str
    place: tuple[int, int] | None
    """Row and tile in the gallery, None where the picture is not in it."""
    pictured: bool
    """Whether that tile has a thumbnail."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """Both ends of one metric."""

    column: Column
    worst: tuple[Extreme, ...]
    best: tuple[Extreme, ...]


class Scored:
    """What the page says of single pictures, in one pass: a run may have millions of records, few are kept."""

    def __init__(self, result: Result) -> None:
        """Keep records of pictures that have thumbnails, and each column's ends.

        Scores of tasks stand with the protocol that made their pictures; the row without enhancement has no ends.
        """
        kept = {(dataset, image) for dataset, image, _ in result.thumbnails}
        rows = [row for row in result.table.rows if row.kind != "none"] or result.table.rows
        places = {row.method: at for at, row in enumerate(rows)}
        better = {(one.dataset, one.protocol, one.metric): one.higher_is_better for one in result.table.columns}
        pictures: defaultdict[tuple[str, str], defaultdict[str, dict[tuple[str, str, str], Record]]]
        pictures = defaultdict(lambda: defaultdict(dict))
        self.pictures: Mapping[tuple[str, str], Shown] = pictures
        """By (data set, size and rounding)."""
        self.columns: set[tuple[str, str, str]] = set()
        """(data set, protocol, metric) of every record."""
        self.ends: defaultdict[tuple[str, str, str], Ends] = defaultdict(Ends)
        for record in result.records:
            column = record.dataset, record.protocol, record.metric
            self.columns.add(column)
            if (record.dataset, record.image) in kept:
                of = pictures[record.dataset, _base(record.protocol)][record.image]
                of[record.method, record.protocol, record.metric] = record
            if record.value is not None and math.isfinite(record.value) and record.method in places:
                value = record.value if better.get(column, True) else -record.value
                self.ends[column].add(value, record.image, places[record.method])


class Ends:
    """The pictures at both ends of a column over all methods, the worst first."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: list[tuple[float, Any, int, str]] = []
        self._count = 0

    def add(self, value: float, image: str, method: int) -> None:
        """Count a value in; the more the better."""
        self._count += 1
        self._kept.append((value, natural(image), method, image))
        if len(self._kept) > 20 * EXTREMES:
            self._kept.sort()
            del self._kept[EXTREMES:-EXTREMES]

    def both(self) -> tuple[list[tuple[float, str, int]], list[tuple[float, str, int]]]:
        """(value, picture, method) of the worst and of the best, from the outermost inwards; no picture in both."""
        count = min(EXTREMES, self._count // 2)
        ordered = [(value, image, method) for value, _, method, image in sorted(self._kept)]
        return ordered[:count], ordered[: -count - 1 : -1]


def _base(protocol: str) -> str:
    return protocol.partition("+")[0]


def galleries(cut: Sequence[Sheet], result: Result, scored: Scored) -> dict[str, Gallery]:
    """A gallery for the first sheet of each data set and size of pictures, by the sheet's slug."""
    found: dict[tuple[str, str], Gallery] = {}
    for sheet in cut:
        place = sheet.dataset, _base(sheet.protocol)
        if place not in found:
            found[place] = _gallery(sheet, result, scored)
    return {gallery.slug: gallery for gallery in found.values() if gallery.pictures}


def gallery_of(sheet: Sheet, shown: Mapping[str, Gallery]) -> Gallery | None:
    """Where the pictures of a sheet are shown, which may be in another sheet of the same data set."""
    place = sheet.dataset, _base(sheet.protocol)
    return next((gallery for gallery in shown.values() if (gallery.dataset, gallery.base) == place), None)


def _gallery(sheet: Sheet, result: Result, scored: Scored) -> Gallery:
    base = _base(sheet.protocol)
    records = scored.pictures.get((sheet.dataset, base), {})
    kept = {(image, method) for dataset, image, method in result.thumbnails if dataset == sheet.dataset}
    columns = tuple(
        column
        for column in result.table.columns
        if column.dataset == sheet.dataset
        and _base(column.protocol) == base
        and (column.dataset, column.protocol, column.metric) in scored.columns
    )
    images = sorted({image for image, _ in kept}, key=natural)
    pictures = tuple(_picture(image, sheet, columns, result.thumbnails, records.get(image, {})) for image in images)
    return Gallery(sheet.slug, sheet.dataset, base, columns, pictures)


def _picture(
    image: str,
    sheet: Sheet,
    columns: Sequence[Column],
    thumbnails: Mapping[tuple[str, str, str], Path],
    records: Mapping[tuple[str, str, str], Record],
) -> Picture:
    flags: dict[tuple[str, Column], str] = {}
    difficulty = []
    shown = []
    for column in columns:
        sign = 1.0 if column.higher_is_better else -1.0
        of = {line.row.method: records.get((line.row.method, column.protocol, column.metric)) for line in sheet.lines}
        values = {
            method: sign * record.value
            for method, record in of.items()
            if record is not None and record.value is not None and not math.isnan(record.value)
        }
        finite = [value for value in values.values() if math.isfinite(value)]
        difficulty.append(plain(-math.fsum(finite) / len(finite)) if finite else "none")
        if any(record is not None for record in of.values()):
            shown.append(column)
        if len(set(values.values())) > 1:
            best, worst = max(values.values()), min(values.values())
            flags |= {(method, column): "best" for method, value in values.items() if value == best}
            flags |= {(method, column): "worst" for method, value in values.items() if value == worst}

    def tile(method: str, title: str, views: tuple[str, ...]) -> Tile:
        values = []
        for column in shown:
            record = records.get((method, column.protocol, column.metric))
            if record is None:
                continue
            error = one_line(record.error or "") or ("no value" if record.value is None else "")
            text = DASH if error or record.value is None else number(record.value, column.decimals)
            values.append(Value(column.metric_label, text, flags.get((method, column), ""), error))
        errors = {value.error for value in values}
        alike = errors.pop() if len(errors) == 1 else ""
        sources = (_data_uri(thumbnails.get((sheet.dataset, image, view))) for view in views)
        source = Markup(next((one for one in sources if one), ""))
        always = method in (unenhanced, *_BESIDES)
        return Tile(method, views, title, source, () if alike else tuple(values), alike, always)

    # The row without enhancement is the low picture: shown once, first, with its values.
    unenhanced = next((line.row.method for line in sheet.lines if line.row.kind == "none"), "")
    others = [line for line in sheet.lines if line.row.method != unenhanced]
    tiles = [tile(line.row.method, line.title, (line.row.method,)) for line in others]
    first = [f"Low ({line.title})" for line in sheet.lines if line.row.method == unenhanced]
    names = (unenhanced, "low") if unenhanced else ("low",)
    tiles.insert(0, tile(unenhanced or "low", first[0] if first else "Low", names))
    if any((dataset, name) == (sheet.dataset, "reference") for dataset, _, name in thumbnails):
        tiles.append(tile("reference", "Reference", ("reference",)))
    return Picture(image, tuple(tiles), tuple(difficulty))


def _data_uri(file: Path | None) -> str:
    """The file's bytes inside an address; '' for a picture that is not there or is of no kind browsers show."""
    if file is None or file.suffix.lower() not in _MIME or not file.is_file():
        return ""
    return f"data:{_MIME[file.suffix.lower()]};base64,{b64encode(file.read_bytes()).decode('ascii')}"


def extremes(sheet: Sheet, scored: Scored, gallery: Gallery | None) -> list[Extremes]:
    """The pictures at both ends of each column over all methods, the row without enhancement left out."""
    shown = {
        (picture.id, tile.method): ((row, place), bool(tile.source))
        for row, picture in enumerate(gallery.pictures if gallery else ())
        for place, tile in enumerate(picture.tiles)
    }
    lines = [line for line in sheet.lines if line.row.kind != "none"] or list(sheet.lines)
    found = []
    for column in sheet.columns:
        ends = scored.ends[column.dataset, column.protocol, column.metric].both()
        if not ends[0]:
            continue
        worst, best = ([_extreme(column, value, image, lines[at], shown) for value, image, at in end] for end in ends)
        found.append(Extremes(column, tuple(worst), tuple(best)))
    return found


def _extreme(
    column: Column, turned: float, image: str, line: Line, shown: Mapping[tuple[str, str], tuple[tuple[int, int], bool]]
) -> Extreme:
    method = line.row.method
    text = number(turned if column.higher_is_better else -turned, column.decimals)
    place, pictured = shown.get((image, method), (None, False))
    return Extreme(image, line.title, method, text, place, pictured)
