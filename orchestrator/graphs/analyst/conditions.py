"""The conditions of a question: values of columns, periods, comparisons and flags."""

from collections.abc import Sequence

from analyst.plans import DURATIONS, Unclear, sql_column
from analyst.question import Question
from analyst.schema import Column, Schema


class Conditions:
    """Finds the conditions of one question."""

    def __init__(self, question: Question, schema: Schema) -> None:
        self._question, self._schema = question, schema

    def of(self, table: str) -> tuple[list[str], list[str | float], set[str], list[str]]:
        """Return the conditions, their parameters, the tables that they need, and what they are for people."""
        conditions, parameters, tables, descriptions = list[str](), list[str | float](), set[str](), list[str]()
        for column, values in self._values(table).items():
            numbers = range(len(parameters) + 1, len(parameters) + len(values) + 1)
            parameters += values
            conditions.append(f"{sql_column(column)} IN ({', '.join(f'${number}' for number in numbers)})")
            tables.add(column.table)
            descriptions.append(f"{column.table}.{column.name} = {' or '.join(values)}")
        if self._question.years:
            column, (begin, end) = self.date(table), self._span()
            parameters += [begin, end]
            cast = "::date" if self._schema.is_postgresql else ""
            last = len(parameters)
            name = sql_column(column)
            conditions.append(f"{name} >= ${last - 1}{cast} AND {name} < ${last}{cast}")
            tables.add(column.table)
            descriptions.append(f"{column.table}.{column.name} from {begin} to before {end}")
        for compared in self._comparisons(table):
            parameters.append(compared[2])
            conditions.append(f"{sql_column(compared[0])} {compared[1]} ${len(parameters)}")
            tables.add(compared[0].table)
            descriptions.append(f"{compared[0].table}.{compared[0].name} {compared[1]} {compared[2]:g}")
        for column in self._flags():
            conditions.append(sql_column(column))
            tables.add(column.table)
            descriptions.append(f"{column.table}.{column.name}")
        return conditions, parameters, tables, descriptions

    def _flags(self) -> list[Column]:
        """Return the columns of yes and no that the question names: rows for which they hold are meant."""
        return [one for mention in self._question.mentions for one in mention.columns if one.is_flag]

    def _values(self, table: str) -> dict[Column, list[str]]:
        """Return the values of the question by their columns: several of one column are alternatives."""
        found: dict[Column, list[str]] = {}
        for phrase, candidates in self._question.values.items():
            column, stored = self._value(phrase, candidates, table)
            found.setdefault(column, []).append(stored)
        return found

    def _value(self, phrase: str, found: Sequence[tuple[Column, str]], table: str) -> tuple[Column, str]:
        """Return the column of a value: of the name right before it, else the nearest of columns of one meaning."""
        reached = self._schema.distances(table)
        near = [one for one in found if self._is_named_before(phrase, one[0])]
        near = near or [one for one in found if one[0].table in reached] or list(found)
        near.sort(key=lambda one: reached.get(one[0].table, 99))
        first = [one for one in near if one[0].table == near[0][0].table]
        if len(first) > 1 or len({column.words[-1:] for column, _ in near}) > 1:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name} = {value}" for one, value in near))
        return first[0]

    def _is_named_before(self, phrase: str, column: Column) -> bool:
        begin = phrase.split()[0]
        position = next((at for at, token in enumerate(self._question.tokens) if token.rstrip(".") == begin), 0)
        before = [one for one in self._question.mentions if 0 < position - one.start <= 3]
        return bool(before) and (column.table in before[-1].tables or column in before[-1].columns)

    def date(self, table: str) -> Column:
        """Return the only date of the nearest table that has one."""
        for other, _ in sorted(self._schema.distances(table).items(), key=lambda one: one[1]):
            dates = self._schema.dates(other)
            if len(dates) == 1:
                return dates[0]
            if dates:
                raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in dates))
        raise Unclear("no_date", table=table)

    def _span(self) -> tuple[str, str]:
        years, months = sorted(self._question.years), sorted(self._question.months)
        if not months:
            if years != list(range(years[0], years[-1] + 1)):
                raise Unclear("no_measure")
            return f"{years[0]}-01-01", f"{years[-1] + 1}-01-01"
        if len(years) > 1 or len(months) > 1:
            raise Unclear("no_measure")
        year, month = years[0], months[0]
        after = (year + 1, 1) if month == 12 else (year, month + 1)
        return f"{year}-{month:02}-01", f"{after[0]}-{after[1]:02}-01"

    def _comparisons(self, table: str) -> list[tuple[Column, str, float]]:
        """Return the columns that are compared with numbers: `longer than 5 minutes`."""
        found = []
        for position, number in self._question.numbers.items():
            before = [self._question.operations.get(one) for one in range(max(0, position - 3), position)]
            sign = ">" if "more" in before else "<" if "less" in before else ""
            if "top" in before or "bottom" in before:
                continue
            seconds = self._question.seconds.get(position + 1)
            if not sign:
                raise Unclear("no_measure")
            found.append((*self._compared(table, seconds), sign, number, seconds))
        return [(column, sign, number * factor * (seconds or 1)) for column, factor, sign, number, seconds in found]

    def _compared(self, table: str, seconds: int | None) -> tuple[Column, float]:
        columns = self._schema.columns_of(table)
        if seconds:
            lengths = [one for one in columns if one.words[-1:] and one.words[-1] in DURATIONS]
            if len(lengths) == 1:
                return lengths[0], DURATIONS[lengths[0].words[-1]]
        named = [
            one
            for mention in self._question.mentions
            for one in mention.columns
            if one.is_number and one.table == table
        ]
        if len(named) != 1 or seconds:
            raise Unclear("no_measure")
        return named[0], 100.0 if named[0].in_cents else 1.0
