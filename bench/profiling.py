"""Where a run's time went: a table of stages, and a trace that browsers' viewers read."""

from __future__ import annotations

import json
from pathlib import Path

from bench.runner import RECORDING, Trace
from bench.work import DECODING

FILENAME = "trace.json"


def table(trace: Trace) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows: seconds of each stage, its share of the whole, pictures x methods per second."""
    whole = trace.wall or 1.0
    # Workers' times add up to more than passed on the clock; one that only records is none of them.
    processes = len({span.process for span in trace.spans if span.stage != RECORDING}) or 1
    rows = sorted(trace.seconds.items(), key=lambda item: -item[1])
    rest = whole * processes - sum(seconds for stage, seconds in rows if stage != DECODING)
    lines = [*rows, ("idle and everything else", max(rest, 0.0)), ("whole", whole * processes)]
    header = ("stage", "seconds", "share", "pictures/s")
    return header, [
        (
            stage,
            f"{seconds:.2f}",
            f"{seconds / (whole * processes):.1%}",
            f"{trace.pictures / seconds:.1f}" if seconds else "-",
        )
        for stage, seconds in lines
    ]


def write(trace: Trace, folder: Path) -> Path:
    """Every stage of every picture in the Trace Event Format; open it at ui.perfetto.dev or chrome://tracing."""
    begun = min((span.begun for span in trace.spans), default=0.0)
    events = [
        {
            "name": span.stage,
            "ph": "X",
            "ts": round((span.begun - begun) * 1e6),
            "dur": round(span.seconds * 1e6),
            "pid": span.process,
            "tid": span.thread,
        }
        for span in trace.spans
    ]
    path = folder / FILENAME
    path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")
    return path
