"""Data: the strict reader and writer of traces, their sources, the built-in generator, leakage."""
