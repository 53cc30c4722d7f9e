"""The offline demo composer: answers made of the conversation's own words, without a network and without chance.

It is not a language model. It picks, quotes and fills in by rules that a person can follow, so that graphs run and are
tested on a machine that knows no vendor, and so that the same request always gets the same answer.
"""
