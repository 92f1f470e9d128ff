"""The errors that a user can cause and mend."""


class PipelineError(Exception):
    """Something in the input or the settings is wrong; the message says what, where, and what to do.

    The command line prints the message on one line, without a traceback, and exits with 2.
    """
