"""The errors that a user of an encoder can cause and fix."""

from pipeline.errors import SolaPipelineError


class EncoderError(SolaPipelineError, ValueError):
    """A setting, weight file or input does not fit; the message says which, what is accepted, and what to do."""
