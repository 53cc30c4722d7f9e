"""`graphmesh bench soak`: a mesh under a steady load for long, and whether its memory, connections or tables grow.

The components are real: PostgreSQL, Redis, Envoy, two orchestrators, billing and ticketing. Ended runs and unused
threads are kept for a minute, so that the tables of the orchestrators level off. The services keep their books and the
audit log of effects, which grow with the runs.
"""
