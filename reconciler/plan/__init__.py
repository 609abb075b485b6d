"""Desired, observed, policy and now become a plan. Pure."""
