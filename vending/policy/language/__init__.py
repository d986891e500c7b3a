"""The policy file as people write it: reading, models, places, problems. Compiles nothing."""
