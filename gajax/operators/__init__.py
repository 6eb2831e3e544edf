"""Operators on single individuals and pairs, to be mapped over a population."""
