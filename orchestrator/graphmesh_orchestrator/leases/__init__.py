"""Which worker executes a run, and until when."""
