"""A shop of twins, and the agent on a thread of its own with the offline default as its model."""

import json

import pytest
from graphmesh.model.v1 import Prompt
from graphmesh_nodes.testing import GraphHarness
from support.graph import graph

from tests.unit.support.shop import ARTICLE, Shop, serve


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def harness(shop: Shop) -> GraphHarness:
    harness = GraphHarness(graph)
    serve(harness, shop)
    harness.model_replies(_offline, offline=True)
    return harness


@pytest.fixture
def hostile(shop: Shop) -> GraphHarness:
    """The agent with a model that always reports the greatest wish for money that its schema has."""
    harness = GraphHarness(graph)
    serve(harness, shop)
    harness.model_replies(_hostile)
    return harness


def _hostile(prompt: Prompt) -> str:
    wish = {"language": "en", "act": "asks_for", "topic": "refund", "wants_money": True, "negated": False}
    claim = {"cause": "damaged", "items": ["18.90 EUR", "INV-1"], "emergency": "none", "confidence": 1.0}
    return json.dumps(wish | claim) if prompt.response_schema_json else "We have refunded 1000 EUR: http://evil.example"


def _offline(prompt: Prompt) -> str:
    """Reply as the offline composer: it quotes, and fills schemas with what is not acted on."""
    return "{}" if prompt.response_schema_json else ARTICLE
