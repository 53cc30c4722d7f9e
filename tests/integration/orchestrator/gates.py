"""Gates at which nodes wait until a test opens them. Graphs and tests import this module, so they share the gates."""

import asyncio
from collections import defaultdict

GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""By the `name` in a run's input."""
PASSED: list[str] = []
"""The names of the gates in the order in which nodes passed them."""
