"""What a process states of its work: spans, metrics, and their names.

`names`, `sampling`, `spans` and `metrics` are light, and import nothing of OpenTelemetry, so that whatever is part of a
call may use them, also in clients and graphs. `tracing` has its SDK, and is imported only where telemetry is on.
"""
