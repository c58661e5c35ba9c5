"""A run beside the papers' tables: what stands where, how it differs, who is best, and why the rest is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bench import plugins
from bench.contracts import (
    Cell,
    Column,
    MethodRow,
    PaperCell,
    PaperColumn,
    PaperPart,
    PaperRow,
    PaperTable,
    Result,
    Table,
    TableFormat,
)
from bench.papers import (
    SPEED,
    DatasetEntry,
    Declared,
    Key,
    Library,
    MetricEntry,
    Paper,
    Part,
    Printed,
    Values,
    protocol_of,
)
from bench.plugins import Spec, near
from bench.store import explained
from bench.summary import ALPHA

FOLDER = "papers"
"""Below the run's folder."""
PLACES = 3

NOT_PRINTED = "the paper prints no value"
NOT_IN_PROJECT = (
    "not measured: no method of this project; its pictures (outputs:DIR) or its code (FILE.py) can be run and named: "
    "--bind NAME=METHOD"
)
NOT_IN_RUN = "not measured: a method of this project that this run does not have; bench list tables says which"


@dataclass(frozen=True)
class Run:
    """A run's table and what the user says is the same under another name."""

    table: Table
    bound: Mapping[str, str]
    """The run's name of a method or data set by the paper's."""

    def row(self, title: str, accepted: Sequence[str]) -> MethodRow | None:
        """The run's method that stands beside a paper's; by its label where this project has none of that name."""
        rows = {row.method: row for row in self.table.rows}
        if self.bound.get(title) in rows:
            accepted = (self.bound[title],)
        if not accepted:
            return next((row for row in self.table.rows if row.label.casefold() == title.casefold()), None)
        return next((rows[name] for name in accepted if name in rows), None)

    def datasets(self, title: str, entry: DatasetEntry) -> list[str]:
        """The run's data sets that may stand beside a paper's, the likeliest first."""
        columns = self.table.columns
        if any(column.dataset == self.bound.get(title) for column in columns):
            return [self.bound[title]]
        alike = [column.dataset for column in columns if column.dataset_label.casefold() == title.casefold()]
        return list(dict.fromkeys((*entry.names, *alike, *entry.similar)))

    def column(self, title: str, entry: DatasetEntry, metrics: Sequence[str], protocol: str) -> Column | None:
        """The run's column that stands beside a paper's; the one under the paper's protocol where there are several."""
        found = [
            column
            for dataset in self.datasets(title, entry)
            for metric in metrics
            for column in self.table.columns
            if (column.dataset, column.metric, column.group) == (dataset, metric, "")
        ]
        return min(found, key=lambda column: column.protocol != protocol, default=None)

    @cached_property
    def apart(self) -> set[tuple[Column, str, str]]:
        """Pairs of methods, the better first, that the run's paired tests separate in a column."""
        return {
            (one.column, one.first, one.second) if one.effect > 0 else (one.column, one.second, one.first)
            for one in self.table.pairwise
            if one.p_holm <= ALPHA and one.effect
        }

    @cached_property
    def tested(self) -> set[Column]:
        """Columns that have such tests."""
        return {one.column for one in self.table.pairwise}

    def separated(self, column: Column, better: str, worse: str) -> bool:
        """Whether two methods of a column are apart: by the paired test, where there is none by their intervals."""
        if column in self.tested:
            return (column, better, worse) in self.apart
        first, second = self.table.cells[better, column], self.table.cells[worse, column]
        if first.ci_low is None or first.ci_high is None or second.ci_low is None or second.ci_high is None:
            return False
        return first.ci_low > second.ci_high or first.ci_high < second.ci_low


def tables(
    result: Result, wanted: Sequence[str], library: Library, bind: Sequence[str], speed: Path | None
) -> list[PaperTable]:
    """The wanted tables with a run beside them.

    `bind` holds NAME=OURS, `speed` names a file of `bench speed`. Raises ValueError or LookupError for a name that
    neither the tables nor the run have, ValueError or OSError for a file of another kind.
    """
    table = with_costs(result.table, speed) if speed else result.table
    run = Run(table, _bindings(bind, table, library.papers, wanted))
    return [_table(name, result, run, library) for name in wanted]


