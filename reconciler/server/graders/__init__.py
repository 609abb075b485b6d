"""Graders that grade: a sampled answer becomes a reward, for the grader endpoints and for training."""
