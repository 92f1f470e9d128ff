"""The errors that a user of an encoder can cause and fix."""

from pipeline.errors import SolaPipelineError


class EncoderError(SolaPipelineError, ValueError):
    """A setting, weight file or input does not fit; the message says which, what is accepted, and what to do."""


def reason_of(error: Exception) -> str:
    """Return the first two lines of an error's message as one, of at most 300 characters."""
    words = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return words[:300] or type(error).__name__
