"""How audio reaches us and leaves us: WebRTC, and the media plane behind it."""
