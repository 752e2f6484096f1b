"""The hands that face the work: a process that takes jobs of one pool, claims, executes and commits their steps."""
