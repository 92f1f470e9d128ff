"""The commands: one file for each, or for a few that belong together: its options, its help, what it does and prints.

A command imports what it uses when it runs, so that help and small commands do not wait for torch.
"""
