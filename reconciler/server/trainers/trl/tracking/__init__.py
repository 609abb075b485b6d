"""Shows runs as they go: in Weights & Biases where a job says so, in MLflow and TensorBoard where the owner does."""
