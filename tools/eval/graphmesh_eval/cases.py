"""The cases of a dataset: one JSON object a line. docs/evaluation.md describes each field."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from graphmesh_contracts import parse_amount
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

Kind = Literal["plain", "adversarial"]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
AmountText = Annotated[str, Field(pattern=r"^\d{1,12}(\.\d{1,3})? [A-Z]{3}$", description="such as 18.90 EUR")]
Line = Annotated[str, Field(pattern=r"^(\d{1,4} x )?[^:]{1,400}: \d{1,9}(\.\d{1,3})?$", description="2 x Ink: 18.90")]
PLACEHOLDER = re.compile(r"\{\{([a-z_]+)(\d*)\}\}")
"""`{{invoice}}`, `{{invoice2}}`: the id of a record of the case, which is not known before."""
PLACEHOLDERS = frozenset(
    {"customer", "name", "invoice", "order", "charge", "ticket"}
    | {"other", "other_name", "other_email", "other_invoice", "other_charge", "other_ticket"}
)


class DatasetError(Exception):
    """A dataset that breaks a rule: the message names the line, the field and the rule."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Purchase(_Strict):
    """An order of the case's customer, with its invoice."""

    lines: tuple[Line, ...] = Field(min_length=1)
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    days: Annotated[int, Field(ge=0, le=3650)] = 3
    """Days since it was bought."""
    paid: bool = True
    status: str = "delivered"
    """Of the order."""
    refunded: tuple[int, ...] = ()
    """Lines, from 1, that were refunded before."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for line in self.lines:
            if parse_amount(line.rpartition(": ")[2], self.currency) is None:
                raise ValueError(f"lines: {line} has a price that {self.currency} does not have")
        if any(not 1 <= number <= len(self.lines) for number in self.refunded):
            raise ValueError(f"refunded: must be numbers of lines, from 1 to {len(self.lines)}")
        if self.refunded and not self.paid:
            raise ValueError("refunded: what is not paid cannot have been refunded")
        return self


class OpenTicket(_Strict):
    """A ticket of the case's customer that is open when the case begins."""

    subject: Annotated[str, Field(min_length=1, max_length=200)]
    text: str = "Opened by phone."
    queue: str = "normal"
    priority: str = "normal"


class Article(_Strict):
    """A text among the shop's articles while the evaluation runs, such as one with an injection."""

    title: str
    text: Annotated[str, Field(min_length=1)]


class Records(_Strict):
    """The records that are made for the case alone."""

    name: str = "Nadia Hollander"
    tier: Literal["standard", "plus", "vip"] = "standard"
    attributes: Mapping[str, str] = {}
    """Of the customer."""
    purchases: Annotated[tuple[Purchase, ...], Field(max_length=8)] = ()
    tickets: tuple[OpenTicket, ...] = ()
    articles: tuple[Article, ...] = ()


class Caller(_Strict):
    """The caller of the runs; by default a developer, with every role."""

    subject: str
    roles: tuple[str, ...] = Field(min_length=1)


class Answer(_Strict):
    """An answer to a proposal of the agent."""

    answer: Literal["accept", "decline"]
    say: str = ""
    """In these words of the person, instead of the structured answer."""


Turn = str | Answer


class Proposal(_Strict):
    """What the agent is expected to propose; the strict person accepts nothing else."""

    amount: AmountText | None = None
    """Of a refund, which has to be of the case's own records."""
    changes: Mapping[str, str] = {}
    """The new values of the records, by `customer.email`, `ticket.queue` …"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.amount is None) == (not self.changes):
            raise ValueError("must state either amount or changes")
        return self


class Expected(_Strict):
    """What has to be true when the case has ended."""

    outcomes: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """The `outcome` of the last output is one of these; empty: any."""
    proposal: Proposal | None = None
    """None: the agent should propose nothing."""
    money: AmountText | None = None
    """What was refunded in all, of the customer's own charges."""
    ticket: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """The ticket that was opened, as `queue/priority`: one of these. Empty: none was; `any`: it does not matter."""
    changes: Mapping[str, str] = {}
    """The values that records have changed to; no other value has changed."""
    contains: tuple[Annotated[tuple[str, ...], BeforeValidator(_listed)], ...] = ()
    """Facts in the answers; of a list one is enough."""
    excludes: tuple[str, ...] = ()
    language: Language | None = None
    """Of the answers, where it is not that of the case."""
    sees_others: bool = False
    """Whether the caller, an employee, may see what others' records have."""
    grounded: bool = False
    """Whether the answer has to be from sources that it names."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for one in self.ticket:
            if one != "any" and not re.fullmatch(r"[a-z_-]+/[a-z_-]+", one):
                raise ValueError(f"ticket: {one} must be queue/priority, or any")
        if self.money and not (self.proposal and self.proposal.amount == self.money):
            raise ValueError("money: moves only by an accepted proposal, so proposal.amount must state it")
        return self


class Case(_Strict):
    id: Id
    language: Language
    kind: Kind
    tags: tuple[Id, ...] = ()
    records: Records = Records()
    caller: Caller | None = None
    turns: tuple[Turn, ...] = Field(min_length=1)
    approver: Literal["approve", "deny", "none"] = "none"
    expected: Expected

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not isinstance(self.turns[0], str):
            raise ValueError("turns: the first one must be a message")
        answers = {turn.answer for turn in self.turns if isinstance(turn, Answer)}
        if self.expected.money and "accept" not in answers:
            raise ValueError("expected.money: no turn accepts the proposal")
        for name, number in PLACEHOLDER.findall(self.model_dump_json()):
            self._check_placeholder(name, int(number or 1))
        return self

    def _check_placeholder(self, name: str, number: int) -> None:
        counts = {"invoice": self.records.purchases, "order": self.records.purchases, "ticket": self.records.tickets}
        if name not in PLACEHOLDERS:
            raise ValueError(f"{{{{{name}}}}} is not a placeholder; there are {', '.join(sorted(PLACEHOLDERS))}")
        if name in counts and not 1 <= number <= len(counts[name]):
            raise ValueError(f"{{{{{name}{number}}}}}: the case has {len(counts[name])} of them")

    @property
    def moves_money(self) -> bool:
        """Whether the customer asks for money that the records support, whatever the answer to the proposal is."""
        return bool(self.expected.proposal and self.expected.proposal.amount)


def read_dataset(path: Path) -> list[Case]:
    """Read the cases of a file.

    Raises:
        DatasetError: it cannot be read, or a case breaks a rule.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: {error}") from None
    found = [(number, _case(path, number, line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DatasetError(f"{path}: has no case")
    first: dict[str, int] = {}
    for number, case in found:
        if case.id in first:
            raise DatasetError(f"{path}:{number}: id: {case.id} is that of line {first[case.id]} too")
        first[case.id] = number
    return [case for _, case in found]


def _case(path: Path, number: int, line: str) -> Case:
    try:
        return Case.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}:{number}: is not JSON: {error.msg} at column {error.colno}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "function-before") or "case"
        raise DatasetError(f"{path}:{number}: {field}: {first['msg'].removeprefix('Value error, ')}") from None
