"""What operating the service comes to: bursts, restarts, strangers, calls nobody answers."""
