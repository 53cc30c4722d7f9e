"""Executes runs under leases."""
