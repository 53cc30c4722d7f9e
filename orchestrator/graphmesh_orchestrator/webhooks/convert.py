"""Conversion between messages and values of webhooks."""

import json
from datetime import UTC, datetime

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.timestamps import to_timestamp
from graphmesh_contracts.message_json import message_dict

from graphmesh_orchestrator.runs.convert import run_message
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.webhooks.delivery import Delivery, DeliveryStatus

STATUSES = {status: pb.DeliveryStatus.Value(f"DELIVERY_STATUS_{status.name}") for status in DeliveryStatus}


def run_ended(run: Run) -> bytes:
    """Return the body that announces the end of a run: the same for each attempt."""
    data = message_dict(run_message(run))
    ended = to_timestamp(run.state.ended or run.request.created).ToJsonString()
    return json.dumps({"type": "run.ended", "timestamp": ended, "data": data}).encode()


def filter_columns(request: pb.ListDeliveriesRequest) -> dict[str, str]:
    """Return the values of a filter by the names of columns."""
    status = next((str(status) for status, number in STATUSES.items() if number == request.status), "")
    return {name: value for name, value in {"status": status, "run_id": request.run_id}.items() if value}


def delivery_message(delivery: Delivery) -> pb.Delivery:
    message = pb.Delivery(
        delivery_id=delivery.delivery_id,
        run_id=delivery.run_id,
        url=delivery.url,
        status=STATUSES[delivery.status],
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        create_time=to_timestamp(delivery.created),
    )
    if delivery.status is DeliveryStatus.PENDING:
        due = delivery.next_attempt or delivery.created.timestamp()
        message.next_attempt_time.CopyFrom(to_timestamp(datetime.fromtimestamp(due, UTC)))
    if delivery.delivered is not None:
        message.deliver_time.CopyFrom(to_timestamp(delivery.delivered))
    return message
