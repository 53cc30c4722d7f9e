"""The retrieval service: ingests documents, and searches their passages."""
