"""Analyzes text of any language into index terms."""
