"""Runs LangGraph graphs durably and calls their remote nodes."""
