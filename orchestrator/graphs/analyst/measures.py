"""The measures that a question may mean: counts, amounts, quantities, and aggregates of columns."""

from collections.abc import Sequence

from analyst.plans import AMOUNTS, DURATIONS, PRICES, Measure, Unclear, scaled, sql_column, sql_name
from analyst.policy import AnalystPolicy
from analyst.question import DESCENDING, LENGTH, Mention, Question
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
        counted = [one for one in mentions if not one.is_measure and question.before(one) in ("count", "distinct")]
        if measured:
            if question.has("average", "distinct") or len({_kind(one) for one in measured}) > 1:
                raise Unclear("no_measure")
            return self._of_sales(measured[0], counted)
        for mention in counted:
            if question.has("distinct") and not mention.columns:
                raise Unclear("no_measure")
            return self._counts(mention)
        return self._numbers(mentions) or self._ranked_counts(mentions)

    def _of_sales(self, measured: Mention, counted: Sequence[Mention]) -> list[Measure]:
        """Return amounts; or quantities, or the number of customers that have bought."""
        if not counted:
            return self._amounts() if _kind(measured) == "amount" else self._quantities()
        [*others, mention] = counted
        if others or _kind(measured) == "amount":
            raise Unclear("no_measure")
        if mention.word == "customer":
            return [self._buyers(one, table) for one in self._quantities() for table in mention.tables]
        if sold := [one for one in self._quantities() if self._is_sold(mention, one.table)]:
            return sold
        raise Unclear("no_measure")

    def _is_sold(self, mention: Mention, table: str) -> bool:
        """Return whether rows of a table with quantities are sales of what is counted: it has a price."""
        products = {join.other for join in self._schema.joins if join.table == table}
        return any(
            column.words[-1:] and column.words[-1] in PRICES
            for name in mention.tables
            if name in products
            for column in self._schema.columns_of(name)
        )

    def _buyers(self, quantity: Measure, table: str) -> Measure:
        label = f"number of different {table} of {quantity.table}"
        return Measure(quantity.table, f"count(DISTINCT {self._key(table)})", label, where=quantity.where, reads=table)

    def _numbers(self, mentions: Sequence[Mention]) -> list[Measure]:
        """Return averages, sums and extremes of columns."""
        has_tables = any(mention.tables for mention in mentions)
        has_function = self._ranked or self._question.has("average", "sum") or self._is_total(mentions)
        if not has_function or (self._wants_rows() and has_tables):
            return []
        for mention in mentions:
            if columns := [column for column in mention.columns if column.is_number and not column.is_id]:
                return [self._of_column(self._only(columns))]
        return [self._of_column(one) for one in self._durations(mentions)] if self._names_length() else []

    def _is_total(self, mentions: Sequence[Mention]) -> bool:
        """Return whether a column of amounts is grouped without a further word: `invoice total by customer`."""
        columns = [column for mention in mentions for column in mention.columns]
        return self._question.has("by") and any(column.words[-1:] in [(one,) for one in AMOUNTS] for column in columns)

    def _names_length(self) -> bool:
        return self._question.has("average", "sum") and any(one.word == LENGTH for one in self._question.mentions)

    def _only(self, columns: Sequence[Column]) -> Column:
        """Return the column of a name: that of a table which the question names where several tables have one."""
        found = self._question.wanted(columns)
        named = {table for mention in self._question.mentions for table in mention.tables}
        found = [column for column in found if column.table in named] or found
        if len(found) > 1:
            raise Unclear("several", names=", ".join(f"{one.table}.{one.name}" for one in found))
        return found[0]

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
        if found:
            return found
        one = self._only(mention.columns)
        if one.is_number and not one.is_id:
            raise Unclear("no_measure")
        column, label = sql_column(one), f"number of different {one.table}.{one.name}"
        return [Measure(one.table, f"count(DISTINCT {column})", label, counted=column)]

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

    def _durations(self, mentions: Sequence[Mention]) -> list[Column]:
        return [
            column
            for mention in mentions
            for table in mention.tables
            for column in self._schema.columns_of(table)
            if column.words[-1:] and column.words[-1] in DURATIONS
        ]

    def _of_column(self, column: Column) -> Measure:
        function = "avg" if self._question.has("average") else "sum"
        if self._ranked and not self._question.has("average", "sum", "by"):
            function = "max" if self._question.has(*DESCENDING) else "min"
        unit = column.words[-1] + "s" if column.words[-1:] and column.words[-1] in DURATIONS else ""
        is_money = not unit and (column.words[-1:] and column.words[-1] in (*PRICES, *AMOUNTS))
        label = f"{function} of {column.table}.{column.name}"
        return Measure(
            column.table,
            scaled(f"{function}({sql_column(column)})", column),
            label,
            self._policy.unit if is_money else unit,
            is_extreme=function in ("max", "min"),
        )


def _kind(mention: Mention) -> str:
    return "amount" if mention.word in ("revenue", "spent") else "quantity"