def _bindings(
    words: Iterable[str], result: Table, papers: Mapping[str, Paper], wanted: Sequence[str]
) -> dict[str, str]:
    known: set[str] = set()
    for name in wanted:
        paper, _, number = name.partition("/")
        table = papers[paper].tables[number]
        known.update(row for part in table.parts for row in part.rows or table.rows)
        known.update(dataset for part in table.parts for dataset in part.datasets)
        known.update(one for entry in papers[paper].datasets.values() for one in entry.average_of)
    ours = {row.method for row in result.rows} | {column.dataset for column in result.columns}
    found = {}
    for word in words:
        name, equals, own = word.partition("=")
        if not equals:
            raise ValueError(
                f"--bind {word}: expected NAME=OURS, the paper's name of a method or data set and the run's"
            )
        if name not in known:
            raise LookupError(f"--bind {word}: the tables asked for have no {name!r}{near(name, known)}")
        if own not in ours:
            raise LookupError(f"--bind {word}: the run has no {own!r}{near(own, ours)}")
        found[name] = own
    return found


def with_costs(table: Table, file: Path) -> Table:
    """The table with what `bench speed` wrote as further columns; raises ValueError or OSError naming the file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        threads = f", {content['threads']} thread(s)" if content["device"] == "cpu" else ""
        definition = (
            f"bench speed: {content['size']}, batch {content['batch']}, {content['pictures']} pictures, "
            f"{content['device_name']}{threads}, torch {content['versions']['torch']}"
        )
        columns = [
            Column(SPEED, "bench speed", content["size"], name, label, name == "fps", unit, 4, definition)
            for name, label, unit in (
                ("parameters", "Parameters", ""),
                ("macs", "MACs", ""),
                ("latency_mean_ms", "Time", "ms"),
                ("fps", "FPS", ""),
            )
        ]
        costs = {cost["method"]: cost for cost in content["methods"]}
        cells = {
            (name, column): _cost(cost[column.metric], column, int(content["pictures"]), cost["reason"])
            for name, cost in costs.items()
            for column in columns
        }
        rows = [MethodRow(name, cost["label"], "") for name, cost in costs.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not what `bench speed --out` writes: {error!r}") from error
    known = {row.method for row in table.rows}
    return replace(
        table,
        rows=(*table.rows, *(row for row in rows if row.method not in known)),
        columns=(*table.columns, *columns),
        cells={**table.cells, **cells},
    )


def _cost(value: float | None, column: Column, pictures: int, reason: str) -> Cell:
    exact = value if column.metric in ("parameters", "macs") else None
    missing = reason or ("no network" if value is None else None)
    return Cell(value, pictures, 0, 0, exact, exact, missing, None, "")


def _table(name: str, result: Result, run: Run, library: Library) -> PaperTable:
    stem, _, number = name.partition("/")
    paper = library.papers[stem]
    table = paper.tables[number]
    return PaperTable(
        name=name,
        title=table.title,
        paper=f"{paper.paper} ({paper.source})",
        parts=tuple(_part(paper, table, part, run, library.values) for part in table.parts),
        manifest=result.manifest,
    )


def _part(paper: Paper, table: Declared, part: Part, run: Run, values: Values) -> PaperPart:
    printed = values[paper.paper, part.printed]
    keys = [(dataset, metric) for dataset in part.datasets for metric in part.metrics]
    titles = part.rows or table.rows
    columns = [_column(paper, table, part, key, run, printed, titles) for key in keys]
    scales = [paper.metrics[metric].scale for _, metric in keys]
    measured = any(column.own for column in columns)
    beside = {title: run.row(title, paper.methods.get(title, ())) for title in titles}
    rows = []
    for title, row in beside.items():
        found = [printed.get((dataset, title, paper.metrics[metric].printed or metric)) for dataset, metric in keys]
        cells = tuple(
            _cell(row, one, scale, run, value) for one, scale, value in zip(columns, scales, found, strict=True)
        )
        missing = () if row or not measured else (NOT_IN_RUN if title in paper.methods else NOT_IN_PROJECT,)
        rows.append(PaperRow(title, row.method if row else "", cells, missing))
    if table.others and measured:
        rows += _others(columns, scales, run, {row.method for row in beside.values() if row}, titles)
    columns, rows, shared = _lifted(columns, _placed(rows, columns, run))
    notes = [*filter(None, [part.note]), *(f"every printed value: {note}" for note in shared), *_definitions(columns)]
    title = "; ".join(paper.datasets[dataset].label or dataset for dataset in part.datasets)
    return PaperPart(title, part.printed, tuple(columns), tuple(rows), tuple(notes))


def _others(
    columns: Sequence[PaperColumn], scales: Sequence[float], run: Run, taken: set[str], titles: Sequence[str]
) -> Iterator[PaperRow]:
    """Methods that only the run has."""
    for row in (row for row in run.table.rows if row.method not in taken):
        cells = [_cell(row, column, scale, run, None) for column, scale in zip(columns, scales, strict=True)]
        if any(cell.own is not None for cell in cells):
            # Nothing is printed of a method that the paper does not have: that is no gap.
            kept = tuple(replace(cell, printed_notes=()) for cell in cells)
            yield PaperRow(_title(row, run.table.rows, titles), row.method, kept, in_paper=False)


def _definitions(columns: Sequence[PaperColumn]) -> list[str]:
    """How ours were scored; metrics of one definition together."""
    labels: dict[str, dict[str, None]] = {}
    for own in (own for column in columns for own in column.own):
        labels.setdefault(own.definition, {})[own.metric_label] = None
    return [f"{', '.join(names)} here: {definition}" for definition, names in labels.items()]


def _column(
    paper: Paper,
    table: Declared,
    part: Part,
    key: tuple[str, str],
    run: Run,
    printed: Mapping[Key, Printed],
    titles: Sequence[str],
) -> PaperColumn:
    dataset, metric = paper.datasets[key[0]], paper.metrics[key[1]]
    label = metric.label or key[1]
    protocol = protocol_of(table, part, metric)
    members = dataset.average_of or (key[0],)
    found = {one: run.column(one, paper.datasets[one], metric.names, protocol) for one in members}
    own = tuple(column for column in found.values() if column)
    notes: list[str] = []
    if not metric.names:
        notes.append(f"not measured: {metric.about}")
    elif len(own) < len(members):
        notes += [_absent(one, paper.datasets[one], metric, label, run) for one in members if not found[one]]
        own = ()
    else:
        notes += [note for one in members for note in _differences(one, paper.datasets[one], protocol, found[one], run)]
        if len(members) > 1:
            notes.append("ours is the unweighted mean of the sets' means, as the paper's")
    if own and metric.about:
        notes.append(metric.about)
    name = metric.printed or key[1]
    said = [printed[key[0], title, name].value for title in titles if (key[0], title, name) in printed]
    return PaperColumn(
        dataset=dataset.label or key[0],
        metric=label,
        unit=metric.unit if metric.unit != "as printed" else "",
        higher_is_better=metric.better == "higher",
        decimals=max((len(value.partition(".")[2]) for value in said), default=2),
        protocol=protocol,
        own=own,
        notes=tuple(dict.fromkeys(notes)),
    )


def _absent(title: str, dataset: DatasetEntry, metric: MetricEntry, label: str, run: Run) -> str:
    """Why nothing stands beside a column, and what to do."""
    if SPEED in dataset.names:
        return "not measured: give the file that bench speed writes as --speed FILE"
    names = run.datasets(title, dataset)
    present = next((column.dataset for column in run.table.columns if column.dataset in names), "")
    if present:
        return f"not measured: {present} has no {label} in this run ({' or '.join(metric.names)})"
    if dataset.names:
        return f"not measured: {title} is not in this run (--datasets {dataset.names[0]})"
    about = f" ({dataset.about})" if dataset.about else ""
    other = f"; {dataset.similar[0]} would stand beside it as another set" if dataset.similar else ""
    return f"not measured: needs {title}{about}, run as folder:DIR and named by --bind NAME=folder:DIR{other}"


def _differences(title: str, dataset: DatasetEntry, protocol: str, own: Column | None, run: Run) -> Iterator[str]:
    """How a column of the run differs from the paper's, in words."""
    if own is None:
        return
    if own.dataset in dataset.similar and run.bound.get(title) != own.dataset:
        about = f" ({dataset.about})" if dataset.about else ""
        yield f"another data set: {own.dataset} in the place of {title}{about}"
    elif dataset.about and own.dataset in dataset.names:
        yield dataset.about
    if own.protocol != protocol:
        yield f"protocol differs: paper {protocol}, this run {own.protocol}"
    cells = (run.table.cells.get((row.method, own)) for row in run.table.rows)
    pictures = max((cell.n + cell.failed + cell.infinite for cell in cells if cell), default=0)
    if pictures != dataset.pictures and (dataset.pictures or own.dataset != SPEED):
        paper = (
            f"paper {dataset.pictures} pictures" if dataset.pictures else "how many pictures the paper took is not said"
        )
        yield f"{paper}, this run {pictures}"


