"""Algorithms, one a file, each a factory that returns a `gajax.Algorithm`."""
