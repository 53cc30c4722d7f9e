"""Each call of a vendor is a span with its tokens and its cost, and without the texts."""

from datetime import date

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ProviderUnavailable
from graphmesh_chassis.telemetry import spans
from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.ledger_memory import MemoryLedger
from graphmesh_model.accounting.prices import Price, Prices
from graphmesh_model.answering import Answering
from graphmesh_model.calling import ModelCall
from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.domain import Prompt, User

from tests.recorded_spans import RUN, parent_of, recorded
from tests.unit.model.scripted_provider import ScriptedProvider, reply

PRICES = Prices([(date(2026, 1, 1), Price(2_500_000, 10_000_000, 2_500_000, 2_500_000, 10_000_000))])


@pytest.mark.parametrize("streamed", [False, True])
async def test_attempts_of_a_call(streamed: bool) -> None:
    failing, answering = ScriptedProvider(ProviderUnavailable(fault="server")), ScriptedProvider(reply("It is 4111"))
    models = Catalogue([Entry("default", failing, PRICES, ("other",)), Entry("other", answering, PRICES)])
    call = ModelCall(Deadline.after(60), streamed=streamed)
    with recorded() as found, spans.joined(RUN):
        async for _ in Answering(Accounts(MemoryLedger())).stream(models.chain(""), Prompt((User("4111?"),)), call):
            pass
    failed, answered = found
    assert (failed.name, failed.status.is_ok, (failed.attributes or {})["error.type"]) == (
        "chat default",
        False,
        "server",
    )
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted-1",
        "graphmesh.model.alias": "other",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "graphmesh.cost_usd": 0.0035,
    }
    attributes = dict(answered.attributes or {})
    assert attributes.pop("gen_ai.response.time_to_first_chunk", None) is None or streamed
    assert attributes == expected
    assert {parent_of(span) for span in found} == {RUN[36:52]}
    assert "4111" not in "".join(str(span.to_json()) for span in found)
