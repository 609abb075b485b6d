"""Trainers: what turns a job into a model, behind one small interface."""
