"""Notifications within a process and between processes."""
