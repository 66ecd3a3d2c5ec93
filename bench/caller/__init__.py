"""Callers for benches and end-to-end tests: they speak on schedule and note every packet."""
