"""The sql service: what the data looks like, and one guarded SELECT over it."""
