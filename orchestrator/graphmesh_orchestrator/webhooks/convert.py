"""Between the messages of webhooks and their values. Protobuf stops here."""

import json
from datetime import UTC, datetime

from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb

from graphmesh_orchestrator.runs.convert import run_message, timestamp
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.webhooks.delivery import Delivery, DeliveryStatus

STATUSES = {status: pb.DeliveryStatus.Value(f"DELIVERY_STATUS_{status.name}") for status in DeliveryStatus}


def run_ended(run: Run) -> bytes:
    """The body that announces the end of a run; the same each time."""
    data = json_format.MessageToDict(run_message(run))
    ended = timestamp(run.ended or run.created).ToJsonString()
    return json.dumps({"type": "run.ended", "timestamp": ended, "data": data}).encode()


def wanted(request: pb.ListDeliveriesRequest) -> dict[str, str]:
    """What a filter asks for, by the names of `Delivery`."""
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
        create_time=timestamp(delivery.created),
    )
    if delivery.status is DeliveryStatus.PENDING:
        due = delivery.next_attempt or delivery.created.timestamp()
        message.next_attempt_time.CopyFrom(timestamp(datetime.fromtimestamp(due, UTC)))
    if delivery.delivered is not None:
        message.deliver_time.CopyFrom(timestamp(delivery.delivered))
    return message
