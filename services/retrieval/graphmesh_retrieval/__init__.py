"""The retrieval service: documents in, ranked passages out."""
