"""The model service: one API for language models of all vendors, with an offline demo composer by default."""
