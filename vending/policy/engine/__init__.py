"""The decision: pure, without I/O and without a clock of its own."""
