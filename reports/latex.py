r"""The tables as LaTeX that a paper can \input, in one column or two."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from bench.contracts import Column, Report, Result

from ._sheet import (
    BEST_MEANS,
    GAIN_MEANS,
    INTERVAL_MEANS,
    TIE_MEANS,
    Entry,
    Sheet,
    definitions,
    facts,
    protocol_in_words,
    sheets,
)

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\textquotedblright}",  # active under babel's german
    "`": r"{\textasciigrave}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\dots{}",
    "“": r"{\textquotedblleft}",
    "”": r"{\textquotedblright}",
    "‘": r"{\textquoteleft}",
    "’": r"{\textquoteright}",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "\N{NO-BREAK SPACE}": "~",
}
_MATH = {
    "×": r"\times",
    "·": r"\cdot",
    "±": r"\pm",
    "−": "-",
    "≈": r"\approx",
    "≤": r"\le",
    "≥": r"\ge",
    "≠": r"\ne",
    "∞": r"\infty",
    "→": r"\rightarrow",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "²": "^2",
    "³": "^3",
    "°": r"^\circ",
    "Σ": r"\Sigma",
    "Δ": r"\Delta",
    "α": r"\alpha",
    "β": r"\beta",
    "γ": r"\gamma",
    "δ": r"\delta",
    "ε": r"\varepsilon",
    "λ": r"\lambda",
    "μ": r"\mu",
    "µ": r"\mu",
    "π": r"\pi",
    "σ": r"\sigma",
    "τ": r"\tau",
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING CEDILLA}": "c",
}

_LONG_WORD = 24
"""Letters; TeX hyphenates words of prose by itself, but neither paths nor digests."""


class Latex(Report):
    r"""One booktabs table for each data set; the file has no preamble and is read by \input."""

    filename = "tables.tex"
    label = "one booktabs table per data set, as LaTeX"

    def render(self, result: Result) -> str:
        """A comment with the run's facts and the packages needed, then the tables."""
        lines = [
            "% Tables of a run of the low-light benchmark. Read this file with \\input{tables}; the preamble needs",
            "%   \\usepackage{booktabs,graphicx}",
            "% Tables span both columns of a two-column paper, and shrink only where they would not fit.",
        ]
        lines += [f"% {name}: {_comment(value)}" for name, value in facts(result.manifest)]
        explained: dict[tuple[str, str], str] = {}
        for sheet in sheets(result):
            lines += ["", *_table(sheet, explained)]
        return "\n".join(lines) + "\n"


def _table(sheet: Sheet, explained: dict[tuple[str, str], str]) -> list[str]:
    label = f"tab:{sheet.slug}"
    pictures = f"{sheet.pictures} picture" + ("s" if sheet.pictures != 1 else "")
    integers = [_integer_digits([line.entries[place] for line in sheet.lines]) for place in range(len(sheet.columns))]
    units = ["", *(rf"{{\scriptsize {escape(column.unit)}}}" if column.unit else "" for column in sheet.columns)]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(sheet.title)}, {pictures}}}",
        rf"\label{{{label}}}",
        r"\smallskip",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{6pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l*{{{len(sheet.columns)}}}{{c}}@{{\hspace{{8pt}}}}}}",
        r"\toprule",
        " & ".join(["Method", *(_head(column) for column in sheet.columns)]) + r" \\",
    ]
    if any(units):
        lines.append(" & ".join(units) + r" \\[-1pt]")
    lines.append(r"\midrule")
    for place, line in enumerate(sheet.lines):
        if place:
            # The unenhanced input stands apart from the methods.
            lines.append(
                r"\midrule" if sheet.lines[place - 1].row.kind == "none" != line.row.kind else r"\addlinespace[2.5pt]"
            )
        means = (_mean(entry, digits) for entry, digits in zip(line.entries, integers, strict=True))
        intervals = any(entry.interval for entry in line.entries)
        lines.append(" & ".join([escape(line.title), *means]) + (r" \\[-1.5pt]" if intervals else r" \\"))
        if intervals:
            lines.append(" & ".join(["", *(_interval(entry) for entry in line.entries)]) + r" \\")
        if sheet.of_task and any(entry.gain for entry in line.entries):
            lines.append(
                " & ".join([r"\quad{\scriptsize to input}", *(_gain(entry) for entry in line.entries)]) + r" \\"
            )
    lines += [
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip",
        r"\parbox{\linewidth}{\scriptsize\raggedright\sloppy",
        *_notes(sheet, explained, label),
        "}",
        r"\end{table*}",
    ]
    return lines


