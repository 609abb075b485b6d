"""YAML specs become desired jobs: load, model, expand, revision."""
