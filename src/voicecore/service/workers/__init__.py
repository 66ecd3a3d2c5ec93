"""Several processes on one host as one service (``--workers``).

A small parent (``supervisor``) holds the listening sockets, starts the workers and starts
again those that die. The workers are whole services: each takes connections from the
same sockets, has its own calls, and passes on over unix sockets what is another's
(``member``). What each must know of the others at once stands in memory that they
share (``board``).
"""
