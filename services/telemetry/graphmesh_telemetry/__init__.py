"""Receives the spans of a mesh by OTLP, keeps those of the last days, and shows tenants the traces of their runs."""
