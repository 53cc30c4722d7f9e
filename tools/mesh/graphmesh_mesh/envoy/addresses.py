"""A bound on the connections of one client address, which Envoy has for a filter chain only.

A listener gets several equal filter chains, each with a bound of its own, and a hash of the client's address selects
one: an address has at most the connections of its chain, and so many remain for the addresses of the other chains.
"""

from graphmesh_mesh.envoy.documents import Document, extension, typed

CHAINS = 8
"""Each takes 0.02 s of CPU at the start of Envoy, and 3 MB of its memory."""
NETWORK_INPUTS = "envoy.extensions.matching.common_inputs.network.v3"
HASHING = "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing"
CONNECTION_LIMIT = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"


def bounded_addresses(name: str, filters: list[Document], connections: int) -> Document:
    """The filter chains of a listener, each with the same `filters`, and their selection."""
    bound = typed(CONNECTION_LIMIT, stat_prefix=name, max_connections=connections)
    bounded = [{"name": "envoy.filters.network.connection_limit", "typed_config": bound}, *filters]
    return {
        "filter_chains": [{"name": _name(number), "filters": bounded} for number in range(CHAINS)],
        "filter_chain_matcher": _selection(range(CHAINS))["matcher"],
    }


def _selection(numbers: range) -> Document:
    """The part of the tree of decisions that selects one of the chains with these numbers."""
    if len(numbers) == 1:
        name = _name(numbers[0])
        return {"action": extension(name, "google.protobuf.StringValue", value=name)}
    middle = len(numbers) // 2
    upper = {"predicate": {"single_predicate": _hash_is_at_least(numbers[middle])}}
    upper["on_match"] = _selection(numbers[middle:])
    return {"matcher": {"matcher_list": {"matchers": [upper]}, "on_no_match": _selection(numbers[:middle])}}


def _hash_is_at_least(number: int) -> Document:
    address = extension("address", f"{NETWORK_INPUTS}.SourceIPInput")
    return {"input": address, "custom_match": extension("hash", HASHING, threshold=number, modulo=CHAINS)}


def _name(number: int) -> str:
    return f"addresses-{number}"
