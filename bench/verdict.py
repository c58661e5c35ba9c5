"""A gate's verdict as text: for a terminal, a pull request, a test report and GitHub's annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

from bench.contracts import Column
from bench.gate import Finding, Status, Verdict, signed

HEADER = ("", "what", "baseline", "now", "change", "pictures", "detail")
MOST_ANNOTATIONS = 9
"""Of each kind: GitHub shows ten per step and drops the rest without a word."""


def lines(verdict: Verdict) -> list[tuple[str, ...]]:
    """The findings as rows below HEADER."""
    return [
        (one.status.value, subject(one), *_numbers(one), f"{one.pictures}/{one.of}" if one.pictures else "", one.detail)
        for one in verdict.findings
    ]


def headline(verdict: Verdict) -> str:
    """The outcome in one line."""
    if verdict.incomparable:
        return "cannot be compared with the baseline"
    counts = Counter(finding.status for finding in verdict.findings)
    told = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    scope = f"{verdict.compared} cells and {verdict.timed} speeds compared"
    return f"{'passed' if verdict.passed else 'regressed'}: {scope}; {told or 'nothing changed'}"


def subject(finding: Finding) -> str:
    """What a finding is about, e.g. 'lw_drgn · lol · PSNR (dB)'."""
    metric = finding.column.metric_label if finding.column else finding.metric
    speed = finding.status in (Status.SLOWER, Status.FASTER)
    words = [finding.method, finding.dataset, metric, "seconds per picture" if speed else ""]
    return " · ".join(word for word in words if word)


def markdown(verdict: Verdict, title: str) -> str:
    """For a pull request or a job's summary."""
    mark = "✅" if verdict.passed else "❌"
    parts = [f"## {mark} {title}: {headline(verdict)}", ""]
    parts += [f"- {_escaped(reason)}" for reason in verdict.incomparable]
    if verdict.findings:
        parts += [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
        for finding, cells in zip(verdict.findings, lines(verdict), strict=True):
            status = f"**{cells[0]}**" if finding.status.regression else cells[0]
            parts.append(f"| {' | '.join([status, *map(_escaped, cells[1:])])} |")
    if verdict.notes:
        parts += ["", "<details><summary>what else differs</summary>", ""]
        parts += [f"- {_escaped(note)}" for note in verdict.notes]
        parts += ["", "</details>"]
    return "\n".join(parts) + "\n"


def junit(verdict: Verdict, title: str) -> str:
    """A JUnit report: one case for each finding, failed where it is a regression, and one for the comparison itself."""
    cases = [ElementTree.Element("testcase", classname=title, name="comparable with the baseline")]
    for reason in verdict.incomparable:
        ElementTree.SubElement(cases[0], "error", message=reason)
    for finding, cells in zip(verdict.findings, lines(verdict), strict=True):
        case = ElementTree.Element("testcase", classname=title, name=f"{subject(finding)}: {finding.status.value}")
        text = _sentence(finding, cells)
        if finding.status.regression:
            ElementTree.SubElement(case, "failure", message=text)
        else:
            ElementTree.SubElement(case, "system-out").text = text
        cases.append(case)
    counts: dict[str, str] = {
        "tests": str(len(cases)),
        "failures": str(len(verdict.regressions)),
        "errors": str(int(bool(verdict.incomparable))),
    }
    suite = ElementTree.Element("testsuite", {"name": title, **counts})
    suite.extend(cases)
    root = ElementTree.Element("testsuites", counts)
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def workflow_commands(verdict: Verdict, title: str) -> Iterator[str]:
    """GitHub's workflow commands: errors for regressions, warnings for changes, notices for the rest."""
    for reason in verdict.incomparable:
        yield _command("error", title, reason)
    kinds: dict[str, list[str]] = {"error": [], "warning": [], "notice": []}
    for finding, cells in zip(verdict.findings, lines(verdict), strict=True):
        kind = "warning" if finding.status is Status.CHANGED else "notice"
        kinds["error" if finding.status.regression else kind].append(_sentence(finding, cells))
    for kind, texts in kinds.items():
        for text in texts[:MOST_ANNOTATIONS]:
            yield _command(kind, title, text)
        if texts[MOST_ANNOTATIONS:]:
            yield _command(kind, title, f"and {len(texts) - MOST_ANNOTATIONS} more")


def _sentence(finding: Finding, cells: tuple[str, ...]) -> str:
    status, what, before, now, change, pictures, detail = cells
    told = f"{status}: {what}"
    if before or now:
        told += f", {before or 'no value'} → {now or 'no value'}" + (f" ({change})" if change else "")
    if pictures:
        told += f", {pictures} pictures"
    return f"{told}; {detail}" if detail else told


def _numbers(finding: Finding) -> tuple[str, str, str]:
    if finding.status in (Status.SLOWER, Status.FASTER):
        return _seconds(finding.before), _seconds(finding.after), f"x{finding.change:.2f}"
    column = finding.column
    if column is None:
        return "", "", ""
    before, after = (_value(one, column) for one in (finding.before, finding.after))
    if finding.change is None:
        return before, after, ""
    p = "" if finding.p is None else f", p {finding.p:.1g}"
    return before, after, f"{signed(finding.change, column)}{p}"


def _value(value: float | None, column: Column) -> str:
    return "" if value is None else f"{value:.{column.decimals}f}{' ' if column.unit else ''}{column.unit}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} s"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _command(kind: str, title: str, message: str) -> str:
    def escaped(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    name = escaped(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={name}::{escaped(message)}"
