"""The support agent: answers customers of a shop, grants small refunds, and hands the rest to a person."""
