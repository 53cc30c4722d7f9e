"""Guardrails for agents: confirmation by a person, understanding without a model, and checks of texts and models.

docs/guardrails.md describes all of it.
"""
