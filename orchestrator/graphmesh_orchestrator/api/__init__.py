"""The gRPC services of the orchestrator."""
