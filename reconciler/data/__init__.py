"""Training files: digests, row checks, counts."""
