r"""The tables as LaTeX that a paper can \input, in one column or two."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from bench.contracts import Column, Comparison, Ranking, Report, Result

from ._ranks import (
    LETTERS_MEAN,
    PAIRWISE_MEANS,
    TALLY_MEANS,
    both_ways,
    is_best,
    letters,
    means,
    over_datasets,
    p_value,
    tallied,
    tally,
)
from ._sheet import (
    BEST_MEANS,
    GAIN_MEANS,
    INTERVAL_MEANS,
    TIE_MEANS,
    Entry,
    Sheet,
    capital,
    definitions,
    facts,
    leak_mark,
    method_titles,
    protocol_in_words,
    refit_mark,
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
    "†": r"{\dag}",
    "‡": r"{\ddag}",
    "§": r"{\S}",
    "¶": r"{\P}",
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

_ROWS = 46
"""Of one table of ranks or pairs; more are continued in another."""
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
            "% \\newcommand{\\allpairs}{} before it adds a table of every pair of methods for each data set.",
            "% Tables span both columns of a two-column paper, and shrink only where they would not fit.",
        ]
        lines += [f"% {name}: {_comment(value)}" for name, value in facts(result.manifest)]
        explained: dict[tuple[str, str], str] = {}
        cut = sheets(result)
        for sheet in cut:
            lines += ["", *_table(sheet, explained)]
        lines += _rank_tables(cut, over_datasets(result.table), method_titles(result.table.rows))
        if result.table.pairwise:
            lines += _tally_table(result.table.pairwise, method_titles(result.table.rows))
            lines += ["", r"\ifdefined\allpairs"]
            for sheet in cut:
                lines += _pair_tables(sheet)
            lines.append(r"\fi")
        return "\n".join(lines) + "\n"


def _table(sheet: Sheet, explained: dict[tuple[str, str], str]) -> list[str]:
    label = f"tab:{sheet.slug}"
    pictures = f"{sheet.pictures} picture" + ("s" if sheet.pictures != 1 else "")
    integers = [_integer_digits([line.entries[place] for line in sheet.lines]) for place in range(len(sheet.columns))]
    units = ["", *(rf"{{\scriptsize {escape(column.unit)}}}" if column.unit else "" for column in sheet.columns)]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(sheet.title)} ({escape(sheet.protocol)}), {pictures}}}",
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
        *_below(_notes(sheet, explained, label)),
        r"\end{table*}",
    ]
    return lines


def _head(column: Column) -> str:
    arrow = r"\uparrow" if column.higher_is_better else r"\downarrow"
    mark = rf"\textsuperscript{{{escape(refit_mark(column))}}}" if refit_mark(column) else ""
    return rf"{escape(column.metric_label)}{mark}\,${arrow}$"


def _mean(entry: Entry, digits: int) -> str:
    mark = r"$\approx$" if entry.cell.mark == "tie" else ""
    # \rlap: a mark must not push its number out of line with the others.
    mark += entry.note + (escape(leak_mark(entry)) if entry.mean else "")
    note = rf"\rlap{{\textsuperscript{{{mark}}}}}" if mark else ""
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
    paragraphs += [f"\\textsuperscript{{{escape(letter)}}}\\,{_sentence(text)}" for letter, text in sheet.notes]
    return paragraphs


def _rank_tables(
    cut: Sequence[Sheet], over_sets: Mapping[str, Sequence[Ranking]], titles: Mapping[str, str]
) -> list[str]:
    """Metrics x methods, by data set and then over data sets, as one table or, if it is long, several."""
    blocks = [
        (rf"{escape(sheet.title)}, protocol {escape(sheet.protocol)}", sheet.rankings)
        for sheet in cut
        if sheet.rankings
    ]
    blocks += [(f"Over data sets, protocol {escape(protocol)}", tuple(found)) for protocol, found in over_sets.items()]
    if not blocks:
        return []
    rankings = [ranking for _, of_block in blocks for ranking in of_block]
    kinds = {ranking.over: ranking for ranking in rankings}.values()
    said = " ".join(_sentence(capital(means([one for one in rankings if one.over == kind.over]))) for kind in kinds)
    notes = [
        rf"{said} $n$: number of them. CD: Nemenyi's critical difference; {escape(LETTERS_MEAN)}. "
        r"$p$: Friedman's test that all methods are equal."
    ]
    body: list[str] = []
    for title, of_block in blocks:
        gap = r"\addlinespace[2pt] " if body else ""
        body.append(rf"{gap}\multicolumn{{{len(titles) + 4}}}{{@{{}}l}}{{\emph{{{title}}}}} \\")
        body += [_rank_row(ranking, titles) for ranking in of_block]
    head = ["Metric", *(escape(title) for title in titles.values()), "$n$", "CD", "$p$"]
    caption = r"Mean ranks with Nemenyi's critical difference (CD, $\alpha = 0.05$)"
    return [line for table in _long_table("ranks", caption, "l", head, body, notes) for line in table]


def _rank_row(ranking: Ranking, titles: Mapping[str, str]) -> str:
    shared = letters(ranking)
    cells = []
    for method in titles:
        mean = ranking.rank(method)
        text = r"\textendash{}" if mean is None else f"{mean:.2f}"
        text = rf"\textbf{{{text}}}" if is_best(ranking, method) else text
        cells.append(text + (rf"\textsuperscript{{{shared[method]}}}" if shared.get(method) else ""))
    difference = "" if ranking.critical_difference is None else f"{ranking.critical_difference:.2f}"
    p = p_value(ranking.p).replace("< ", r"$<$\,")
    return " & ".join([_head(ranking.columns[0]), *cells, str(ranking.n), difference, p]) + r" \\"


def _tally_table(comparisons: Sequence[Comparison], titles: Mapping[str, str]) -> list[str]:
    """Methods x methods over all columns together."""
    counts = tally(comparisons)
    shown = [method for method in titles if any(method in pair for pair in counts)]
    body = [
        " & ".join([escape(titles[one]), *(counts.get((one, other), r"\textendash{}") for other in shown)]) + r" \\"
        for one in shown
    ]
    head = ["Method", *(escape(titles[method]) for method in shown)]
    notes = [f"{_sentence(capital(TALLY_MEANS))} Counted: {_sentence('; '.join(tallied(comparisons)))}"]
    caption = "Pairs of methods: better/not separated/worse"
    return [line for table in _long_table("pairs", caption, "c", head, body, notes) for line in table]


def _pair_tables(sheet: Sheet) -> list[str]:
    """Pairs of methods x metrics."""
    if not sheet.pairwise:
        return []
    titles = {line.row.method: line.title for line in sheet.lines}
    found = [both_ways(comparisons) for _, comparisons in sheet.pairwise]
    body = []
    last = ""
    for first, second in dict.fromkeys((one.first, one.second) for _, each in sheet.pairwise for one in each):
        cells = []
        for pairs in found:
            counts, effect, separated = pairs.get((first, second), ("", "", False))
            text = rf"\textbf{{{counts}}}" if separated else counts
            size = rf"\,{{\fontsize{{6}}{{7}}\selectfont {effect.replace('-', '$-$')}}}"
            cells.append(text + size if counts else r"\textendash{}")
        names = [escape(titles[first]) if first != last else "", escape(titles[second])]
        body.append(" & ".join([*names, *cells]) + r" \\")
        last = first
    head = ["Method", "against", *(_head(column) for column, _ in sheet.pairwise)]
    caption = f"Wins/ties/losses of each pair of methods: {escape(sheet.title)}, protocol {escape(sheet.protocol)}"
    said = PAIRWISE_MEANS.replace("the row's method", "the first method").replace("the column's", "the second")
    tables = _long_table(f"pairs-{sheet.slug}", caption, "l", head, body, [_sentence(capital(said))])
    return [line for table in tables for line in table]


def _long_table(
    slug: str, caption: str, align: str, head: Sequence[str], body: Sequence[str], notes: Sequence[str]
) -> Iterator[list[str]]:
    """A table in small print, cut where a page ends; the notes stand below the first part."""
    parts = -(-len(body) // _ROWS)
    size = -(-len(body) // max(parts, 1))
    for part in range(parts):
        yield [
            "",
            r"\begin{table*}[t]",
            r"\centering",
            rf"\caption{{{caption}{', continued' if part else ''}}}",
            rf"\label{{tab:{slug}{f'-{part + 1}' if part else ''}}}",
            r"\smallskip",
            r"\scriptsize",
            r"\setlength{\tabcolsep}{4pt}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{@{{}}l*{{{len(head) - 1}}}{{{align}}}@{{}}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *body[part * size : (part + 1) * size],
            r"\bottomrule",
            r"\end{tabular}}",
            *(() if part else _below(notes)),
            r"\end{table*}",
        ]


def _below(paragraphs: Sequence[str]) -> list[str]:
    return [
        r"\par\smallskip",
        r"\parbox{\linewidth}{\scriptsize\raggedright\sloppy",
        *(f"{paragraph}\\par" for paragraph in paragraphs if paragraph),
        "}",
    ]


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
