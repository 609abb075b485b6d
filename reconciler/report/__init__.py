"""Plans, outcomes and status become text, JSON and markdown. Pure."""
