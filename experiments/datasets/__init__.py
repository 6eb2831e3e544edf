"""Data sets: official files, built-in and generated ones."""
