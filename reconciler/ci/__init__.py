"""Pipelines: what a run in one reads of its surroundings, and what it leaves behind for reviewers."""
