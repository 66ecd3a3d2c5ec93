"""What each event does to a call, a file for each thing that is going on.

Every handler is a function ``(call, event, now_ns) -> actions``; ``turn_table`` says
which one takes an event in which state. They share a
:class:`~voicecore.core.turns.memory.CallMemory` and nothing else.
"""
