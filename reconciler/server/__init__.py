"""The embedded server: the fine-tuning API over SQLite and pluggable trainers."""
