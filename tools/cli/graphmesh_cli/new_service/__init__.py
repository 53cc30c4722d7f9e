"""`graphmesh new-service`: a complete tool service of one resource, laid out like `services/billing` (D6)."""
