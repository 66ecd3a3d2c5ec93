"""The sans-IO heart of a call: events in, actions out, time as an argument.

Nothing here opens a socket, starts a task or reads a clock. Only the standard
library is used.
"""
