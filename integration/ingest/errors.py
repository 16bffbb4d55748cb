"""The errors that end the run of one source.

IngestError                69
├── SourceError            69  what the source sent cannot be used: a page loop, a changed file
│   ├── SourceUnavailable  69  no answer, or none that is complete: run again later
│   │   └── SourceLimited  69  the source allows no more requests for a while
│   ├── SourceRefused      77  the source refused the credentials
│   └── OptionRefused      78  an option of the command line that the source does not have
├── SourceBusy             75  another run holds the source, or moved its checkpoint
├── SchemaError            78  a required field is gone, or a new one came with schema = "freeze"
├── TooManyRejected        69  more than max_rejected_percent of a page
└── TooManyMissing         69  more rows to delete than delete_missing may delete

Each message is one line that says what to do. It names the source, never a secret.
"""

from __future__ import annotations

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode


class IngestError(AppError):
    """The run of a source cannot go on."""

    exit_code = ExitCode.UNAVAILABLE


class SourceError(IngestError):
    """What the source sent cannot be used."""


class SourceUnavailable(SourceError):  # noqa: N818  # named by what to do next
    """The source cannot be read at the moment; a later run may succeed."""


class SourceLimited(SourceUnavailable):  # named by what to do next
    """The source allows no more requests for longer than a run waits."""


class SourceRefused(SourceError):  # noqa: N818  # named by what to do next
    """The source refused the credentials."""

    exit_code = ExitCode.KEY_REFUSED


class OptionRefused(SourceError):  # noqa: N818  # named by what to do next
    """The source cannot be read with an option of the command line."""

    exit_code = ExitCode.CONFIGURATION


class SourceBusy(IngestError):  # noqa: N818  # named by what to do next
    """Another run holds the source, or has moved its checkpoint."""

    exit_code = ExitCode.LOCKED


class SchemaError(IngestError):
    """The records no longer have the fields that the source's configuration names."""

    exit_code = ExitCode.CONFIGURATION


class TooManyRejected(IngestError):  # noqa: N818  # named by what to do next
    """A page has more rejected records than the source allows."""


class TooManyMissing(IngestError):  # noqa: N818  # named by what to do next
    """The source no longer has so many of its rows that it may not have sent everything."""