def _cell(row: MethodRow | None, column: PaperColumn, scale: float, run: Run, printed: Printed | None) -> PaperCell:
    blank = PaperCell(
        printed=printed.value if printed else "",
        own=None,
        printed_notes=((printed.note,) if printed.note else ()) if printed else (NOT_PRINTED,),
    )
    if row is None or not column.own:
        return blank
    cells = [run.table.cells.get((row.method, own)) for own in column.own]
    found = [cell for cell in cells if cell is not None and cell.mean is not None]
    absent = "not in the file of bench speed" if column.own[0].dataset == SPEED else "this run has no value"
    reasons = dict.fromkeys(
        " ".join(((cell.reason if cell else None) or absent).split()) for cell in cells if not cell or cell.reason
    )
    if len(found) < len(cells):
        return replace(blank, own_notes=tuple(f"not measured: {reason}" for reason in reasons))
    ends = [(cell.ci_low, cell.ci_high) for cell in found]
    low, high = ends[0] if len(ends) == 1 else (None, None)
    return replace(
        blank,
        own=scale * sum(cell.mean or 0.0 for cell in found) / len(found),
        low=None if low is None else scale * low,
        high=None if high is None else scale * high,
        n=sum(cell.n for cell in found),
        own_notes=(*reasons, *_leaks(row, column.own, run.table)),
    )


