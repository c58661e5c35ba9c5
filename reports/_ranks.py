"""Rankings and pairwise comparisons as reports print them: in words, letters and short texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from bench.contracts import Comparison, Ranking, Table

ALPHA = 0.05

LETTERS_MEAN = (
    "methods that share a letter are not separated: their mean ranks differ by less than Nemenyi's critical difference "
    "(α = 0.05; from five pictures or data sets on); bold: best, separated from every other method by it"
)
PAIRWISE_MEANS = (
    "pictures on which the row's method is better than, equal to and worse than the column's; small: matched-pairs "
    "rank-biserial correlation, +1 where it always wins; bold: separated (two-sided Wilcoxon signed-rank test, exact "
    "sign test where fewer than six pictures differ; Holm-corrected over all pairs of the metric, α = 0.05)"
)
TALLY_MEANS = (
    "metrics and data sets for which the row's method is separated from the column's as the better one, not separated "
    "from it, and separated as the worse one (two-sided Wilcoxon signed-rank test over pictures, exact sign test "
    "where fewer than six differ; Holm-corrected over all pairs of a column, α = 0.05)"
)


def means(rankings: Sequence[Ranking]) -> str:
    """What the ranks are means over, as a sentence's part."""
    left_out = "; a method that lacks more than half of them is left out" if any(r.left_out for r in rankings) else ""
    over = {
        "pictures": "the pictures that all methods have",
        "data sets": "the data sets that all methods have, by the values in their tables",
    }
    blocks = over.get(rankings[0].over, rankings[0].over)
    return f"mean rank over {blocks}{left_out}; 1 is best, equal values share ranks"


def over_datasets(table: Table) -> dict[str, list[Ranking]]:
    """Rankings over data sets by protocol, in table order."""
    found: defaultdict[str, list[Ranking]] = defaultdict(list)
    for ranking in table.rankings:
        if ranking.over == "data sets":
            found[ranking.columns[0].protocol].append(ranking)
    return dict(found)


def letters(ranking: Ranking) -> dict[str, str]:
    """Letters of the groups each method is in: 'A', 'AB' …; '' for a method separated from all others."""
    return {
        method: "".join(_letter(place) for place, group in enumerate(ranking.groups) if method in group)
        for method in ranking.methods
    }


def _letter(place: int) -> str:
    """A … Z, then A1, B1 …"""
    round_, place = divmod(place, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(round_) if round_ else "")


def is_best(ranking: Ranking, method: str) -> bool:
    """Whether the method has the best mean rank and the critical difference separates it from every other."""
    separable = ranking.critical_difference is not None
    return separable and method == ranking.methods[0] and not letters(ranking)[method]


def p_value(p: float | None) -> str:
    """Three decimals; '' for None."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def both_ways(comparisons: Sequence[Comparison]) -> Mapping[tuple[str, str], tuple[str, str, bool]]:
    """By (method, other): 'wins/ties/losses' and effect from the method's side, and whether the two are separated."""
    found = {}
    for one in comparisons:
        separated = one.p_holm < ALPHA
        found[one.first, one.second] = f"{one.wins}/{one.ties}/{one.losses}", effect(one.effect), separated
        found[one.second, one.first] = f"{one.losses}/{one.ties}/{one.wins}", effect(-one.effect), separated
    return found


def effect(value: float) -> str:
    """Two decimals with a sign, '0.00' without one."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def tally(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], str]:
    """By (method, other): in how many columns the method is separated as better, not separated, separated as worse."""
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in comparisons:
        outcome = 1 if one.p_holm >= ALPHA or one.effect == 0 else 0 if one.effect > 0 else 2
        found[one.first, one.second][outcome] += 1
        found[one.second, one.first][2 - outcome] += 1
    return {pair: "/".join(map(str, counts)) for pair, counts in found.items()}


def tallied(comparisons: Sequence[Comparison]) -> list[str]:
    """The columns that are counted, e.g. 'LOL-v1 (native-8bit): PSNR, SSIM'."""
    labels: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one in comparisons:
        labels[one.column.dataset_label, one.column.protocol][one.column.metric_label] = None
    return [f"{dataset} ({protocol}): {', '.join(metrics)}" for (dataset, protocol), metrics in labels.items()]
