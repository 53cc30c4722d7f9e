"""The model service over a real channel, as a plain synchronous gRPC client calls it with a generated stub."""

import json
from contextlib import AbstractAsyncContextManager

import pytest
from graphmesh.model import v1 as pb
from graphmesh.model.v1.model_pb2_grpc import ModelServiceStub
from graphmesh_chassis.errors import InvalidRequest, NotFound
from graphmesh_chassis.serve import Servable
from graphmesh_chassis.testing.plain_client import TIMEOUT, fails_with
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.settings import Settings

from tests.integration.model.served import servable_models

QUESTION = pb.ChatMessage(
    user=pb.UserMessage(text="<document>Returns are free for 30 days.</document> Are returns free?")
)
PROMPT = pb.Prompt(messages=[QUESTION])
CHARGE = {
    "type": "object",
    "required": ["charge_id"],
    "properties": {"charge_id": {"type": "string", "pattern": "^ch_"}},
}
UNFILLABLE = pb.Prompt(messages=[QUESTION], response_schema_json=json.dumps(CHARGE))


@pytest.fixture(scope="module")
def grpc_settings() -> Settings:
    return Settings()


@pytest.fixture(scope="module")
def grpc_servable(grpc_settings: Settings) -> AbstractAsyncContextManager[Servable]:
    return servable_models(grpc_settings)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[ModelServiceStub]:
    return ModelServiceStub


def test_generates_an_answer(grpc_stub: ModelServiceStub) -> None:
    answer = grpc_stub.Generate(pb.GenerateRequest(prompt=PROMPT), timeout=TIMEOUT)
    assert (answer.message.text, answer.offline) == ("Returns are free for 30 days.", True)


def test_streams_deltas_and_the_completed_answer(grpc_stub: ModelServiceStub) -> None:
    *deltas, last = grpc_stub.StreamGenerate(pb.StreamGenerateRequest(prompt=PROMPT), timeout=TIMEOUT)
    assert len(deltas) > 1
    assert "".join(event.text_delta for event in deltas) == last.completed.message.text
    assert last.completed == grpc_stub.Generate(pb.GenerateRequest(prompt=PROMPT), timeout=TIMEOUT)


def test_reports_an_answer_that_does_not_fit_its_schema(grpc_stub: ModelServiceStub) -> None:
    with fails_with(OutputInvalid) as error:
        grpc_stub.Generate(pb.GenerateRequest(prompt=UNFILLABLE), timeout=TIMEOUT)
    assert error.metadata["model"] == "offline-extractive-1"
    assert "charge_id" in error.message


def test_failed_stream_has_the_same_error(grpc_stub: ModelServiceStub) -> None:
    with fails_with(OutputInvalid) as unary:
        grpc_stub.Generate(pb.GenerateRequest(prompt=UNFILLABLE), timeout=TIMEOUT)
    with fails_with(OutputInvalid) as streamed:
        list(grpc_stub.StreamGenerate(pb.StreamGenerateRequest(prompt=UNFILLABLE), timeout=TIMEOUT))
    assert streamed == unary


def test_reports_an_unknown_alias(grpc_stub: ModelServiceStub) -> None:
    with fails_with(NotFound) as error:
        request = pb.GenerateRequest(prompt=pb.Prompt(model="unknown", messages=[QUESTION]))
        grpc_stub.Generate(request, timeout=TIMEOUT)
    assert error.metadata == {"resource": "model", "id": "unknown"}


def test_names_the_field_that_violates_the_contract(grpc_stub: ModelServiceStub) -> None:
    request = pb.GenerateRequest(prompt=pb.Prompt(messages=[QUESTION], temperature=3))
    with fails_with(InvalidRequest) as error:
        grpc_stub.Generate(request, timeout=TIMEOUT)
    assert error.fields == ["prompt.temperature"]
