"""Translation of decoder messages that users would misunderstand."""

_EXPLANATIONS = {
    "File does not exist or is not a regular file (possibly a pipe?)": "it finds no audio in the "
    "file",
    "Internal psf_fseek() failed": "it fails in the middle of the file",
    "Unspecified internal error": "it fails on damage, or on other data between the audio",
    "Not yet implemented in FFmpeg, patches welcome": "the file uses something that FFmpeg cannot "
    "decode, or is damaged",
    "Resource temporarily unavailable": "the file ends, or is damaged, inside a part of the audio",
}
_MEANINGLESS_PREFIX = "Error number "


def explain_decoder_error(reason: str) -> str:
    """Return a decoder's message, replaced by a clearer one if it is known to mislead.

    Args:
        reason: Message of libsndfile or FFmpeg.
    """
    if reason.startswith(_MEANINGLESS_PREFIX):
        return "a part of the audio is damaged"
    return _EXPLANATIONS.get(reason.rstrip("."), reason)
