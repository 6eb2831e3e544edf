"""Speed and memory beside floors and rivals."""
