"""A real call, placed to find out whether callers are answered.

``cli`` reads what is wanted, ``placing`` goes through the stages of a call, ``client`` is the
WebRTC end (stock aiortc: none of our media code runs on this side), ``signaling`` the HTTP,
``sound`` the mouth and the ear, ``verdict`` what the call's events come to, ``report`` what is
told of it. ``deep_check`` and ``own_call`` are for ``/readyz?deep=1``, by which a service calls
itself.

What it says is ``phrase.wav``, made by ``scripts/make_probe_phrase.py``.
"""
