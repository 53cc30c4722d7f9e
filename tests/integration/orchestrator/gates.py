"""Gates that nodes of the graphs stop at until a test opens them. Imported once, by tests and graphs alike."""

import asyncio
from collections import defaultdict

GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""By the name that a run's input gives."""
PASSED: list[str] = []
"""What went through, in order."""
