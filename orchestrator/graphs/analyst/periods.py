"""The periods of a question as spans of dates: years, months and quarters, listed, as ranges, or with one open end."""

from collections.abc import Sequence

from analyst.plans import Unclear
from analyst.question import Question

Span = tuple[str, str]
"""From the first date to before the second; an empty one is open."""
EDGES = ("since", "before", "after")


def spans(question: Question) -> list[Span]:
    """Return the spans of a question; empty where it has no period.

    Raises:
        Unclear: the periods fit no span, or several.
    """
    years = [question.years[position] for position in sorted(question.years)]
    edges = {position: name for position, name in question.operations.items() if name in EDGES}
    if edges:
        return [_open_span(question, edges)]
    if not years:
        return []
    if question.months:
        return [_months_span(first, last) for first, last in _runs(_months_of(question, years))]
    if question.ranges:
        if len(years) != 2 or years[0] >= years[1]:
            raise Unclear("no_measure")
        years = list(range(years[0], years[1] + 1))
    return [(f"{first}-01-01", f"{last + 1}-01-01") for first, last in _runs(years)]


def described(span: Span) -> str:
    begin, end = span
    return " ".join([f"from {begin}"] * bool(begin) + [f"before {end}"] * bool(end))


def _open_span(question: Question, edges: dict[int, str]) -> Span:
    """`since 2024`: the one year of the question has to be right behind the only such word."""
    [(position, name), *others] = edges.items()
    year = next((year for at, year in question.years.items() if at == question.ends[position]), None)
    if others or year is None or len(question.years) > 1 or question.months or question.ranges:
        raise Unclear("no_measure")
    match name:
        case "since":
            return f"{year}-01-01", ""
        case "after":
            return f"{year + 1}-01-01", ""
    return "", f"{year}-01-01"


def _months_of(question: Question, years: Sequence[int]) -> list[int]:
    """Return the months as numbers from year 0: one year has them all."""
    if len(set(years)) > 1:
        raise Unclear("no_measure")
    named = [question.months[position] for position in sorted(question.months)]
    months = [month for group in named for month in group]
    if question.ranges:
        first, last = months[0], months[-1]
        if len(named) != 2 or first >= last:
            raise Unclear("no_measure")
        months = list(range(first, last + 1))
    return [years[0] * 12 + month - 1 for month in months]


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _months_span(first: int, last: int) -> Span:
    begin, end = divmod(first, 12), divmod(last + 1, 12)
    return f"{begin[0]}-{begin[1] + 1:02}-01", f"{end[0]}-{end[1] + 1:02}-01"
