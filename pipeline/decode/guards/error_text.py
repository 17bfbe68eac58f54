"""What decoders report about a file, in words that a stranger understands."""

_IN_OUR_WORDS = {
    "File does not exist or is not a regular file (possibly a pipe?)": "it finds no audio in the "
    "file",
    "Internal psf_fseek() failed": "it fails in the middle of the file",
    "Unspecified internal error": "it fails on damage, or on something between the audio",
    "Not yet implemented in FFmpeg, patches welcome": "the file uses something that FFmpeg cannot "
    "decode, or is damaged",
    "Resource temporarily unavailable": "the file ends, or is damaged, inside a part of the audio",
}
_OF_NO_USE = "Error number "


def explain_decoder_error(reason: str) -> str:
    """Return what a decoder reports, reworded where it misleads.

    Args:
        reason: Message of libsndfile or of FFmpeg.
    """
    if reason.startswith(_OF_NO_USE):
        return "a part of the audio is damaged"
    return _IN_OUR_WORDS.get(reason.rstrip("."), reason)
