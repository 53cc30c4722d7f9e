"""What every graphmesh server stands on: serving, hooks, errors, effects, admission, databases, telemetry."""
