"""Exceptions raised between a source and a committed table.

PipelineError
├── UsageError       a source, table or setting cannot work; raised before the run starts
├── ClipError        one clip cannot be embedded; becomes a row in `errors`
├── StoreError       the table cannot be written or read; fails the shard
│   ├── HostError    a fault of this machine, such as a full disk; another may succeed
│   ├── CredentialsError   a store rejects the credentials; ends the run
│   └── LostTableError   another run has taken over the table; ends the run
├── BrokenStreamError   a shard's events ended early or have a gap; fails the shard
└── DriftError       this process computes other vectors than the table holds; ends the run
"""


class PipelineError(Exception):
    """Base class of all errors of `pipeline`."""


class UsageError(PipelineError):
    """An error in what the user asked for; the message says what to write instead."""


class ClipError(PipelineError):
    """An error of one clip, which cannot be embedded.

    Args:
        stage: Stage that failed: `read`, `decode`, `window` or `embed`.
        error_class: Class of the error, one of `pipeline.error_classes`.
        message: Sentence with the file, the value and the way out.
    """

    def __init__(self, stage: str, error_class: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.error_class = error_class
        self.message = message


class StoreError(PipelineError):
    """An error in writing data to the table, or in reading it back."""


class HostError(StoreError):
    """A fault of this machine, such as a full disk or no file descriptors left.

    Another machine may succeed, so a run on Ray gives the shard to another node.
    """


class CredentialsError(StoreError):
    """A rejection of the credentials by a store, so that no other request could succeed."""


class LostTableError(StoreError):
    """The loss of the table to another run; this run must not commit again."""


class DriftError(PipelineError):
    """A difference between the embeddings of this process and those of the table's writers."""


class BrokenStreamError(PipelineError):
    """An event stream that does not account for every clip and window of its shard."""


class CannotDecodeError(Exception):
    """A file that no decoder can decode.

    Args:
        error_class: Class of the error, one of `pipeline.error_classes`.
        message: Description of the fault, without the file's name.
    """

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class
