"""Every error that pointsman raises on purpose.

RouterError
├── ConfigError        pointsman.yaml is wrong: the message names the key and the line
├── ArtifactError      a router folder can't be used
│   ├── DamagedArtifact    a file is missing or its hash differs
│   ├── ForeignArtifact    the folder is not a pointsman router, or not the expected one
│   ├── NewerArtifact      its format is later than this code reads
│   └── NoAnswer           the registry is down or in trouble
├── RouterClosed       the router was used after its `close()`
├── RequestError       one request can't be read (also: one line of `pointsman route`)
├── NoModelAllowed     the limits rule out every model for a request; carries the reasons
├── CallFailed         no model answered; carries every attempt
├── StreamBroken       a stream ended in the middle, after its first piece
├── CallLogError       a call log can't be used
│   ├── TooManyRejects     more bad rows than the stated share
│   └── NothingToJudge     no prompt of the log is new to the routers
├── TrainingError      the log is readable, but no router can be fitted from it
└── MissingExtra       a command needs packages of an extra that is not installed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from router.errors.masking import without_credentials


class RouterError(Exception):
    """Base of all pointsman errors: catching it catches what an operator must handle."""


class ConfigError(RouterError):
    """A setting in `pointsman.yaml` is unknown, missing or out of range; the message holds no credentials."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message))


class ArtifactError(RouterError):
    """A router folder can't be loaded."""


class DamagedArtifact(ArtifactError):
    """A file of the router is missing, or differs from its recorded hash."""


class ForeignArtifact(ArtifactError):
    """The folder was not written by pointsman, or holds another router than the expected one."""


class NewerArtifact(ArtifactError):
    """The folder was written in a later format than this version reads."""


class NoAnswer(ArtifactError):
    """The registry can't be reached or is in trouble; a copy may serve until it is back."""


class RouterClosed(RouterError):
    """A closed router was asked to decide or to call: nothing would be logged any more."""

    def __init__(self) -> None:
        super().__init__("this router is closed: load it again, or close it after its last call")


class RequestError(RouterError):
    """One request can't be read."""


class NoModelAllowed(RouterError):
    """No model is left for a request.

    Attributes:
        rejected: reason for each model that was ruled out.
    """

    def __init__(self, rejected: Mapping[str, str]) -> None:
        reasons = "; ".join(f"{model}: {why}" for model, why in rejected.items())
        super().__init__(f"no model may serve this request ({reasons}); relax the constraints or add a model")
        self.rejected = dict(rejected)


class CallFailed(RouterError):
    """No model of the chain answered; the last provider's error is the cause.

    Attributes:
        failures: model and error of each attempt, in order.
    """

    def __init__(self, failures: Sequence[tuple[str, str]]) -> None:
        attempts = "; ".join(f"{model}: {why}" for model, why in failures)
        super().__init__(f"no model answered after {len(failures)} attempt(s) ({attempts})")
        self.failures = tuple(failures)


class StreamBroken(RouterError):
    """A stream ended in the middle; the caller already has its first pieces.

    Attributes:
        model: the model that answered.
    """

    def __init__(self, model: str, why: str) -> None:
        super().__init__(
            f"{model}: the stream broke after its first piece ({why}); ask again for a whole answer"
        )
        self.model = model


class CallLogError(RouterError):
    """A call log can't be read or written, or holds nothing to learn from; the message has no credentials."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message))


class TooManyRejects(CallLogError):
    """The share of rows that could not be read is over the stated limit."""


class NothingToJudge(CallLogError):
    """No prompt of the log is new to the routers, with a known outcome of their models."""


class TrainingError(RouterError):
    """No router can be fitted from these calls."""


class MissingExtra(RouterError):
    """A command needs packages that are not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}: pip install 'pointsman[{extra}]'")
