"""A listing of live jobs becomes the observed state."""
