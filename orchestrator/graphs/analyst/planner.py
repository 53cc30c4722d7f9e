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
from analyst.question import ASCENDING, DESCENDING, LENGTH, Mention, Question
from analyst.schema import Column, Schema


def plan(question: Question, schema: Schema, policy: AnalystPolicy) -> Plan:
    """Plan the query of a question.

    Raises:
        Unclear: the question is not understood whole, or fits several queries.
    """
    unknown = [*question.forbidden, *(phrase for phrase in question.unknown if not question.values.get(phrase))]
    if unknown:
        raise Unclear("unknown", words=", ".join(unknown))
    _require_currency(question, schema, policy)
    if "recent" in question.ambiguous.values():
        raise Unclear("no_year")
    if question.ambiguous:
        raise Unclear("ambiguous", word=question.tokens[min(question.ambiguous)])
    if question.months and not question.years:
        raise Unclear("no_year")
    by_year = [at for at, name in question.operations.items() if name == "by" and question.ends[at] in question.years]
    if by_year:  # `nach 2023` is after it, `na 2023` is after it or of it
        raise Unclear("no_measure")
    return _Planner(question, schema, policy).plan()


def _require_currency(question: Question, schema: Schema, policy: AnalystPolicy) -> None:
    """Raises Unclear where a currency is named that amounts are not known to be in, but for the number before it."""
    units = {policy.unit, *(one.unit for one in policy.measures if one.table in schema.tables)} - {""}
    for position, code in question.currencies.items():
        is_of_number = not units and {position, position - 1} & question.numbers.keys()
        if code not in units and not is_of_number:
            raise Unclear("unknown", words=question.tokens[position])


_FIRST = ("most", "least", "highest", "lowest")
"""Rankings of which the first is the answer."""


