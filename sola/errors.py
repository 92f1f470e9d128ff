"""The errors that a user of this package can cause and mend."""

from pipeline.errors import SolaPipelineError


class SolaError(SolaPipelineError, ValueError):
    """A setting, a file or the data is wrong; the message says what, where, and what to do."""
