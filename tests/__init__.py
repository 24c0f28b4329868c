"""Tests of `calibrators` and `qdq_cli`; a package, so that the network builder can be imported by its full name."""
