"""A recorded call through the core again: verbatim, or with other settings (docs/recording.md)."""
