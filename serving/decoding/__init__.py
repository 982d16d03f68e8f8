"""Bodies to pixels and options; knows no HTTP."""
