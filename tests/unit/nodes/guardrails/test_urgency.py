"""Emergencies in messages."""

import time
import tomllib
from pathlib import Path

import pytest
from graphmesh_nodes.guardrails.lexicon import data_files
from graphmesh_nodes.guardrails.urgency import TOPICS, urgency_of

EMERGENCIES = tomllib.loads((Path(__file__).parent / "emergencies.toml").read_text(encoding="utf-8"))
"""Messages by topic, and others, which only sound like emergencies or like none at all."""


@pytest.mark.parametrize(("topic", "text"), [(topic, text) for topic in TOPICS for text in EMERGENCIES[topic]])
def test_emergencies_are_recognised_in_sixteen_languages(topic: str, text: str) -> None:
    found = urgency_of(text)
    assert found is not None
    assert found.topic == topic


@pytest.mark.parametrize("text", ["", *EMERGENCIES["none"]])
def test_other_messages_are_none(text: str) -> None:
    assert urgency_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "I WANT TO K\u200bILL MYSELF",
        "\uff29 want to kill my\u00adself",
        "I want,\nto: kill myself",
        "i want to ki\u0301ll myself",
        "Please refund my ink. " * 2_000 + "I want to kill myself. " + "Thanks. " * 2_000,
    ],
    ids=range(5),
)
def test_spelling_and_length_hide_nothing(text: str) -> None:
    found = urgency_of(text)
    assert found is not None
    assert found.topic == "self-harm"


def test_most_urgent_of_several_is_returned() -> None:
    found = urgency_of("My lawyer and the police know that I want to kill myself")
    assert found is not None
    assert (found.topic, found.language) == ("self-harm", "en")


@pytest.mark.parametrize("language", sorted(data_files("urgency")))
def test_each_language_has_each_topic(language: str) -> None:
    assert list(data_files("urgency")[language]) == list(TOPICS)


def test_long_texts_take_linear_time() -> None:
    """Twice the text takes about twice as long, with words that begin many phrases."""
    urgency_of("built before")
    short, long = ("i will the my account someone else has used " * times for times in (200, 800))
    began = time.process_time()
    urgency_of(short)
    middle = time.process_time()
    urgency_of(long)
    assert time.process_time() - middle < 12 * (middle - began)
