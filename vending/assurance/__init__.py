"""Answer questions about every token at once: who can, what changed, can it ever happen. Pure; reads no file."""
