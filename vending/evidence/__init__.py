"""Answer questions from recorded audit events: what happened, what a draft would have done, what is never used."""
