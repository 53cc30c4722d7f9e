"""`graphmesh new-service`: renders a complete tool service of one resource, laid out like `services/billing`."""
