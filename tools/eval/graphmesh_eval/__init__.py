"""Measures agents on datasets of cases, by the records that they leave, with any model and a hostile one."""
