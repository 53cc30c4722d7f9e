"""Threads and their states."""
