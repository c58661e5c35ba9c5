"""The papers' results tables as declared, and what the papers print in them.

`reports/tables/<paper>.toml` declares the tables, `reports/reported.csv` holds what the papers print.
`python -m bench.papers SOURCE` writes the latter from the project's specification.
"""

from __future__ import annotations

import csv
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from bench import plugins
from bench.config import Names, Section
from bench.contracts import (
    Report,
    TableFormat,
)
from bench.plugins import near

REPORTED = "reported.csv"
SPEED = "speed"
"""Data set under which the figures of `bench speed` stand."""
HEADER = ("paper", "table", "dataset", "method", "metric", "value", "unit", "higher_is_better", "note")


class DatasetEntry(Section):
    """What a paper calls a data set, and which of ours are the same."""

    label: str = ""
    names: Names = ()
    """Data sets of a run that are the paper's."""
    similar: Names = ()
    """Data sets that stand beside it all the same, with a note that they are others."""
    average_of: Names = ()
    """Data sets of the paper whose unweighted mean it is."""
    pictures: int = 0
    """How many the paper tested, 0 where it does not say."""
    about: str = ""
    """What it consists of, for a reader who has to find it."""


class MetricEntry(Section):
    """What a paper calls a metric, and which of ours it is."""

    better: Literal["higher", "lower"]
    label: str = ""
    printed: str = ""
    """Its name in reported.csv, where several entries read it differently."""
    names: Names = ()
    unit: str = ""
    scale: float = 1.0
    """The paper's unit is ours times this."""
    task: str = ""
    """Part of the paper's protocol behind the plus, e.g. 'pretrained-yolov4-640x480'."""
    about: str = ""
    """How it is read here, or why it cannot be measured."""


class Part(Section):
    """Data sets x metrics of a table, by their names in the paper."""

    printed: str
    """The table's name in reported.csv, e.g. 'Table 4a'."""
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[str, ...] = ()
    """Where they differ from the table's."""
    protocol: str = ""
    note: str = ""


class Declared(Section):
    """A table of a paper."""

    title: str
    protocol: str
    rows: tuple[str, ...] = ()
    others: bool = False
    """Whether methods that only the run has stand below the paper's: for comparisons, not for ablations."""
    parts: tuple[Part, ...]


class Paper(Section):
    """A file of reports/tables/."""

    paper: str
    """As in reported.csv."""
    source: str
    methods: dict[str, Names]
    """The paper's names of methods that this project has; all others are gaps."""
    datasets: dict[str, DatasetEntry]
    metrics: dict[str, MetricEntry]
    tables: dict[str, Declared]


class Printed(NamedTuple):
    """A value of a paper."""

    value: str
    unit: str
    better: str
    note: str


Key = tuple[str, str, str]
"""Data set, method and metric as the paper calls them."""
Values = Mapping[tuple[str, str], Mapping[Key, Printed]]
"""By paper and table."""


@dataclass(frozen=True)
class Library:
    """Every paper's tables and what the papers print."""

    papers: Mapping[str, Paper]
    """By the file's name."""
    values: Values


def load() -> Library:
    """Read the declarations and the printed values; raises ValueError as the two readers do."""
    values = read_reported(_reports() / REPORTED)
    files = sorted(file for folder in plugins.folders(TableFormat) for file in folder.glob("*.toml"))
    return Library({file.stem: read_paper(file, values) for file in files}, values)


def read_paper(file: Path, values: Values) -> Paper:
    """A paper's declared tables.

    Raises ValueError naming file and place where the declaration is wrong, contradicts the printed values in unit or
    direction, leaves one of the paper's out or shows one twice.
    """
    try:
        paper = Paper.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{file}: {error}") from error
    _check(file, paper, values)
    return paper


