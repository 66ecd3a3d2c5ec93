"""The service: routes, calls, configuration, metrics. ``python -m voicecore.service`` runs it."""
