"""Fronts of density against loss (Yang et al.)."""
