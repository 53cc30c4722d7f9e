"""The support agent: answers customers of a shop, proposes refunds that they confirm, and hands the rest to people."""
