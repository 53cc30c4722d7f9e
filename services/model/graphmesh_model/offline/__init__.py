"""The offline demo composer: deterministic answers made of the conversation's own words, without a network.

It is not a language model. It selects, quotes and fills in by simple rules, so that graphs run and are tested on a
machine without a vendor's API key, and so that the same request always gets the same answer.
"""
