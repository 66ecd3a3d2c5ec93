"""How good the turn-taking is, over recordings and generated dialogues."""
