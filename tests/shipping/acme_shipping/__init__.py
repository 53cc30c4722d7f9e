"""The shipping service of another team, on the chassis."""
