"""Accuracy against speed and size, for many architectures: python -m bench.pareto [--runs runs]."""
