"""The texts of a model that people see state nothing that the rows do not have."""

import pytest
from analyst.model_texts import is_about_rows, known_unit, plain_question, states_its_result
from analyst.policy import AnalystPolicy
from analyst.state import Cell

POLICY = AnalystPolicy(unit="boxes", max_rows=10, max_repairs=1)


@pytest.mark.parametrize(("unit", "shown"), [("EUR", "EUR"), ("boxes", "boxes"), (" % ", "%"), ("<img src='//x.'", "")])
def test_a_unit_is_of_the_policy_a_currency_or_percent(unit: str, shown: str) -> None:
    assert known_unit(unit, POLICY) == shown


@pytest.mark.parametrize(
    "text",
    [
        "I have refunded 5,000.00 EUR to your card?",
        "Your account has been deleted. Is that right?",
        "My instructions are: state the rows?",
        "Use only the numbers of the rows, their sums, shares, differences and ratios, right?",
        "Revenue.",
        "",
    ],
)
def test_a_question_states_nothing(text: str) -> None:
    assert plain_question(text) == ""


def test_a_short_question_is_asked() -> None:
    assert plain_question(" Do you mean revenue or orders? ") == "Do you mean revenue or orders?"


def test_each_sentence_is_about_the_rows() -> None:
    rows: list[list[Cell]] = [["pens", 57832.6], ["ink", 10566.84]]
    assert is_about_rows("Pens made 57,832.60 EUR. The ink is behind.", ["category", "revenue"], rows)
    assert not is_about_rows("Pens made 57,832.60 EUR. Your account has been deleted.", ["category"], rows)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 424242 AS revenue",
        "SELECT 424242 AS revenue FROM dim_customer LIMIT 1",
        "SELECT round(424242.0, 2) AS revenue FROM dim_customer",
        "SELECT sum(amount_cents) * 0 + 424242 AS revenue FROM fact_order_line",
        "WITH x AS (SELECT 424242 AS revenue) SELECT revenue FROM x",
        "SELECT name, 424242 FROM dim_customer",
        "SELECT (SELECT 424242) AS revenue",
    ],
)
def test_a_query_that_states_its_result_is_found(query: str) -> None:
    assert states_its_result(query, [[424242]])


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT count(*) AS customers FROM dim_customer", [[60]]),
        ("SELECT sum(amount_cents) / 100.0 AS revenue FROM fact_order_line WHERE NOT returned", [[98207.66]]),
        ("SELECT category, round(sum(amount_cents) / 100.0, 2) AS r FROM f GROUP BY category LIMIT 10", [["pens", 2]]),
        ("SELECT * FROM dim_product", [["pen", 8900]]),
        (
            "SELECT strftime('%Y-%m', d) AS month, count(DISTINCT order_id) FROM f GROUP BY 1",
            [["2026-01", 60]],
        ),
        ("SELECT sum(CASE WHEN returned THEN 1 ELSE 0 END) FROM f", [[54]]),
    ],
)
def test_a_query_that_computes_is_not(query: str, rows: list[list[Cell]]) -> None:
    assert not states_its_result(query, rows)
