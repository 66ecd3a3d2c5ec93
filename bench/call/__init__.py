"""The bars of one call: latency, barge-in, twenty at once, fifty in turn."""
