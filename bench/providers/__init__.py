"""What adapters of engines cost, and what is heard when their providers fail."""
