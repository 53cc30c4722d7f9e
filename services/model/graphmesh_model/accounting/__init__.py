"""The accounts of the service: usage and cost of every attempt, held to budgets."""
