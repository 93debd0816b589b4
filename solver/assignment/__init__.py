"""Who works what: problem, strict levels, policies, and the independent check."""
