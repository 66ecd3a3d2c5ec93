"""How well turns are taken: ends of turns, interruptions, and what must not be one."""
