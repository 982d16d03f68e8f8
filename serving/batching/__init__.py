"""Many requests, one engine: what waits, what is computed together, and what is refused at the door."""
