"""The errors that a user can cause and mend, and the exit codes of the command line."""

SOME_FAILED = 1
"""Some videos failed and the rest is done, or something does not check."""

BAD_INPUT = 2
"""Bad arguments or input; nothing was done."""

INTERRUPTED = 130
"""Ctrl-C or SIGTERM; everything that was finished is kept."""


class PipelineError(Exception):
    """Something in the input or the settings is wrong; the message says what, where, and what to do.

    The command line prints the message on one line, without a traceback, and exits with 2.
    """


class StorageError(Exception):
    """Object storage did not do what was asked: no answer, no credentials, no permission.

    Not a :class:`PipelineError`, which may mean that a file is not there: what could not be asked is not taken for
    absent, and made anew. The command line prints it the same way.
    """
