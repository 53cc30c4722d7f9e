"""`graphmesh bench soak`: a mesh under a steady load for long, and whether anything in it grows.

The parts are real: PostgreSQL, Redis, Envoy, two orchestrators, billing and ticketing. Ended runs and unused threads
are kept for a minute, so what the orchestrators store has to level off. What the services store is kept for good: their
books and the audit log of effects grow with the runs.
"""
