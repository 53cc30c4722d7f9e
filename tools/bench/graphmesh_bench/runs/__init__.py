"""`graphmesh bench runs`: what a durable run costs here, beside the same graph without and with other durability.

The graph is there twice, with nodes in process that do nothing (`graph.py`), and on the mesh, where each is a remote
node (`calling.py`). All kinds run it on one PostgreSQL and are measured one after the other in every round, so that
what else the machine does meets all of them. What holds between machines are counts, and ratios within a round.
"""
