"""What every run shares: flags, directories, checkpoints, devices, progress."""
