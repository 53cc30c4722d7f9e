"""Plans a query for a question by rule: the stand-in of a model.

A plan counts or sums the rows of one table and reaches every other table along foreign keys of which each row has at
most one, so that no row is counted twice. Where a question has a word that nothing was made of, or where two columns
fit as well, there is no plan but the reason.
"""

from collections.abc import Sequence
from dataclasses import replace

from analyst.conditions import Conditions
from analyst.measures import Measures
from analyst.plans import (
    AMOUNTS,
    DURATIONS,
    PRICES,
    Group,
    Measure,
    Plan,
    Unclear,
    join_condition,
    scaled,
    sql_column,
    sql_name,
)
from analyst.policy import AnalystPolicy
from analyst.question import LENGTH, Mention, Question
from analyst.schema import Column, Schema

RANKED_ROWS = 20
LISTED_ROWS = 50


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
        self._ranked = question.is_ranked
        self._measures = Measures(question, schema, policy)
        self._conditions = Conditions(question, schema)

    def plan(self) -> Plan:
        groups = [mention for mention in self._question.mentions if self._is_group(mention)]
        measured = [mention for mention in self._question.mentions if mention not in groups]
        measures = list(self._measures.of(measured))
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

    # Queries

    def _aggregated(self, measure: Measure, mentions: Sequence[Mention]) -> Plan:
        groups = [self._group(mention, measure.table) for mention in mentions]
        conditions, parameters, tables, descriptions = self._conditions.of(measure.table)
        wanted = {measure.table, *(group.table for group in groups), *tables}
        self._require_used(mentions, wanted, [measure.expression, measure.counted, *conditions])
        base, measure = self._based(measure, wanted)
        where = [f"({measure.where})"] * bool(measure.where) + conditions
        select = [
            *(f"{group.shown} AS {sql_name(group.label)}" for group in groups),
            f"{measure.expression} AS {sql_name('value')}",
        ]
        query = f"SELECT {', '.join(select)} FROM {self._from(base, wanted)}"
        query += f" WHERE {' AND '.join(where)}" if where else ""
        limit = self._limit()
        if groups:
            keys = ", ".join(key for group in groups for key in group.keys)
            order = f"{sql_name('value')} {'ASC' if self._question.has('least', 'bottom') else 'DESC'}"
            order = order if self._ranked or not is_period(mentions) else keys
            query += f" GROUP BY {keys} ORDER BY {order}, {keys} LIMIT {limit}"
        explanation = "; ".join([measure.label, *(f"by {group.label}" for group in groups), *descriptions])
        is_ranked = self._question.has("most", "least") and not self._question.has("top", "bottom")
        return Plan(
            query,
            parameters,
            explanation,
            measure.unit,
            not groups,
            is_ranked and bool(groups),
            bool(self._question.years) or is_period(mentions),
        )

    def _require_used(self, groups: Sequence[Mention], tables: set[str], parts: Sequence[str]) -> None:
        """Raises Unclear where a name of the question is not part of the query: it would answer another question."""
        for mention in self._question.mentions:
            reached = {other for table in tables for other in self._schema.paths(table)}
            is_used = (
                mention in groups or mention.is_measure or mention.is_period or bool(reached & set(mention.tables))
            )
            if not is_used and not any(sql_column(column) in part for column in mention.columns for part in parts):
                is_length = mention.word == LENGTH and any(name in part.lower() for name in DURATIONS for part in parts)
                if not is_length:
                    raise Unclear("unknown", words=mention.word)
        periods = [mention for mention in self._question.mentions if mention.is_period and mention not in groups]
        if periods and not self._question.years:
            raise Unclear("unknown", words=periods[0].word)

    def _listed(self, groups: Sequence[Mention], mentions: Sequence[Mention]) -> Plan:
        """Plan a query of rows: names of a table, those with the largest value of a column, or values of named rows."""
        tables = [
            table for mention in (*groups, *mentions) for table in mention.tables if table not in self._schema.views
        ]
        columns = [column for mention in mentions for column in mention.columns if not column.is_id]
        superlative = self._superlative(tables)
        if not tables and not columns:
            raise Unclear("no_measure")
        if not tables:
            tables = [self._nearest_table(columns)]
        table = tables[0]
        if not self._question.has("list", "which", "top") or len(set(tables)) > 1:
            raise Unclear("no_measure")
        conditions, parameters, others, descriptions = self._conditions.of(table)
        own = [column for column in columns if column.table == table]
        if columns and not own:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in columns))
        if own and not conditions and not superlative:
            raise Unclear("no_measure")
        shown = [*self._schema.labels(table), *own]
        if not shown:
            raise Unclear("no_measure")
        select = [f"{self._label(table)} AS {sql_name(table)}"] if self._schema.labels(table) else []
        ranking, order = superlative or (None, "")
        values = [ranking] if ranking else own
        select += [f"{scaled(sql_column(one), one)} AS {sql_name(one.name)}" for one in values]
        query = f"SELECT {', '.join(select)} FROM {self._from(table, {table, *others})}"
        query += f" WHERE {' AND '.join(conditions)}" if conditions else ""
        query += f" ORDER BY {sql_column(ranking)} {order}" if ranking else " ORDER BY 1"
        limit = self._limit() if ranking else LISTED_ROWS
        unit = (
            self._policy.unit if values and values[0].words[-1:] and values[0].words[-1] in (*PRICES, *AMOUNTS) else ""
        )
        return Plan(
            f"{query} LIMIT {limit}",
            parameters,
            "; ".join([f"rows of {table}", *descriptions]),
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
        paths, joined = self._schema.paths(base), [sql_name(base)]
        done = {base}
        for table in sorted(wanted, key=lambda table: (len(paths[table]), table)):
            for join in paths[table]:
                if join.other not in done:
                    joined.append(f"LEFT JOIN {sql_name(join.other)} ON {join_condition(join)}")
                    done.add(join.other)
        return " ".join(joined)

    def _group(self, mention: Mention, table: str) -> Group:
        if mention.is_period:
            column = self._conditions.date(table)
            shown = self._period(mention.word, column)
            return Group(column.table, [shown], shown, mention.word)
        reached = self._schema.distances(table)
        for name in mention.tables:
            if labels := self._schema.labels(name):
                keys = [f"{sql_name(name)}.{sql_name(key)}" for key in self._schema.keys[name]]
                return Group(name, [*keys, *(sql_column(one) for one in labels)], self._label(name), mention.word)
        columns = sorted(mention.columns, key=lambda column: reached.get(column.table, 99))
        near = (
            [one for one in columns if reached.get(one.table, 99) == reached.get(columns[0].table, 99)]
            if columns
            else []
        )
        if len(near) != 1:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in near) or mention.word)
        return Group(near[0].table, [sql_column(near[0])], sql_column(near[0]), mention.word)

    def _label(self, table: str) -> str:
        return " || ' ' || ".join(sql_column(column) for column in self._schema.labels(table))

    def _period(self, word: str, column: Column) -> str:
        if self._schema.is_postgresql:
            return f"to_char({sql_column(column)}, '{'YYYY' if word == 'year' else 'YYYY-MM'}')"
        return f"strftime('{'%Y' if word == 'year' else '%Y-%m'}', {sql_column(column)})"

    def _limit(self) -> int:
        """Return the number behind `top`; some rows more than one where the first is wanted, since it may be a tie."""
        positions = [position for position, name in self._question.operations.items() if name in ("top", "bottom")]
        numbers = [
            int(number) for at, number in self._question.numbers.items() if any(0 < at - one <= 2 for one in positions)
        ]
        if numbers:
            return min(max(numbers[0], 1), self._policy.max_rows)
        return RANKED_ROWS if self._ranked else self._policy.max_rows


def is_period(mentions: Sequence[Mention]) -> bool:
    return any(mention.is_period for mention in mentions)
