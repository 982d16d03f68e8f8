"""Bytes to predictions: `http` stands in front of `decoding`, `batching` and, behind that, `engines`."""

__version__ = "1.0.0.dev0"  # with .dev0: of what will be the next release, which CHANGELOG.md calls unreleased
