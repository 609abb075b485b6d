"""A deterministic simulation: the real planner, executor and client against a server in memory, in virtual time."""
