"""An act in a list of `graphmesh audit`."""

import json
from dataclasses import dataclass
from datetime import datetime

from graphmesh_chassis import audit_log


@dataclass(frozen=True)
class Entry:
    """One act. Requests and responses are not read, since they contain data of customers."""

    create_time: datetime
    method: str
    tenant: str
    subject: str
    run: str
    thread: str
    node: str
    epoch: int | None
    approval: str
    key: str
    result: str
    detail: str
    calls: int
    number: int | None
    """The place in the chain; None where the row is not sealed yet, and of a line of Envoy's log."""
    source: str = ""
    """The address or the certificate of a call that Envoy has refused, where its caller is not known."""

    @property
    def act(self) -> str:
        """The method as of a tool, `billing.Charge`; of JSON the verb and the path."""
        return audit_log.act_name(self.method) if self.method.startswith("/") else _one_line(self.method)

    @property
    def caller(self) -> str:
        return f"{self.tenant}/{self.subject}" if self.tenant or not self.source else self.source

    @property
    def outcome(self) -> str:
        detail = f" {_one_line(self.detail)}" if self.detail else ""
        return f"{self.result}{detail}" + (f" x{self.calls}" if self.calls > 1 else "")


def _one_line(text: str) -> str:
    """Return a text that a caller may have chosen: one with a line end would be shown as a further row."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
