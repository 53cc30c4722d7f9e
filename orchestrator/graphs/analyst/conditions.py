"""The conditions of a question: values of columns, periods, comparisons and flags."""

from collections.abc import Sequence

from analyst.periods import Span, described, spans
from analyst.plans import AMOUNTS, DURATIONS, PRICES, Unclear, sql_column
from analyst.question import COMPARISONS, Question
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
        if periods := spans(self._question):
            column = self.date(table)
            conditions.append(f"({' OR '.join(self._within(column, span, parameters) for span in periods)})")
            tables.add(column.table)
            descriptions.append(f"{column.table}.{column.name} {' or '.join(map(described, periods))}")
        for column, sign, number in self._comparisons(table):
            parameters.append(number)
            conditions.append(f"{sql_column(column)} {sign} ${len(parameters)}")
            tables.add(column.table)
            words = {">": "above", "<": "below", ">=": "at least", "<=": "at most"}
            descriptions.append(f"{column.table}.{column.name} {words[sign]} {number:.12g}")
        for column in self._flags():
            conditions.append(sql_column(column))
            tables.add(column.table)
            descriptions.append(f"{column.table}.{column.name}")
        return conditions, parameters, tables, descriptions

    def _within(self, column: Column, span: Span, parameters: list[str | float]) -> str:
        parts = []
        for sign, date in zip((">=", "<"), span, strict=True):
            if date:
                parameters.append(date)
                cast = "::date" if self._schema.is_postgresql else ""
                parts.append(f"{sql_column(column)} {sign} ${len(parameters)}{cast}")
        return " AND ".join(parts)

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
        chosen = self._question.wanted(column for column, _ in found)
        named = [one for one in found if self._question.is_before(phrase, one[0])]
        near = named or [one for one in found if one[0] in chosen]
        near = [one for one in near if one[0].table in reached] or near
        near.sort(key=lambda one: reached.get(one[0].table, 99))
        is_certain = named or len(chosen) < len(found) or phrase not in self._question.uncertain
        if not is_certain or len({self._meaning(column) for column, _ in near}) > 1:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name} = {value}" for one, value in near))
        return near[0]

    def _meaning(self, column: Column) -> tuple[str, ...]:
        """Return what columns of the same things have in common: a country is one, names are of each table's rows."""
        is_label = column in self._schema.labels(column.table)
        return (column.table, column.name) if is_label else column.words[-1:]

    def date(self, table: str) -> Column:
        """Return the only date of the nearest table that has one."""
        for other, _ in sorted(self._schema.distances(table).items(), key=lambda one: one[1]):
            dates = self._question.wanted(self._schema.dates(other))
            if len(dates) == 1:
                return dates[0]
            if dates:
                raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in dates))
        raise Unclear("no_date", table=table)

    def _comparisons(self, table: str) -> list[tuple[Column, str, float]]:
        """Return the columns that are compared with numbers: `longer than 5 minutes`."""
        question, found = self._question, []
        pending = [question.ends[at] for at, name in question.operations.items() if name in COMPARISONS]
        for position, number in question.numbers.items():
            if question.is_limit(position):
                continue
            before = [at for at, name in question.operations.items() if name in COMPARISONS and at < position]
            last = max(before, default=-1)
            if last < 0 or position - question.ends[last] > 1 or question.ends[last] not in pending:
                raise Unclear("no_measure")
            pending.remove(question.ends[last])
            seconds = question.seconds.get(position + 1)
            column, factor = self._compared(table, position, seconds)
            found.append((column, COMPARISONS[question.operations[last]], number * factor * (seconds or 1)))
        if pending:
            raise Unclear("no_measure")
        return found

    def _compared(self, table: str, position: int, seconds: int | None) -> tuple[Column, float]:
        """Return the column that a number is compared with, of the table or of one that the question names."""
        reached = self._schema.distances(table)
        named = {name for mention in self._question.mentions for name in mention.tables if name in reached}
        for name in sorted(named | {table}, key=lambda one: (reached[one], one)):
            columns = [one for one in self._schema.columns_of(name) if one.is_number and not one.is_id]
            found = self._of_unit(columns, position, seconds)
            if len(found) == 1:
                [column] = found
                return column, DURATIONS[column.words[-1]] if seconds else 100.0 if column.in_cents else 1.0
        raise Unclear("no_measure")

    def _of_unit(self, columns: Sequence[Column], position: int, seconds: int | None) -> list[Column]:
        if seconds:
            return [one for one in columns if one.words[-1:] and one.words[-1] in DURATIONS]
        named = [one for one in columns if any(one in mention.columns for mention in self._question.mentions)]
        if not named and {position, position + 1} & self._question.currencies.keys():
            return [one for one in columns if one.words[-1:] and one.words[-1] in (*PRICES, *AMOUNTS)]
        return named
