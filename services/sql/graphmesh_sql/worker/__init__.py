"""A process that executes queries under limits of the operating system; `worker_pool` starts and ends it.

Modules here import the standard library, `domain`, and a driver only: the memory of each process counts.
"""
