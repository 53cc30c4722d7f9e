"""Fields that identify are set by the run: no model names them, in whichever message of a request."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from graphmesh.billing.v1 import BillingService, GetInvoiceRequest, GetInvoiceResponse, Invoice, ListInvoicesResponse
from graphmesh.crm.v1 import CrmService, Customer, GetCustomerRequest, GetCustomerResponse
from graphmesh.policy.v1 import policy_pb2
from graphmesh_chassis.customers import named_customers
from graphmesh_contracts import Rpc
from graphmesh_nodes import GraphmeshChatModel, call, declare, tool_schema, tools
from graphmesh_nodes.errors import CustomerMismatch, InvalidInput, InvalidRequest
from graphmesh_nodes.testing import GraphHarness
from langchain.agents import AgentState, create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

FILE = """
name: "parcels/v1/parcels.proto" package: "parcels.v1" syntax: "proto3"
dependency: "graphmesh/policy/v1/policy.proto"
message_type { name: "Person"
  field { name: "customer_id" number: 1 type: TYPE_STRING }
  field { name: "note" number: 2 type: TYPE_STRING } }
message_type { name: "SendRequest"
  field { name: "customer_id" number: 1 type: TYPE_STRING oneof_index: 0 }
  field { name: "email" number: 2 type: TYPE_STRING oneof_index: 0 }
  field { name: "sender" number: 3 type: TYPE_MESSAGE type_name: ".parcels.v1.Person" }
  field { name: "copies" number: 4 type: TYPE_MESSAGE type_name: ".parcels.v1.Person" label: LABEL_REPEATED }
  field { name: "doors" number: 5 type: TYPE_MESSAGE type_name: ".parcels.v1.SendRequest.DoorsEntry"
    label: LABEL_REPEATED }
  field { name: "account" number: 6 type: TYPE_INT64 label: LABEL_REPEATED }
  oneof_decl { name: "receiver" }
  nested_type { name: "DoorsEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".parcels.v1.Person" } } }
service { name: "ParcelService" method { name: "Send" input_type: ".parcels.v1.SendRequest"
  output_type: ".parcels.v1.Person" options { idempotency_level: NO_SIDE_EFFECTS } } }
"""


def parcel_rpc() -> Rpc[Any, Any]:
    """A contract of another team that names customers inside of a list, a map, a message and a oneof."""
    pool, file = descriptor_pool.DescriptorPool(), text_format.Parse(FILE, descriptor_pb2.FileDescriptorProto())
    option = file.service[0].method[0].options.Extensions[policy_pb2.method]
    option.timeout.seconds, option.max_attempts, option.llm_visibility = 1, 1, policy_pb2.LLM_VISIBILITY_VISIBLE
    for one in (descriptor_pb2.DESCRIPTOR, *_dependencies(policy_pb2.DESCRIPTOR), file):
        proto = descriptor_pb2.FileDescriptorProto()
        proto.ParseFromString(one.serialized_pb if hasattr(one, "serialized_pb") else one.SerializeToString())
        pool.Add(proto)
    method = pool.FindServiceByName("parcels.v1.ParcelService").methods_by_name["Send"]
    return Rpc(
        "/parcels.v1.ParcelService/Send", GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    )


def _dependencies(file: Any) -> list[Any]:
    found: dict[str, Any] = {}
    for one in file.dependencies:
        found |= {each.name: each for each in _dependencies(one)}
    return [one for one in (*found.values(), file) if one.name != "google/protobuf/descriptor.proto"]


ARGUMENTS: dict[str, Any] = {"sender": {"note": "a"}, "copies": [{"note": "b"}, {}], "doors": {"front": {}}}


def test_bound_fields_are_set_in_every_message_of_the_request() -> None:
    tool = tool_schema(parcel_rpc(), {"customer_id", "account"})
    request = tool.parse(ARGUMENTS, {"customer_id": "cu_1", "account": 7})
    assert [named for _, named in named_customers(request)] == ["cu_1"] * 5
    assert MessageToDict(request)["account"] == ["7"]


def test_bound_fields_and_what_would_take_their_place_are_not_in_the_schema() -> None:
    """Of a oneof, the others would name the receiver otherwise."""
    tool = tool_schema(parcel_rpc(), {"customer_id"})
    assert tool.parameters["properties"].keys() == {"sender", "copies", "doors", "account"}
    assert "customer_id" not in str(tool.parameters)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"customer_id": "cu_2"}, "customer_id"),
        ({"customerId": "cu_2"}, "customerId"),
        ({"email": "a@b.c"}, "email"),
        ({"sender": {"customer_id": "cu_2"}}, "sender.customer_id"),
        ({"copies": [{}, {"customer_id": "cu_2"}]}, "copies[1].customer_id"),
        ({"doors": {"front": {"customer_id": "cu_2"}}}, "doors.front.customer_id"),
    ],
)
def test_model_that_names_a_bound_field_is_refused_by_its_path(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        tool_schema(parcel_rpc(), {"customer_id"}).parse(arguments, {"customer_id": "cu_1"})
    assert [violation.field for violation in refused.value.violations] == [named]


def test_bound_field_that_no_tool_has_is_an_error_of_the_author() -> None:
    with pytest.raises(ValueError, match="bound fields of no tool: custmer_id"):
        tools(BillingService.GetInvoice, bound={"custmer_id": "customer_id"})


class Owned(AgentState[Any]):
    customer_id: str


def harness_of(*calls: tuple[str, dict[str, Any]]) -> GraphHarness:
    """An agent whose model makes calls, one a turn."""
    agent = create_agent(
        GraphmeshChatModel(),
        tools(BillingService.ListInvoices, BillingService.GetInvoice, bound={"customer_id": "customer_id"}),
        state_schema=Owned,
    )
    harness = GraphHarness(agent)
    harness.serve(BillingService.ListInvoices, lambda request: ListInvoicesResponse())
    harness.serve(BillingService.GetInvoice, an_invoice)
    turns = [AIMessage("", tool_calls=[{"name": name, "args": args, "id": name}]) for name, args in calls]
    harness.model_replies(*turns, "Done.")
    return harness


def an_invoice(request: GetInvoiceRequest) -> GetInvoiceResponse:
    return GetInvoiceResponse(invoice=Invoice(invoice_id=request.invoice_id))


QUESTION = {"messages": [{"role": "user", "content": "My invoices?"}]}


async def test_every_call_of_an_agent_is_bound_to_the_customer_of_its_state() -> None:
    harness = harness_of(("billing_ListInvoices", {}), ("billing_GetInvoice", {"invoice_id": "in_1"}))
    await harness.run({**QUESTION, "customer_id": "cu_1"})
    [listed] = harness.calls(BillingService.ListInvoices)
    [got] = harness.calls(BillingService.GetInvoice)
    assert (listed.request.customer_id, listed.customer, got.customer) == ("cu_1", "cu_1", "cu_1")


async def test_model_that_names_another_customer_is_told_the_field() -> None:
    harness = harness_of(("billing_ListInvoices", {"customer_id": "cu_2"}))
    result = await harness.run({**QUESTION, "customer_id": "cu_1"})
    [answer] = [one for one in result.state["messages"] if isinstance(one, ToolMessage)]
    assert (answer.status, harness.calls(BillingService.ListInvoices)) == ("error", [])
    assert "customer_id is set by the run" in answer.text


@pytest.mark.parametrize("state", [{}, {"customer_id": ""}])
async def test_run_without_a_customer_calls_nothing(state: dict[str, str]) -> None:
    harness = harness_of(("billing_GetInvoice", {"invoice_id": "in_1"}))
    result = await harness.run({**QUESTION, **state})
    assert isinstance(result.error, InvalidInput)
    assert harness.calls(BillingService.GetInvoice) == []


async def test_call_for_a_customer_names_no_other() -> None:
    async def node(state: Owned) -> dict[str, Any]:
        await call(CrmService.GetCustomer, GetCustomerRequest(customer_id="cu_2"), customer="cu_1")
        return {}

    harness = GraphHarness(StateGraph(Owned).add_node("node", node).add_edge(START, "node"))
    found = Customer(customer_id="cu_2", name="Ada")
    harness.serve(CrmService.GetCustomer, lambda request: GetCustomerResponse(customer=found))
    result = await harness.run(QUESTION)
    assert isinstance(result.error, CustomerMismatch)
    assert harness.calls(CrmService.GetCustomer) == []


class Owner(TypedDict, total=False):
    customer_id: str
    read: str


def declared(*, customer: str = "customer_id") -> GraphHarness:
    """A graph whose node reads the customer that the state names by then."""

    async def change(state: Owner) -> Owner:
        return {"customer_id": state.get("read", state.get("customer_id", ""))}

    async def read(state: Owner) -> Owner:
        await call(CrmService.GetCustomer, GetCustomerRequest(customer_id=state["customer_id"]))
        return {}

    builder = StateGraph(Owner).add_sequence([change, read]).add_edge(START, "change")
    harness = GraphHarness(declare(builder, tools=[CrmService.GetCustomer], customer=customer))
    found = Customer(customer_id="cu_1", name="Ada")
    harness.serve(CrmService.GetCustomer, lambda request: GetCustomerResponse(customer=found))
    return harness


async def test_all_calls_of_a_run_are_bound_to_the_customer_of_its_input() -> None:
    """On the thread too, whose next runs need not state it."""
    harness = declared()
    await harness.run({"customer_id": "cu_1"})
    await harness.run({"read": "cu_1"})
    assert [one.customer for one in harness.calls(CrmService.GetCustomer)] == ["cu_1", "cu_1"]


async def test_node_that_changes_the_customer_of_the_state_reads_no_other_one() -> None:
    harness = declared()
    result = await harness.run({"customer_id": "cu_1", "read": "cu_2"})
    assert isinstance(result.error, CustomerMismatch)
    assert harness.calls(CrmService.GetCustomer) == []


@pytest.mark.parametrize("run_input", [{}, {"customer_id": ""}, {"customer_id": "cu\n1"}, {"customer_id": "č"}])
async def test_run_of_no_customer_is_refused(run_input: dict[str, str]) -> None:
    result = await declared().run(run_input)
    assert isinstance(result.error, InvalidInput)
    assert result.error.violations[0].field == "customer_id"


async def test_thread_has_one_customer() -> None:
    harness = declared()
    await harness.run({"customer_id": "cu_1"})
    result = await harness.run({"customer_id": "cu_2"})
    assert isinstance(result.error, InvalidInput)
    assert "is not the customer of the thread" in str(result.error)


@pytest.mark.parametrize("owner", ["cu_1", "cu_2"])
async def test_record_of_another_customer_is_not_believed(owner: str) -> None:
    """A service that answers with one is at fault; nothing of it reaches the model."""
    harness = harness_of(("billing_GetInvoice", {"invoice_id": "in_1"}))
    invoice = Invoice(invoice_id="in_1", customer_id=owner)
    harness.serve(BillingService.GetInvoice, lambda request: GetInvoiceResponse(invoice=invoice))
    result = await harness.run({**QUESTION, "customer_id": "cu_1"})
    [answer] = [str(one.text) for one in result.state["messages"] if isinstance(one, ToolMessage)]
    assert ("cu_2" in answer, answer.startswith("INVALID_RESPONSE")) == (False, owner == "cu_2")