def _leaks(row: MethodRow, columns: Sequence[Column], table: Table) -> Iterator[str]:
    """What of the pictures was seen in training."""
    for leak in table.leaks:
        if any(leak.concerns(row.method, column) for column in columns):
            whose = f"the {leak.model} model" if leak.model else "the method"
            near = sum(not copy.exact for copy in leak.copies)
            how = f" ({near} as near copies)" if near else ""
            yield f"{whose} has seen {len(leak.copies)} of {leak.pictures} pictures of {leak.dataset} in training{how}"


def _title(row: MethodRow, rows: Sequence[MethodRow], titles: Sequence[str]) -> str:
    shared = [one.label for one in rows].count(row.label) > 1 or row.label in titles
    return f"{row.label} ({row.method})" if shared and row.label != row.method else row.label


def _placed(rows: Sequence[PaperRow], columns: Sequence[PaperColumn], run: Run) -> list[PaperRow]:
    """Rows with the places of the run's methods in each column that is a single one of the run's."""
    placed = [list(row.cells) for row in rows]
    for place, column in enumerate(columns):
        if len(column.own) != 1:
            continue
        own = {row.method: number for number, row in enumerate(rows) if row.cells[place].own is not None}
        for method, (rank, tied) in places(list(own), column.own[0], column.higher_is_better, run).items():
            cells = placed[own[method]]
            cells[place] = replace(cells[place], place=rank, tied=tied)
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, placed, strict=True)]


def places(methods: Sequence[str], column: Column, higher_is_better: bool, run: Run) -> dict[str, tuple[int, bool]]:
    """Place (1, 2, 3) of methods in a column and whether it is shared, for those that have one.

    The first place follows the run's own mark. A method shares the place of the best one before it that it is not
    separated from; places that a tie takes up are not given again. A method that nobody is behind has none, and nobody
    has one where there is nothing to separate by (times without intervals).
    """
    cells = {method: run.table.cells[method, column] for method in methods}
    if column not in run.tested and any(cell.ci_low is None for cell in cells.values()):
        return {}
    left = sorted(methods, key=lambda method: (cells[method].mean or 0.0) * (-1 if higher_is_better else 1))
    found: dict[str, tuple[int, bool]] = {}
    place = 1
    while place <= PLACES and len(left) > 1:
        leader = left[0]
        marked = [method for method in left if cells[method].mark == "tie"] if place == 1 else []
        if place == 1 and cells[leader].mark == "best":
            group = [leader]
        elif leader in marked and len(marked) > 1:
            group = marked
        else:
            group = [leader, *(other for other in left[1:] if not run.separated(column, leader, other))]
        found.update({method: (place, len(group) > 1) for method in group})
        left = [method for method in left if method not in group]
        place += len(group)
    return found


