"""The common base of every graphmesh server: serving, hooks, errors, effects, admission, databases, telemetry."""
