"""Runs and their events."""
