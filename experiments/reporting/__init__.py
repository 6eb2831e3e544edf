"""Tables, significance tests and figures."""
