"""The trainer that trains for real: open-weight models, by TRL and PEFT, one subprocess a job.

Modules that load torch say so in their first line and are imported by the subprocesses only; all others stay light, so
that serving costs no more than it did.
"""
