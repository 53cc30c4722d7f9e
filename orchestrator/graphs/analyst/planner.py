"""Plans a query for a question by rule: the stand-in of a model.

A plan counts or sums the rows of one table and reaches every other table along foreign keys of which each row has at
most one, so that no row is counted twice. Where a question has a word that nothing was made of, or where two columns
fit as well, there is no plan but the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analyst.policy import AnalystPolicy
from analyst.question import LENGTH, Mention, Question
from analyst.schema import Column, Join, Schema

RANKED_ROWS = 20
LISTED_ROWS = 50
DURATIONS = {"millisecond": 1000.0, "second": 1.0, "minute": 1 / 60}
PRICES = ("price", "cost")
AMOUNTS = ("total", "amount", "revenue")


class Unclear(Exception):
    """There is no plan. `reason` is the key of a reply, `facts` are what it states."""

    def __init__(self, reason: str, **facts: str) -> None:
        self.reason, self.facts = reason, facts
        super().__init__(reason)


@dataclass(frozen=True)
class Measure:
    """A number of each group of rows."""

    table: str
    expression: str
    label: str
    unit: str = ""
    where: str = ""
    counted: str = ""
    """What is counted, where the measure is a count: its expression in a query of another table."""


@dataclass(frozen=True)
class Group:
    """What rows are grouped by."""

    table: str
    keys: Sequence[str]
    shown: str
    label: str


@dataclass(frozen=True)
class Plan:
    """A query, and what it computes."""

    query: str
    parameters: Sequence[str | float]
    explanation: str
    unit: str
    is_single: bool = False
    """Whether the result is one number."""
    is_ranked: bool = False
    """Whether only the first of the rows is the answer, with those equal to it."""
    has_period: bool = False


def plan(question: Question, schema: Schema, policy: AnalystPolicy) -> Plan:
    """Plan the query of a question.

    Raises:
        Unclear: the question is not understood whole, or fits several queries.
    """
    if unknown := [phrase for phrase in question.unknown if not question.values.get(phrase)]:
        raise Unclear("unknown", words=", ".join(unknown))
    if question.ambiguous:
        raise Unclear("ambiguous", word=question.ambiguous[0])
    if question.months and not question.years:
        raise Unclear("no_year")
    return _Planner(question, schema, policy).plan()


class _Planner:
    def __init__(self, question: Question, schema: Schema, policy: AnalystPolicy) -> None:
        self._question, self._schema, self._policy = question, schema, policy
        self._ranked = question.has("most", "least", "top", "bottom")

    def plan(self) -> Plan:
        groups = [mention for mention in self._question.mentions if self._is_group(mention)]
        measured = [mention for mention in self._question.mentions if mention not in groups]
        measures = list(self._measures(measured))
        if not measures:
            return self._listed(groups, measured)
        failure: Unclear | None = None
        for measure in measures:
            try:
                return self._aggregated(measure, groups)
            except Unclear as error:
                failure = failure or error
        raise failure or Unclear("no_measure")

    # Roles of names

    def _is_group(self, mention: Mention) -> bool:
        if mention.is_measure:
            return False
        before = self._question.before(mention)
        if before == "by":
            return True
        return self._ranked and before in ("which", "top", "bottom")

    def _measures(self, mentions: Sequence[Mention]) -> "Sequence[Measure]":
        """Return the measures that the question may mean, the best first."""
        question = self._question
        measured = [mention for mention in mentions if mention.is_measure]
        if measured:
            if question.has("average", "distinct"):
                raise Unclear("no_measure")
            return self._amounts() if measured[0].word in ("revenue", "spent") else self._quantities()
        for mention in mentions:
            if question.before(mention) in ("count", "distinct"):
                if question.has("average") or (question.has("distinct") and not mention.columns):
                    raise Unclear("no_measure")
                return self._counts(mention)
        return self._numbers(mentions) or self._ranked_counts(mentions)

    def _numbers(self, mentions: Sequence[Mention]) -> list[Measure]:
        """Return averages, sums and extremes of columns."""
        has_tables = any(mention.tables for mention in mentions)
        if not self._question.has("average", "sum", "most", "least") or (self._wants_rows() and has_tables):
            return []
        named = [
            (mention, column)
            for mention in mentions
            for column in mention.columns
            if column.is_number and not column.is_id
        ]
        lengths = self._durations(mentions) if self._question.has("average") else []
        return [self._of_column(mention, column) for mention, column in named or lengths]

    def _ranked_counts(self, mentions: Sequence[Mention]) -> list[Measure]:
        """Return the counts that groups are ranked by: `which country has the most customers`."""
        for mention in mentions:
            if self._ranked and mention.tables and self._question.before(mention) in ("most", "least"):
                return self._counts(mention)
        return []

    def _wants_rows(self) -> bool:
        """Return whether rows of a table are ranked, and no groups."""
        return self._question.has("which", "top", "list") and not self._question.has("average", "sum")

    def _counts(self, mention: Mention) -> list[Measure]:
        found = [
            Measure(table, "count(*)", f"number of {table}", counted=self._key(table))
            for table in mention.tables
            if table not in self._schema.views
        ]
        distinct = [
            Measure(
                one.table,
                f"count(DISTINCT {_sql(one)})",
                f"number of different {one.table}.{one.name}",
                counted=_sql(one),
            )
            for one in mention.columns
        ]
        return found or distinct

    def _key(self, table: str) -> str:
        keys = self._schema.keys[table]
        return f"{_name(table)}.{_name(keys[0])}" if len(keys) == 1 else ""

    def _amounts(self) -> list[Measure]:
        declared = [
            Measure(one.table, one.expression, one.name, one.unit, one.filter)
            for one in self._policy.measures
            if one.name == "revenue" and one.table in self._schema.tables
        ]
        tables = {one.table for one in declared}
        totals = [
            Measure(one.table, _scaled(f"sum({_sql(one)})", one), f"sum of {one.table}.{one.name}", self._policy.unit)
            for one in self._schema.columns
            if one.is_number and one.words[-1:] and one.words[-1] in AMOUNTS and not self._is_view(one.table)
        ]
        return [*declared, *(one for one in [*totals, *self._products()] if one.table not in tables)]

    def _products(self) -> list[Measure]:
        """Return price times quantity, of tables that have both."""
        found = []
        for table in self._schema.tables:
            columns = self._schema.columns_of(table)
            prices = [one for one in columns if one.is_number and one.words[-1:] == ("price",)]
            counts = [one for one in columns if one.words == ("quantity",)]
            if len(prices) == len(counts) == 1 and not self._is_view(table):
                product = f"sum({_sql(prices[0])} * {_sql(counts[0])})"
                label = f"sum of {table}.{prices[0].name} × {counts[0].name}"
                found.append(Measure(table, _scaled(product, prices[0]), label, self._policy.unit))
        return found

    def _quantities(self) -> list[Measure]:
        return [
            Measure(one.table, f"sum({_sql(one)})", f"sum of {one.table}.{one.name}", where=self._filter_of(one.table))
            for one in self._schema.columns
            if one.words == ("quantity",) and not self._is_view(one.table)
        ]

    def _filter_of(self, table: str) -> str:
        return next((one.filter for one in self._policy.measures if one.table == table), "")

    def _is_view(self, table: str) -> bool:
        return table in self._schema.views

    def _durations(self, mentions: Sequence[Mention]) -> list[tuple[Mention, Column]]:
        return [
            (mention, column)
            for mention in mentions
            for table in mention.tables
            for column in self._schema.columns_of(table)
            if column.words[-1:] and column.words[-1] in DURATIONS
        ]

    def _of_column(self, mention: Mention, column: Column) -> Measure:
        function = "avg" if self._question.has("average") else "sum"
        if not self._question.has("average", "sum"):
            function = "max" if self._question.has("most") else "min"
        unit = column.words[-1] + "s" if column.words[-1:] and column.words[-1] in DURATIONS else ""
        is_money = not unit and (column.words[-1:] and column.words[-1] in (*PRICES, *AMOUNTS))
        label = f"{function} of {column.table}.{column.name}"
        return Measure(
            column.table, _scaled(f"{function}({_sql(column)})", column), label, self._policy.unit if is_money else unit
        )

    # Queries

    def _aggregated(self, measure: Measure, mentions: Sequence[Mention]) -> Plan:
        groups = [self._group(mention, measure.table) for mention in mentions]
        conditions, parameters, tables, told = self._conditions(measure.table)
        wanted = {measure.table, *(group.table for group in groups), *tables}
        self._require_used(mentions, wanted, [measure.expression, measure.counted, *conditions])
        base, measure = self._based(measure, wanted)
        where = [f"({measure.where})"] * bool(measure.where) + conditions
        select = [
            *(f"{group.shown} AS {_name(group.label)}" for group in groups),
            f"{measure.expression} AS {_name('value')}",
        ]
        query = f"SELECT {', '.join(select)} FROM {self._from(base, wanted)}"
        query += f" WHERE {' AND '.join(where)}" if where else ""
        limit = self._limit()
        if groups:
            keys = ", ".join(key for group in groups for key in group.keys)
            order = f"{_name('value')} {'ASC' if self._question.has('least', 'bottom') else 'DESC'}"
            order = order if self._ranked or not _is_period(mentions) else keys
            query += f" GROUP BY {keys} ORDER BY {order}, {keys} LIMIT {limit}"
        explanation = "; ".join([measure.label, *(f"by {group.label}" for group in groups), *told])
        is_ranked = self._question.has("most", "least") and not self._question.has("top", "bottom")
        return Plan(
            query,
            parameters,
            explanation,
            measure.unit,
            not groups,
            is_ranked and bool(groups),
            bool(self._question.years) or _is_period(mentions),
        )

    def _require_used(self, groups: Sequence[Mention], tables: set[str], parts: Sequence[str]) -> None:
        """Raises Unclear where a name of the question is not part of the query: it would answer another question."""
        for mention in self._question.mentions:
            reached = {other for table in tables for other in self._schema.paths(table)}
            is_used = (
                mention in groups or mention.is_measure or mention.is_period or bool(reached & set(mention.tables))
            )
            if not is_used and not any(_sql(column) in part for column in mention.columns for part in parts):
                is_length = mention.word == LENGTH and any(name in part.lower() for name in DURATIONS for part in parts)
                if not is_length:
                    raise Unclear("unknown", words=mention.word)
        periods = [mention for mention in self._question.mentions if mention.is_period and mention not in groups]
        if periods and not self._question.years:
            raise Unclear("unknown", words=periods[0].word)

    def _listed(self, groups: Sequence[Mention], mentions: Sequence[Mention]) -> Plan:
        """Plan a query of rows: names of a table, those with the largest value of a column, or values of named rows."""
        tables = [table for mention in (*groups, *mentions) for table in mention.tables if not self._is_view(table)]
        columns = [column for mention in mentions for column in mention.columns if not column.is_id]
        superlative = self._superlative(tables)
        if not tables and not columns:
            raise Unclear("no_measure")
        if not tables:
            tables = [self._nearest_table(columns)]
        table = tables[0]
        if not self._question.has("list", "which", "top") or len(set(tables)) > 1:
            raise Unclear("no_measure")
        conditions, parameters, others, told = self._conditions(table)
        own = [column for column in columns if column.table == table]
        if columns and not own:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in columns))
        if own and not conditions and not superlative:
            raise Unclear("no_measure")
        shown = [*self._schema.labels(table), *own]
        if not shown:
            raise Unclear("no_measure")
        select = [f"{self._label(table)} AS {_name(table)}"] if self._schema.labels(table) else []
        ranking, order = superlative or (None, "")
        values = [ranking] if ranking else own
        select += [f"{_scaled(_sql(one), one)} AS {_name(one.name)}" for one in values]
        query = f"SELECT {', '.join(select)} FROM {self._from(table, {table, *others})}"
        query += f" WHERE {' AND '.join(conditions)}" if conditions else ""
        query += f" ORDER BY {_sql(ranking)} {order}" if ranking else " ORDER BY 1"
        limit = self._limit() if ranking else LISTED_ROWS
        unit = (
            self._policy.unit if values and values[0].words[-1:] and values[0].words[-1] in (*PRICES, *AMOUNTS) else ""
        )
        return Plan(
            f"{query} LIMIT {limit}",
            parameters,
            "; ".join([f"rows of {table}", *told]),
            unit,
            is_ranked=bool(ranking) and not self._question.has("top"),
        )

    def _superlative(self, tables: Sequence[str]) -> tuple[Column, str] | None:
        """Return the column that rows are ranked by, and the order: `longest`, `cheapest`, `highest total`."""
        question = self._question
        if question.has("longest", "shortest"):
            kinds, order = tuple(DURATIONS), "DESC" if question.has("longest") else "ASC"
        elif question.has("dearest", "cheapest"):
            kinds, order = PRICES, "DESC" if question.has("dearest") else "ASC"
        else:
            named = [
                one for mention in question.mentions for one in mention.columns if one.is_number and one.table in tables
            ]
            return (named[0], "DESC" if question.has("most", "top") else "ASC") if named and self._ranked else None
        found = [
            column
            for table in tables[:1]
            for column in self._schema.columns_of(table)
            if column.is_number and column.words[-1:] and column.words[-1] in kinds
        ]
        if len(found) != 1:
            raise Unclear("no_measure")
        return found[0], order

    def _nearest_table(self, columns: Sequence[Column]) -> str:
        valued = [column.table for found in self._question.values.values() for column, _ in found]
        tables = [column.table for column in columns if column.table in valued] or [column.table for column in columns]
        if len(set(tables)) > 1:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in columns))
        return tables[0]

    def _based(self, measure: Measure, wanted: set[str]) -> tuple[str, Measure]:
        """Return the table to begin from, and the measure as it is computed there."""
        bases = list(self._schema.bases(wanted))
        if measure.table in bases:
            return measure.table, measure
        if bases and measure.counted:
            return bases[0], replace(measure, expression=f"count(DISTINCT {measure.counted})")
        raise Unclear("no_path", tables=", ".join(sorted(wanted)))

    def _from(self, base: str, wanted: set[str]) -> str:
        """Return the tables of a query, joined so that no row of the first is lost or repeated."""
        paths, joined = self._schema.paths(base), [_name(base)]
        done = {base}
        for table in sorted(wanted, key=lambda table: (len(paths[table]), table)):
            for join in paths[table]:
                if join.other not in done:
                    joined.append(f"LEFT JOIN {_name(join.other)} ON {_on(join)}")
                    done.add(join.other)
        return " ".join(joined)

    def _group(self, mention: Mention, table: str) -> Group:
        if mention.is_period:
            column = self._date(table)
            shown = self._period(mention.word, column)
            return Group(column.table, [shown], shown, mention.word)
        reached = self._reached(table)
        for name in mention.tables:
            if labels := self._schema.labels(name):
                keys = [f"{_name(name)}.{_name(key)}" for key in self._schema.keys[name]]
                return Group(name, [*keys, *(_sql(one) for one in labels)], self._label(name), mention.word)
        columns = sorted(mention.columns, key=lambda column: reached.get(column.table, 99))
        near = (
            [one for one in columns if reached.get(one.table, 99) == reached.get(columns[0].table, 99)]
            if columns
            else []
        )
        if len(near) != 1:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in near) or mention.word)
        return Group(near[0].table, [_sql(near[0])], _sql(near[0]), mention.word)

    def _reached(self, table: str) -> dict[str, int]:
        return {other: len(path) for other, path in self._schema.paths(table).items()}

    def _label(self, table: str) -> str:
        return " || ' ' || ".join(_sql(column) for column in self._schema.labels(table))

    # Conditions

    def _conditions(self, table: str) -> tuple[list[str], list[str | float], set[str], list[str]]:
        """Return the conditions, their parameters, the tables that they need, and what they are for people."""
        conditions, parameters, tables, told = list[str](), list[str | float](), set[str](), list[str]()
        for column, values in self._values(table).items():
            numbers = range(len(parameters) + 1, len(parameters) + len(values) + 1)
            parameters += values
            conditions.append(f"{_sql(column)} IN ({', '.join(f'${number}' for number in numbers)})")
            tables.add(column.table)
            told.append(f"{column.table}.{column.name} = {' or '.join(values)}")
        if self._question.years:
            column, (begin, end) = self._date(table), self._span()
            parameters += [begin, end]
            cast = "::date" if self._schema.is_postgresql else ""
            conditions.append(
                f"{_sql(column)} >= ${len(parameters) - 1}{cast} AND {_sql(column)} < ${len(parameters)}{cast}"
            )
            tables.add(column.table)
            told.append(f"{column.table}.{column.name} from {begin} to before {end}")
        for compared in self._comparisons(table):
            parameters.append(compared[2])
            conditions.append(f"{_sql(compared[0])} {compared[1]} ${len(parameters)}")
            tables.add(compared[0].table)
            told.append(f"{compared[0].table}.{compared[0].name} {compared[1]} {compared[2]:g}")
        for column in self._flags():
            conditions.append(_sql(column))
            tables.add(column.table)
            told.append(f"{column.table}.{column.name}")
        return conditions, parameters, tables, told

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
        reached = self._reached(table)
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

    def _date(self, table: str) -> Column:
        """Return the only date of the nearest table that has one."""
        for other, _ in sorted(self._reached(table).items(), key=lambda one: one[1]):
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

    def _period(self, word: str, column: Column) -> str:
        if self._schema.is_postgresql:
            return f"to_char({_sql(column)}, '{'YYYY' if word == 'year' else 'YYYY-MM'}')"
        return f"strftime('{'%Y' if word == 'year' else '%Y-%m'}', {_sql(column)})"

    def _limit(self) -> int:
        """Return the number behind `top`; some rows more than one where the first is wanted, since it may be a tie."""
        positions = [position for position, name in self._question.operations.items() if name in ("top", "bottom")]
        numbers = [
            int(number) for at, number in self._question.numbers.items() if any(0 < at - one <= 2 for one in positions)
        ]
        if numbers:
            return min(max(numbers[0], 1), self._policy.max_rows)
        return RANKED_ROWS if self._ranked else self._policy.max_rows


def _name(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def quoted(name: Column | str) -> str:
    """Return a table, or a column with its table, as a query has to write it."""
    return _name(name) if isinstance(name, str) else _sql(name)


def _sql(column: Column) -> str:
    return f"{_name(column.table)}.{_name(column.name)}"


def _on(join: Join) -> str:
    pairs = zip(join.columns, join.other_columns, strict=True)
    return " AND ".join(
        f"{_name(join.table)}.{_name(one)} = {_name(join.other)}.{_name(other)}" for one, other in pairs
    )


def _scaled(expression: str, column: Column) -> str:
    return f"{expression} / 100.0" if column.in_cents else expression


def _is_period(mentions: Sequence[Mention]) -> bool:
    return any(mention.is_period for mention in mentions)
