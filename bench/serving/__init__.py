"""Our server's speed, beside its peers' and its engine's: python -m bench.serving."""
