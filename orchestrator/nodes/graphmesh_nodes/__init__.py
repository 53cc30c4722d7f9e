"""The building blocks of graphs: remote nodes, approvals, budgets, models, artifacts."""
