"""Support tickets: created, worked on, commented, found again."""
