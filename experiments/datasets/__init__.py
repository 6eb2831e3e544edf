"""Official, embedded and generated data sets."""
