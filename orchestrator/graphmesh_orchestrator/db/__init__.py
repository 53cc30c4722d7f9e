"""Tables, clock and row batches of the orchestrator's database."""
