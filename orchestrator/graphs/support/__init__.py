"""The support agent: answers customers of a shop, grants small refunds, and hands over to a person what it should not decide."""
