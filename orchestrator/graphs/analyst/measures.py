"""The measures that a question may mean: counts, amounts, quantities, and aggregates of columns."""

from collections.abc import Sequence

from analyst.plans import AMOUNTS, DURATIONS, PRICES, Measure, Unclear, scaled, sql_column, sql_name
from analyst.policy import AnalystPolicy
from analyst.question import Mention, Question
from analyst.schema import Column, Schema


class Measures:
    """Finds the measures of one question."""

    def __init__(self, question: Question, schema: Schema, policy: AnalystPolicy) -> None:
        self._question, self._schema, self._policy = question, schema, policy
        self._ranked = question.is_ranked

    def of(self, mentions: Sequence[Mention]) -> list[Measure]:
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
                f"count(DISTINCT {sql_column(one)})",
                f"number of different {one.table}.{one.name}",
                counted=sql_column(one),
            )
            for one in mention.columns
        ]
        return found or distinct

    def _key(self, table: str) -> str:
        keys = self._schema.keys[table]
        return f"{sql_name(table)}.{sql_name(keys[0])}" if len(keys) == 1 else ""

    def _amounts(self) -> list[Measure]:
        declared = [
            Measure(one.table, one.expression, one.name, one.unit, one.filter)
            for one in self._policy.measures
            if one.name == "revenue" and one.table in self._schema.tables
        ]
        tables = {one.table for one in declared}
        totals = [
            Measure(
                one.table, scaled(f"sum({sql_column(one)})", one), f"sum of {one.table}.{one.name}", self._policy.unit
            )
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
                product = f"sum({sql_column(prices[0])} * {sql_column(counts[0])})"
                label = f"sum of {table}.{prices[0].name} × {counts[0].name}"
                found.append(Measure(table, scaled(product, prices[0]), label, self._policy.unit))
        return found

    def _quantities(self) -> list[Measure]:
        return [
            Measure(
                one.table, f"sum({sql_column(one)})", f"sum of {one.table}.{one.name}", where=self._filter_of(one.table)
            )
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
            column.table,
            scaled(f"{function}({sql_column(column)})", column),
            label,
            self._policy.unit if is_money else unit,
        )
