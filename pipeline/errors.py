"""The errors that a user can cause and fix, and the exit codes of the command line."""

SOME_FAILED = 1
"""Some videos failed and the rest is done, or a check found faults."""

BAD_INPUT = 2
"""Bad arguments or input; nothing was done."""

INTERRUPTED = 130
"""Ctrl-C or SIGTERM; all finished work is kept."""


class SolaPipelineError(Exception):
    """The root of all errors that a user can cause and fix, in all three packages.

    The command line prints the message on one line, without a traceback, and exits with 2.
    """


class PipelineError(SolaPipelineError):
    """The input or a setting is wrong; the message says what, where, and what to do."""


class StorageError(SolaPipelineError):
    """Object storage did not answer or refused: no connection, no credentials, no permission.

    It is not a `PipelineError`, which may mean that a file is absent and must be made: whether a file is absent is
    unknown here.
    """