class _Planner:
    def __init__(self, question: Question, schema: Schema, policy: AnalystPolicy) -> None:
        self._question, self._schema, self._policy = question, schema, policy
        self._ranked = question.is_ranked
        self._measures = Measures(question, schema, policy)
        self._conditions = Conditions(question, schema)

    def plan(self) -> Plan:
        groups: list[Mention] = []
        for mention in self._question.mentions:
            if self._is_group(mention) or (not mention.is_measure and self._question.is_joined(mention, groups)):
                groups.append(mention)
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
        if before == "by" or mention.is_adverb:
            return True
        is_bounded = mention.start - 1 in self._question.numbers
        return self._ranked and (before in ("which", "top", "bottom") or is_bounded)

    def _require_operations(self, measure: Measure, groups: Sequence[Mention]) -> None:
        """Raises Unclear where an operation of the question is not part of the query."""
        question = self._question
        is_average = measure.expression.startswith("avg(")
        is_unused = (
            question.has("longest", "shortest", "dearest", "cheapest")
            or (question.has(*DESCENDING) and question.has(*ASCENDING))
            or (self._ranked and not groups and not measure.is_extreme)
            or (measure.is_extreme and question.has("sum", "average", "count"))
            or (question.has("average") and not is_average and not self._is_mean(groups))
        )
        kinds = {question.before(one) == "by" for one in groups} if self._ranked else set()
        asked = [one for one in question.mentions if one.tables and question.before(one) == "which"]
        if is_unused or len(kinds) > 1 or any(one not in groups for one in asked):
            raise Unclear("no_measure")

    def _is_mean(self, groups: Sequence[Mention]) -> bool:
        """Return whether a count is divided by the number of groups: `average number of tracks per album`."""
        return self._question.has("average") and self._question.has("count") and len(groups) == 1 and not self._ranked

    # Queries

    def _aggregated(self, measure: Measure, mentions: Sequence[Mention]) -> Plan:
        self._require_operations(measure, mentions)
        groups = [self._group(mention, measure.table) for mention in mentions]
        conditions, parameters, tables, descriptions = self._conditions.of(measure.table)
        wanted = {measure.table, *filter(None, [measure.reads]), *(group.table for group in groups), *tables}
        self._require_used(mentions, wanted, [measure.expression, measure.counted, *conditions])
        base, measure = self._based(measure, wanted)
        where = [f"({measure.where})"] * bool(measure.where) + conditions
        if self._is_mean(mentions):
            [group] = groups
            groups, where = [], [*where, f"{group.keys[0]} IS NOT NULL"]
            measure = replace(
                measure,
                expression=f"{measure.expression} * 1.0 / count(DISTINCT {group.keys[0]})",
                label=f"{measure.label} / number of different {group.label} that have one",
            )
        select = [
            *(f"{group.shown} AS {sql_name(group.label)}" for group in groups),
            f"{measure.expression} AS {sql_name('value')}",
        ]
        query = f"SELECT {', '.join(select)} FROM {self._from(base, wanted)}"
        query += f" WHERE {' AND '.join(where)}" if where else ""
        if groups:
            keys = ", ".join(key for group in groups for key in group.keys)
            order = f"{sql_name('value')} {'ASC' if self._question.has(*ASCENDING) else 'DESC'} NULLS LAST"
            order = order if self._ranked or not is_period(mentions) else keys
            query += f" GROUP BY {keys} ORDER BY {order}, {keys}"
        explanation = "; ".join([measure.label, *(f"by {group.label}" for group in groups), *descriptions])
        top = self._top()
        return Plan(
            query,
            parameters,
            explanation,
            measure.unit,
            is_single=not groups,
            is_ranked=bool(groups) and self._question.has(*_FIRST) and not top,
            has_period=bool(self._question.years) or is_period(mentions),
            top=top,
        )

    def _require_used(self, groups: Sequence[Mention], tables: set[str], parts: Sequence[str]) -> None:
        """Raises Unclear where a name of the question is not part of the query: it would answer another question."""
        for mention in self._question.mentions:
            reached = {other for table in tables for other in self._schema.paths(table)}
            others = [one for one in self._question.mentions if one is not mention]
            is_implied = bool(reached & set(mention.tables)) and not self._question.is_joined(mention, others)
            is_used = mention in groups or mention.is_measure or mention.is_period or is_implied
            if not is_used and not any(sql_column(column) in part for column in mention.columns for part in parts):
                is_length = mention.word == LENGTH and any(name in part.lower() for name in DURATIONS for part in parts)
                if not is_length:
                    raise Unclear("unknown", words=mention.word)
        dated = [*self._question.years, *self._question.months]
        for mention in self._question.mentions:
            is_of_date = any(mention.start - 2 <= position <= mention.end + 1 for position in dated)
            if mention.is_period and mention not in groups and not is_of_date:
                raise Unclear("unknown", words=mention.word)

    def _listed(self, groups: Sequence[Mention], mentions: Sequence[Mention]) -> Plan:
        """Plan a query of rows: names of a table, those with the largest value of a column, or values of named rows."""
        question = self._question
        if question.has("count", "distinct", "sum", "average") or any(one.is_adverb for one in question.mentions):
            raise Unclear("no_measure")
        tables = [
            table for mention in (*groups, *mentions) for table in mention.tables if table not in self._schema.views
        ]
        columns = [column for mention in mentions for column in mention.columns if not column.is_id]
        superlative = self._superlative(tables)
        if not tables and not columns:
            raise Unclear("no_measure")
        table = tables[0] if tables else self._nearest_table(columns)
        if not question.has("list", "which", "top") or (self._ranked and not superlative):
            raise Unclear("no_measure")
        conditions, parameters, others, descriptions = self._conditions.of(table)
        if set(tables) - {table, *others} or (columns and not any(column.table == table for column in columns)):
            raise Unclear("no_measure")
        own = [column for column in columns if column.table == table]
        if (own and not conditions and not superlative) or not (self._schema.labels(table) or own):
            raise Unclear("no_measure")
        base = next(self._schema.bases({table, *others}), None)
        if base is None:
            raise Unclear("no_path", tables=", ".join(sorted({table, *others})))
        ranking, order = superlative or (None, "")
        values = [ranking] if ranking else own
        select = [f"{self._label(table)} AS {sql_name(table)}"] if self._schema.labels(table) else []
        select += [f"{scaled(sql_column(one), one)} AS {sql_name(one.name)}" for one in values]
        is_repeated = base != table
        query = f"SELECT {'DISTINCT ' * is_repeated}{', '.join(select)} FROM {self._from(base, {table, *others})}"
        query += f" WHERE {' AND '.join(conditions)}" if conditions else ""
        query += f" ORDER BY {len(select)} {order} NULLS LAST" if ranking else " ORDER BY 1"
        is_money = bool(values) and values[0].words[-1:] != () and values[0].words[-1] in (*PRICES, *AMOUNTS)
        top = self._top() if ranking else 0
        return Plan(
            query,
            parameters,
            "; ".join([f"rows of {table}", *descriptions]),
            self._policy.unit if is_money else "",
            is_ranked=bool(ranking) and not top,
            top=top,
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
            return (named[0], "DESC" if question.has(*DESCENDING) else "ASC") if named and self._ranked else None
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
        columns = sorted(self._question.wanted(mention.columns), key=lambda column: reached.get(column.table, 99))
        near = (
            [one for one in columns if reached.get(one.table, 99) == reached.get(columns[0].table, 99)]
            if columns
            else []
        )
        if len(near) != 1:
            names = ", ".join(f"{one.table}.{one.name}" for one in near)
            raise Unclear("several", names=names) if near else Unclear("unknown", words=mention.word)
        return Group(near[0].table, [sql_column(near[0])], sql_column(near[0]), mention.word)

    def _label(self, table: str) -> str:
        return " || ' ' || ".join(sql_column(column) for column in self._schema.labels(table))

    def _period(self, word: str, column: Column) -> str:
        if self._schema.is_postgresql:
            return f"to_char({sql_column(column)}, '{'YYYY' if word == 'year' else 'YYYY-MM'}')"
        return f"strftime('{'%Y' if word == 'year' else '%Y-%m'}', {sql_column(column)})"

    def _top(self) -> int:
        """Return how many rows of a ranking are wanted; 0 for all, of which the first may be the answer."""
        numbers = [int(number) for at, number in self._question.numbers.items() if self._question.is_limit(at)]
        if len(numbers) > 1:
            raise Unclear("no_measure")
        return min(max(numbers[0], 1), self._policy.max_rows) if numbers else 0


def is_period(mentions: Sequence[Mention]) -> bool:
    return any(mention.is_period for mention in mentions)
