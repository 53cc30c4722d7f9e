"""The retail service of another team."""
