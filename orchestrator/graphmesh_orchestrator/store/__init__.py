"""Long-term memory of a tenant's graphs: items by namespace and key, and the results of cached nodes."""
