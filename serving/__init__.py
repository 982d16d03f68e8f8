"""Bytes to predictions: reading requests, decoding, batching, engines, bundles in memory, answers."""
