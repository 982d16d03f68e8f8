"""Servers beside ours: the same file and pictures, the same tuning, each written as its own documentation shows."""
