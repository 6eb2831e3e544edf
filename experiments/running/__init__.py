"""Code shared by all runs: flags, directories, checkpoints, devices, progress."""
