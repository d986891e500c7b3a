"""Fuzzing of everything that reads what a stranger wrote: tokens, key sets, forms and scopes."""
