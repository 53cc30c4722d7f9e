"""The comments of the protos, and the lists of reasons in them."""

from graphmesh.billing.v1 import BillingService
from graphmesh_contracts import comments, reasons, shared_reasons


def test_comments_are_found_by_full_name() -> None:
    text = comments("graphmesh.billing.v1")["graphmesh.billing.v1.BillingService.GetInvoice"]
    assert text == "Reads one invoice.\n\nReasons: RESOURCE_NOT_FOUND."
    assert comments("graphmesh.absent.v1") == {}


def test_reasons_are_parsed_without_their_causes() -> None:
    assert reasons(BillingService.CreateInvoice) == {"RESOURCE_EXISTS", "RULE_VIOLATED"}
    assert reasons(BillingService.GetRefundPolicy) == frozenset()


def test_shared_reasons_are_listed_by_group() -> None:
    assert shared_reasons().keys() == {"every RPC", "effects", "the transport", "runs"}
    assert "IDEMPOTENCY_KEY_REQUIRED" in shared_reasons()["effects"]