def _head(column: Column) -> str:
    arrow = r"\uparrow" if column.higher_is_better else r"\downarrow"
    return rf"{escape(column.metric_label)}\,${arrow}$"


def _mean(entry: Entry, digits: int) -> str:
    mark = r"$\approx$" if entry.cell.mark == "tie" else ""
    # \rlap: a mark must not push its number out of line with the others.
    note = rf"\rlap{{\textsuperscript{{{mark}{entry.note}}}}}" if mark or entry.note else ""
    if not entry.mean:
        return r"\textendash{}" + note
    text = entry.mean.replace("-", "$-$")
    pad = digits - len(entry.mean.partition(".")[0])
    if entry.cell.mark == "best":
        text = rf"\textbf{{{text}}}"
    return (rf"\phantom{{{'0' * pad}}}" if pad > 0 else "") + text + note


def _interval(entry: Entry) -> str:
    if entry.interval is None:
        return ""
    low, high = (bound.replace("-", "$-$") for bound in entry.interval)
    return rf"{{\fontsize{{6}}{{7}}\selectfont[{low},\,{high}]}}"


def _gain(entry: Entry) -> str:
    return rf"{{\fontsize{{6}}{{7}}\selectfont {entry.gain.replace('-', '$-$')}}}" if entry.gain else ""


def _integer_digits(entries: Sequence[Entry]) -> int:
    return max((len(entry.mean.partition(".")[0]) for entry in entries), default=0)


def _notes(sheet: Sheet, explained: dict[tuple[str, str], str], label: str) -> list[str]:
    """Paragraphs below the table; a metric is explained below the first table that shows it."""
    stands = f"$n = {sheet.n}$ in every cell without a note. " if sheet.n else ""
    said = protocol_in_words(sheet.protocol)
    protocol = f"Protocol {escape(sheet.protocol)}" + (f": {escape(said)}" if said != sheet.protocol else "")
    paragraphs = [
        f"{protocol}. {stands}Brackets: {escape(INTERVAL_MEANS)}. \\textbf{{Bold}}: {escape(BEST_MEANS)}. "
        f"\\textsuperscript{{$\\approx$}}\\,{escape(TIE_MEANS)}."
    ]
    fresh = [column for column in definitions(sheet.columns) if (column.metric, column.definition) not in explained]
    known = dict.fromkeys(
        explained[column.metric, column.definition] for column in definitions(sheet.columns) if column not in fresh
    )
    metrics = " ".join(f"\\emph{{{escape(column.metric_label)}}}: {_sentence(column.definition)}" for column in fresh)
    if known:
        where = ", ".join(f"\\ref{{{table}}}" for table in known)
        metrics = f"{metrics} {'Other metrics' if fresh else 'Metrics'} as below Table~{where}.".strip()
    paragraphs.append(metrics)
    if sheet.of_task:
        paragraphs.append(f"To input: {escape(GAIN_MEANS)}.")
    explained.update({(column.metric, column.definition): label for column in fresh})
    paragraphs += [f"\\textsuperscript{{{letter}}}\\,{_sentence(text)}" for letter, text in sheet.notes]
    return [f"{paragraph}\\par" for paragraph in paragraphs if paragraph]


def _sentence(text: str) -> str:
    return escape(text if text.endswith((".", "!", "?")) else f"{text}.")


def escape(text: str) -> str:
    """Text as LaTeX that prints exactly this text in any document, with places where a long path may break.

    Letters that pdfLaTeX's default encoding cannot print appear as their code point, e.g. [U+4E2D].
    """
    return " ".join(_word(word) for word in text.split())


def _word(word: str) -> str:
    # Two dashes of an option must not become one dash of prose.
    letters = ["{-}" if pair == "--" else _letter(pair[0]) for pair in (word[at : at + 2] for at in range(len(word)))]
    if len(word) <= _LONG_WORD:
        return "".join(letters)
    # Paths may break behind their marks; a digest has none, so it may break at every sixteenth letter.
    breaks = (one in "/_.:-=,;" or place % 16 == 15 for place, one in enumerate(word))
    return "".join(letter + (r"\allowbreak{}" if may else "") for letter, may in zip(letters, breaks, strict=True))


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter in _MATH:
        return f"${_MATH[letter]}$"
    if " " <= letter <= "~":
        return letter
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"[U+{ord(letter):04X}]"


def _comment(text: str) -> str:
    """Text behind a percent sign: one line of ASCII, so that no encoding can break it."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode("ascii")
