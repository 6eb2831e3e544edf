"""Experiments that run gajax from the command line."""
