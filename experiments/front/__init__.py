"""The density-loss fronts of Yang et al."""
