"""From a policy file to a policy ready for decisions. Decides nothing."""
