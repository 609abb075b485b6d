"""What was trained, when and from what: live jobs, joined with the commits that their specs come from."""
