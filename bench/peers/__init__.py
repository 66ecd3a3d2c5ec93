"""What people would use or write instead, to stand beside us in one run."""
