"""Announcing the ends of runs."""
