"""Tests of the documentation: what it shows works, and what it tabulates is what the code has."""
