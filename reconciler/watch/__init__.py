"""Watching: files, polls and webhooks become 'reconcile soon', one reconcile at a time."""
