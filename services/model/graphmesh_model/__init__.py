"""The model service: one door to language models, with an offline demo composer by default."""
