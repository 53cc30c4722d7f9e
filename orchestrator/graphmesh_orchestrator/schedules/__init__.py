"""Runs that begin again and again."""
