"""The ticket policy as JSON, for the database."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from graphmesh_ticketing.domain import Priority, Queue, TicketPolicy


def to_json(policy: TicketPolicy) -> dict[str, Any]:
    return {
        "priorities": [
            [priority.name, _microseconds(priority.first_response), _microseconds(priority.resolution)]
            for priority in policy.priorities
        ],
        "queues": [
            {**vars(queue), "topics": list(queue.topics), "notify": list(queue.notify)} for queue in policy.queues
        ],
        "default_queue": policy.default_queue,
    }


def from_json(policy: Mapping[str, Any], version: int) -> TicketPolicy:
    priorities = [Priority(name, _time(first), _time(last)) for name, first, last in policy["priorities"]]
    queues = [
        Queue(**{**queue, "topics": tuple(queue["topics"]), "notify": tuple(queue["notify"])})
        for queue in policy["queues"]
    ]
    return TicketPolicy(tuple(priorities), tuple(queues), policy["default_queue"], version)


def _microseconds(time: timedelta | None) -> int | None:
    return None if time is None else time // timedelta(microseconds=1)


def _time(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)
