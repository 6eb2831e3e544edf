"""Benchmark of speed and memory against lower bounds and other libraries."""
