"""The dashboard of ``reconciler watch`` at a terminal: what a watch sees and does, and keys to act on it."""
