"""What a file's own bytes say of its length, read without decoding."""
