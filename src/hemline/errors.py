"""Every error that Hemline raises for a user: one sentence that says what is wrong, where, and how to fix it.

HemlineError
├── PhotoError      a photo cannot be found, opened or decoded
├── DataError       a dataset's files do not say what they should
├── ConfigError     a recipe holds unknown or impossible values (all of them are listed at once)
├── LabelError      a label space is malformed, or a label is not in it
├── WeightsError    a weights file is missing, truncated, foreign or newer than this version
├── DeviceError     the device or runtime that was asked for is not here
├── CatalogError    a catalogue cannot be read, or a folder of tags is not what it should be
├── QueryError      a query of a catalogue says nothing that could be found
├── UnwritableError a file cannot be written: the disk is full, or the folder is missing or closed to us
└── StoppedError    training ended before its last epoch; its state is kept
    └── ElsewhereError   another process of the run says why
"""


class HemlineError(Exception):
    """The root of all errors meant for a user; its text is one clear sentence."""


class PhotoError(HemlineError):
    """A photo cannot be found, opened or decoded."""


class DataError(HemlineError):
    """A dataset's files do not say what they should."""


class ConfigError(HemlineError):
    """A recipe holds unknown or impossible values; the text lists all of them."""


class LabelError(HemlineError):
    """A label space is malformed, or a label is not in it."""


class WeightsError(HemlineError):
    """A weights file is missing, truncated, foreign or newer than this version."""


class DeviceError(HemlineError):
    """The device or runtime that was asked for is not here."""


class CatalogError(HemlineError):
    """A catalogue cannot be read, or a folder of tags is not what it should be."""


class QueryError(HemlineError):
    """A query that says nothing; the text says which word, and what would be right."""


class UnwritableError(HemlineError):
    """A file cannot be written: the disk is full, or the folder is missing or closed to us."""


class StoppedError(HemlineError):
    """Training ended before its last epoch; its last state is kept, and `--resume` goes on."""


class ElsewhereError(StoppedError):
    """Another of the processes that train together ended the run, and says why."""


def in_short(error: BaseException) -> str:
    """The first line of what another library says went wrong, for the brackets of one of our sentences."""
    return (str(error).splitlines() or [type(error).__name__])[0]
