"""What can go wrong between a source and a table.

PipelineError
├── UsageError       a source, table or setting that cannot work; said before anything starts
├── ClipError        this one clip cannot be embedded: becomes a row in `errors`
├── StoreError       the table cannot be written or read; fails the shard
│   ├── HostError    a fault of this machine, as a full disk; another machine may do
│   ├── CredentialsError   a store rejects the credentials; ends the run
│   └── LostTableError   another run has the table now; ends the run
├── BrokenStreamError   the decode side of a shard ended early or skipped; fails the shard
└── DriftError       this process would write vectors of another space; ends the run
"""


class PipelineError(Exception):
    """Base of all errors of `pipeline`."""


class UsageError(PipelineError):
    """What was asked for cannot be done; the message says what to write instead."""


class ClipError(PipelineError):
    """One clip cannot be embedded.

    Args:
        stage: `read`, `decode`, `window` or `embed`.
        error_class: short name that errors are counted by.
        message: names the file, the value and the way out.
    """

    def __init__(self, stage: str, error_class: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.error_class = error_class
        self.message = message


class StoreError(PipelineError):
    """Data could not be written to, or read back from, the table."""


class HostError(StoreError):
    """A fault of this machine: its disk is full, or it has no file descriptors left.

    Another machine may do. A run on Ray gives the shard to another node.
    """


class CredentialsError(StoreError):
    """A store rejects the credentials: they have expired, say. No other request could succeed."""


class LostTableError(StoreError):
    """Another run has taken the table over; this one must not commit any more."""


class DriftError(PipelineError):
    """A process embeds otherwise than those that wrote the table before."""


class BrokenStreamError(PipelineError):
    """A shard's event stream does not account for every clip and window of the shard."""


class CannotDecodeError(Exception):
    """No decoder makes audio of this file.

    Args:
        error_class: short name that errors are counted by.
        message: what is wrong, without the file's name.
    """

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class