def read_reported(file: Path) -> Values:
    """What the papers print; raises ValueError naming the line."""
    values: defaultdict[tuple[str, str], dict[Key, Printed]] = defaultdict(dict)
    with open(file, encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if tuple(rows.fieldnames or ()) != HEADER:
            raise ValueError(f"{file}: expected the columns {', '.join(HEADER)}, found {rows.fieldnames}")
        for row in rows:
            here, key = values[row["paper"], row["table"]], (row["dataset"], row["method"], row["metric"])
            better = {"yes": "higher", "no": "lower"}.get(row["higher_is_better"])
            try:
                float(row["value"])
            except ValueError as error:
                raise ValueError(f"{file}:{rows.line_num}: {row['value']!r} is no number") from error
            if better is None or key in here:
                what = f"{key} twice" if better else f"higher_is_better = {row['higher_is_better']!r}, not yes or no"
                raise ValueError(f"{file}:{rows.line_num}: {what}")
            here[key] = Printed(row["value"], row["unit"], better, row["note"])
    return values


def normalised(source: Path) -> str:
    """A file of printed values, checked, with plain line ends and no more quotes than needed: reports/reported.csv."""
    read_reported(source)
    text = StringIO()
    with open(source, encoding="utf-8", newline="") as stream:
        csv.writer(text, lineterminator="\n").writerows(csv.reader(stream))
    return text.getvalue()


def _reports() -> Path:
    return plugins.folders(Report)[0]


def _check(file: Path, paper: Paper, values: Values) -> None:
    used: Counter[tuple[str, Key]] = Counter()
    for name, table in paper.tables.items():
        for number, part in enumerate(table.parts, 1):
            place = f"{file}: tables.{name}, part {number}"
            for known, words in ((paper.datasets, part.datasets), (paper.metrics, part.metrics)):
                for word in words:
                    if word not in known:
                        raise ValueError(f"{place}: {word!r} is not declared{near(word, known)}")
            printed = values.get((paper.paper, part.printed), {})
            for dataset, row, metric in product(part.datasets, part.rows or table.rows, part.metrics):
                entry = paper.metrics[metric]
                key = dataset, row, entry.printed or metric
                if key not in printed:
                    continue
                used[part.printed, key] += 1
                if (printed[key].unit, printed[key].better) != (entry.unit, entry.better):
                    said = f"{printed[key].better} is better, unit {printed[key].unit!r}"
                    raise ValueError(f"{place}: {' / '.join(key)}: {REPORTED} says {said}")
    wanted = Counter((table, key) for (name, table), keys in values.items() if name == paper.paper for key in keys)
    if used != wanted:
        wrong = next(iter((wanted - used) or (used - wanted)))
        how = "is in no table" if wanted[wrong] > used[wrong] else "is shown more than once"
        raise ValueError(f"{file}: {wrong[0]}, {' / '.join(wrong[1])} of {REPORTED} {how}")


def requested(text: str, library: Library) -> list[str]:
    """Names of tables from 'drgn/2', 'drgn/1,3,4', 'drgn' or 'all'; raises LookupError with the nearest name."""
    papers = library.papers
    known = [f"{paper}/{table}" for paper in papers for table in papers[paper].tables]
    found: list[str] = []
    paper = ""
    for word in (word.strip() for word in text.split(",")):
        if word == "all" or word in papers:
            found += [name for name in known if word in ("all", name.partition("/")[0])]
            continue
        paper = word.partition("/")[0] if "/" in word else paper
        name = word if "/" in word else f"{paper}/{word}"
        if name not in known:
            raise LookupError(f"no table is called {word!r}{near(name, [*known, *papers, 'all'])}")
        found.append(name)
    return list(dict.fromkeys(found))


def listing() -> tuple[Sequence[str], list[Sequence[str]]]:
    """Every table with what it needs, as header and lines of text for `bench list tables`."""
    library = load()
    lines = [
        (f"{name}/{number}", *_needs(paper, table, library.values))
        for name, paper in library.papers.items()
        for number, table in paper.tables.items()
    ]
    return ("table", "what", "printed", "data sets", "methods here", "metrics here", "protocol"), list(lines)


def _needs(paper: Paper, table: Declared, values: Values) -> tuple[str, ...]:
    titles = dict.fromkeys(part.printed for part in table.parts)
    datasets = dict.fromkeys(dataset for part in table.parts for dataset in part.datasets)
    rows = dict.fromkeys(row for part in table.parts for row in part.rows or table.rows)
    methods = [name for row in rows for name in paper.methods.get(row, ())]
    metrics = [(part, paper.metrics[metric]) for part in table.parts for metric in part.metrics]
    return (
        f"{paper.paper}, {' and '.join(titles)}: {table.title}",
        str(sum(len(values[paper.paper, title]) for title in titles)),
        "; ".join(filter(None, (_needed(dataset, paper.datasets[dataset]) for dataset in datasets))),
        f"{', '.join(dict.fromkeys(methods))} ({len(methods)} of {len(rows)} rows)".lstrip(),
        ", ".join(dict.fromkeys(name for _, metric in metrics for name in metric.names)),
        ", ".join(dict.fromkeys(protocol_of(table, part, metric) for part, metric in metrics)),
    )


def _needed(name: str, entry: DatasetEntry) -> str:
    if entry.average_of:
        return ""
    if SPEED in entry.names:
        return "--speed FILE of bench speed"
    if entry.names:
        return entry.names[0]
    similar = f", or another set: {entry.similar[0]}" if entry.similar else ""
    return f"{name}=folder:DIR{similar}"


def protocol_of(table: Declared, part: Part, metric: MetricEntry) -> str:
    """The paper's protocol of a column, in this project's words."""
    base = part.protocol or table.protocol
    return f"{base}+{metric.task}" if metric.task else base


if __name__ == "__main__":
    (_reports() / REPORTED).write_text(normalised(Path(sys.argv[1])), encoding="utf-8")