def _lifted(
    columns: Sequence[PaperColumn], rows: Sequence[PaperRow]
) -> tuple[list[PaperColumn], list[PaperRow], list[str]]:
    """Notes on printed values at the highest place where they hold: whole part, column, row, and only then cell."""
    lifted_columns, lifted_rows = list(columns), [replace(row, cells=row.cells) for row in rows]
    shared = _common([cell for row in rows for cell in row.cells])
    for place, column in enumerate(columns):
        common = [note for note in _common([row.cells[place] for row in rows]) if note not in shared]
        lifted_columns[place] = replace(column, notes=(*column.notes, *common))
    for number, row in enumerate(rows):
        high = {place: {*shared, *lifted_columns[place].notes} for place in range(len(columns))}
        common = [note for note in _common(row.cells) if not any(note in notes for notes in high.values())]
        cells = tuple(
            replace(cell, printed_notes=tuple(n for n in cell.printed_notes if n not in high[place] | {*common}))
            for place, cell in enumerate(row.cells)
        )
        lifted_rows[number] = replace(row, cells=cells, notes=(*row.notes, *common))
    return lifted_columns, lifted_rows, shared


def _common(cells: Sequence[PaperCell]) -> list[str]:
    """Notes that every printed value has, where there are two or more."""
    printed = [cell.printed_notes for cell in cells if cell.printed]
    return [note for note in printed[0] if all(note in notes for notes in printed)] if len(printed) > 1 else []


def lines(part: PaperPart) -> tuple[Sequence[str], list[Sequence[str]]]:
    """A part as header and lines of plain text for the terminal: ours, in brackets the printed value."""
    several = len({column.dataset for column in part.columns}) > 1
    header = ["ours (paper)"]
    for column in part.columns:
        name = f"{column.dataset} {column.metric}" if several else column.metric
        header.append(" ".join(filter(None, (name, column.unit, "↑" if column.higher_is_better else "↓"))))
    body: list[Sequence[str]] = []
    for row in part.rows:
        texts = [row.title]
        for cell, column in zip(row.cells, part.columns, strict=True):
            mark = f"{'≈' if cell.tied else '#'}{cell.place}" if cell.place else ""
            own = "–" if cell.own is None else f"{cell.own:.{column.decimals}f}{mark}"
            texts.append(f"{own} ({cell.printed or '–'})" if row.in_paper else own)
        body.append(texts)
    return header, body


def remarks(table: PaperTable) -> list[str]:
    """What the terminal says below a table: everything about ours, each once."""
    said = [f"{column.dataset}: {note}" for part in table.parts for column in part.columns for note in column.notes]
    said += [note for part in table.parts for row in part.rows for note in row.notes]
    said += [note for part in table.parts for row in part.rows for cell in row.cells for note in cell.own_notes]
    return list(dict.fromkeys(said))


def write(tables: Sequence[PaperTable], chosen: Sequence[TableFormat], folder: Path) -> list[Path]:
    """Render every table in every format into `folder/papers`; each file is replaced as a whole."""
    written = []
    with explained(folder):
        (folder / FOLDER).mkdir(exist_ok=True)
        for table in tables:
            for one in chosen:
                path = folder / FOLDER / f"{table.name.replace('/', '-')}.{one.ending}"
                part = path.with_name(f"{path.name}.part")
                part.write_text(one.render(table), encoding="utf-8")
                part.replace(path)
                written.append(path)
    return written


def formats(text: str | None) -> list[TableFormat]:
    """The formats of 'html,latex', all by default; raises LookupError with the nearest name."""
    names = plugins.names(TableFormat) if text is None else [name.strip() for name in text.split(",") if name.strip()]
    return [plugins.load(TableFormat, Spec.parse(name))() for name in names]
