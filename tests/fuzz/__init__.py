"""Fuzzing of everything that reads untrusted input: tokens, key sets, forms and scopes."""
