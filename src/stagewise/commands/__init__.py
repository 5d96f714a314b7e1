"""What works on a config or on a finished record, and has no fingerprint."""
