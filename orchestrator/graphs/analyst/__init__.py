"""The data analyst: answers questions about a database, with every number checked against the rows."""
