"""Whether accounts can pay for an attempt, and the refusal where they cannot."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphmesh_chassis.errors import BudgetExceeded, CallerError, TokenLimit

from graphmesh_model.accounting.budgets import Account, Balance, Need, affordable_output, is_enough


def payable(need: Need, accounts: Sequence[tuple[Account, Balance]]) -> Need | None:
    """Return the part of `need` that all accounts can pay for; None where that takes settlements of other attempts.

    Raises:
        BudgetExceeded, TokenLimit: what an account has spent already leaves too little.
    """
    for account, balance in accounts:
        if not is_enough(affordable_output(need, account.budget, balance, with_reserved=False), need):
            raise refusal(account, balance, need)
    output = min(
        (affordable_output(need, account.budget, balance, with_reserved=True) for account, balance in accounts),
        default=need.output_tokens,
    )
    return replace(need, output_tokens=output) if is_enough(output, need) else None


def refusal(account: Account, balance: Balance, need: Need) -> CallerError:
    """Return the error of an account that cannot pay for `need`. It names the budget, and when it renews."""
    budget, renews = account.budget, account.renews
    tokens = balance.spent_tokens + balance.reserved_tokens
    is_of_tokens = bool(budget.max_tokens) and tokens + need.tokens > budget.max_tokens
    kind: type[BudgetExceeded | TokenLimit] = TokenLimit if is_of_tokens else BudgetExceeded
    limit, unit = (budget.max_tokens, "tokens") if is_of_tokens else (budget.max_cost, "millionths of a US dollar")
    used = tokens if is_of_tokens else balance.spent_cost + balance.reserved_cost
    when = f"it renews at {renews:%Y-%m-%dT%H:%M:%SZ}" if renews else "it does not renew"
    message = f"The budget {budget.name} of {limit} {unit} cannot pay for the call: {used} are used or reserved; {when}"
    renewal: dict[str, Any] = {"renews": f"{renews:%Y-%m-%dT%H:%M:%SZ}"} if renews else {}
    return kind(message, budget=budget.name, limit=limit, used=used, scope=budget.scope.value, **renewal)
