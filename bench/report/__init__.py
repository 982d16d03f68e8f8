"""What the shipped bundles are worth, measured again: python -m bench.report (make report)."""
