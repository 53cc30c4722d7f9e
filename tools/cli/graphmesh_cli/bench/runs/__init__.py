"""`graphmesh bench runs`: what a durable run costs here, beside the same graph without and with other durability.

All kinds run the same graph (`graph.py`) on one PostgreSQL and are measured one after the other in every round, so
that what else the machine does meets all of them. What holds between machines are counts, and ratios within a round.
"""
