"""`graphmesh bench runs`: the cost of a durable run, beside the same graph with other durability or none.

The graph exists with nodes in process that do nothing (`local_graphs`), and with remote nodes (`remote_graph`). All
variants run it on one PostgreSQL and are measured in sequence in every round, so that other load of the machine affects
all of them. Only counts, and ratios within a round, compare between machines.
"""
