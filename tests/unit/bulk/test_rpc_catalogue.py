"""The catalogue of RPCs by their names."""

import pytest
from graphmesh.crm.v1 import CrmService
from graphmesh_cli.commands.rpc_catalogue import UnknownRpc, all_rpcs, find_rpc


@pytest.mark.parametrize(
    "name",
    [
        "crm.CreateCustomer",
        "graphmesh.crm.v1.CrmService.CreateCustomer",
        "/graphmesh.crm.v1.CrmService/CreateCustomer",
    ],
)
def test_an_rpc_has_three_names(name: str) -> None:
    assert find_rpc(name, {}) == CrmService.CreateCustomer


def test_an_unknown_name_is_refused_with_similar_names() -> None:
    with pytest.raises(UnknownRpc, match=r"there are: crm\.CreateCustomer"):
        find_rpc("crm.createCustomers", {})
    with pytest.raises(UnknownRpc, match=r"billing\.Charge, .*ticketing\."):
        find_rpc("zzz", {})


def test_the_catalogue_has_every_service_of_the_contracts() -> None:
    assert {"billing", "crm", "model", "orchestrator", "retrieval", "sql", "ticketing"} <= {
        tool.partition(".")[0] for tool in all_rpcs()
    }
