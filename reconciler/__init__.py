"""Fine-tuning jobs as code: specs in git, reconciled with any server that speaks the fine-tuning API."""

__version__ = "0.1.0"
