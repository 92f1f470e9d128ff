"""The errors that a user of an encoder can cause and mend."""

from pipeline.errors import SolaPipelineError


class EncoderError(SolaPipelineError, ValueError):
    """A setting, a weight file or an input does not fit; the message says which, what is accepted, what to do."""
