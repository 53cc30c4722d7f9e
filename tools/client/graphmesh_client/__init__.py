"""The Python client of the orchestrator."""
