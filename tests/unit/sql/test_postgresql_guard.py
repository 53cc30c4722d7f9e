"""The guard of PostgreSQL by itself, without the privileges and the read-only transaction behind it."""

import pytest
from graphmesh_sql.domain import Column, ColumnType, Dialect, Rule, RuleBroken, Schema, Table
from graphmesh_sql.worker.postgresql_guard import check

COLUMNS = tuple(Column(name, ColumnType.STRING, "text", nullable=True) for name in ("id", "label"))
ITEM = Table(("public", "item"), "item", False, COLUMNS, (), (), None, "")
SCHEMA = Schema(Dialect.POSTGRESQL, ("public",), (ITEM,))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("SELECT id INTO x FROM item", Rule.READ_ONLY),
        ("SELECT id FROM item FOR UPDATE", Rule.READ_ONLY),
        ("SELECT * FROM (SELECT id FROM item FOR SHARE SKIP LOCKED) x", Rule.READ_ONLY),
        ("WITH x AS (DELETE FROM item RETURNING id) SELECT * FROM x", Rule.READ_ONLY),
        ("DELETE FROM item", Rule.READ_ONLY),
        ("EXPLAIN (ANALYZE) SELECT 1", Rule.READ_ONLY),
        ("SELECT id FROM item WHERE CURRENT OF c", Rule.SYNTAX),
        ("SELECT xmlelement(name a)", Rule.SYNTAX),
        ("SELECT 1; SELECT 2", Rule.SINGLE_STATEMENT),
        ("SELECT secret FROM hidden", Rule.TABLE),
        ("SELECT pg_sleep(1)", Rule.FUNCTION),
        ("SELECT public.lower(label) FROM item", Rule.FUNCTION),
        ("SELECT 1 OPERATOR(public.+) 2", Rule.FUNCTION),
        ("SELECT 'item'::regclass", Rule.FUNCTION),
        ("SELECT current_user", Rule.FUNCTION),
        ("SELECT $1", Rule.PARAMETER),
        ("SELECT repeat('a', 200000)", Rule.COST),
    ],
)
def test_each_rule_is_the_guards_own(text: str, rule: Rule) -> None:
    with pytest.raises(RuleBroken) as refusal:
        check(text, SCHEMA, 0)
    assert refusal.value.rule is rule


def test_names_after_a_dot_that_are_no_columns_are_collected() -> None:
    """PostgreSQL would call functions of those names, which only the database knows."""
    assert check("SELECT item.leak, (item).other, item.label FROM item", SCHEMA, 0).fields == {"leak", "other"}
