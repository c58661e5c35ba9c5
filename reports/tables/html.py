"""A paper's table as one self-contained page."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from bench.contracts import PaperTable, TableFormat

from .._sheet import facts, printable
from ._grid import GAP_MEANS, OWN_MEANS, PLACES_MEAN, caption, grid, protocols


class Html(TableFormat):
    """For reading in a browser; wide tables scroll, the methods' names stay."""

    ending = "html"
    label = "a page of its own"

    def render(self, table: PaperTable) -> str:
        """The whole page, without anything from elsewhere."""
        parts = [
            {
                "title": f"{part.printed}: {part.title}",
                "caption": caption(table, part),
                "protocol": protocols(part),
                "grid": grid(part),
                "notes": part.notes,
            }
            for part in table.parts
        ]
        text = _template().render(
            table=table,
            parts=parts,
            facts=facts(table.manifest),
            legend=(OWN_MEANS, PLACES_MEAN, GAP_MEANS),
            marks=("", "first", "second", "third"),
        )
        return printable(text.rstrip() + "\n")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("html.j2")
