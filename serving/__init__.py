"""Bytes to predictions: `http` stands in front of `decoding`, `batching` and, behind that, `engines`."""
