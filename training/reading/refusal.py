"""Refuses a log that was read and is of no use: why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from router.errors import CallLogError, TooManyRejects
from router.numbers import level, rate
from training.readers import (
    azure_apim,
    batch_reader,
    bedrock,
    cloudflare,
    helicone,
    langfuse,
    litellm_records,
    litellm_shadow,
    litellm_spend,
    otel_genai,
    protocol,
    stored_bodies,
)
from training.readers.known import known_readers
from training.reading.files.log_file import OWN_LOG
from training.reading.rows.cleaning import TEXT_NOT_KEPT
from training.reading.summary import ReadSummary

_FILES_NAMED = 3
_BATCH = "name the input, output and error files of a batch together"
_JUDGED = "name the spend log and the shadow evaluations together"
_SCORED = "name observations/ or observations_v2/ together with scores/ (and traces/)"
_WAYS_OUT: Mapping[str, str] = {
    protocol.NO_PROMPT.reason: "log prompts from now on (LiteLLM: store_prompts_in_spend_logs; "
    "OpenTelemetry: the instrumentation's setting for message contents)",
    protocol.UNREAD_PROMPT.reason: "say with --map messages=PATH, or prompt=PATH, where the prompt stands",
    protocol.NO_TEXT.reason: "log the texts: these prompts are empty, or token numbers",
    protocol.SEVERAL_PROMPTS.reason: "name a log with one prompt a call",
    litellm_spend.SUMS.reason: "read /spend/logs/v2, or the table LiteLLM_SpendLogs",
    langfuse.NO_CHAT.reason: "say with --map messages=PATH, or prompt=PATH, where the prompt stands",
    litellm_records.REDACTED.reason: "turn redaction off for the calls that a router learns from (LiteLLM: "
    "turn_off_message_logging), or read a log that keeps the texts",
    litellm_records.CACHED.reason: "read a longer part of the log, with the calls that filled the cache",
    helicone.BODY_ELSEWHERE.reason: "export the bodies too",
    bedrock.BODY_NOT_REACHED.reason: "read it with credentials for the bucket that it names (extra s3)",
    cloudflare.ENCRYPTED.reason: "decrypt the bodies with the private key, or read the gateway's API",
    stored_bodies.NO_MESSAGES.reason: "fetch input_items and messages too, and name both",
    stored_bodies.NO_ANSWER.reason: "name the stored completions, too",
    azure_apim.INCOMPLETE.reason: "read all rows of each CorrelationId: export a longer period",
    azure_apim.NO_CALL_OF_ROW.reason: "name the table ApiManagementGatewayLlmLog, too",
    batch_reader.NO_RESULT.reason: _BATCH,
    batch_reader.NO_REQUEST.reason: _BATCH,
    litellm_shadow.NO_REAL_CALL.reason: _JUDGED,
    langfuse.NO_SCORED_CALL.reason: _SCORED,
    langfuse.NO_CALL_IN_TRACE.reason: _SCORED,
    otel_genai.NO_CALL_OF_EVENT.reason: "name the files of traces and of logs together",
}
"""What to do about skipped rows, by their reason."""
_OTHERWISE = "name a log that holds your application's chat calls"


def refuse_bad_log(summary: ReadSummary, rejects: Path | None, max_reject_share: float) -> None:
    """Raise if a log has no call to learn from, or too many rows that can't be read.

    Args:
        rejects: file of the rejected rows; None if they are not kept.

    Raises:
        CallLogError: no call is left.
        TooManyRejects: more than `max_reject_share` of all rows are rejected.
    """
    reasons = "\n  ".join(map(str, summary.rejects))
    where = f"all of them are in {rejects}" if rejects else "set a path for rejected rows to see them all"
    if summary.rejected > max_reject_share * summary.rows:
        raise TooManyRejects(
            f"{summary.rejected:,} of {summary.rows:,} rows can't be read "
            f"({rate(summary.rejected / summary.rows)}; at most {level(max_reject_share)} may be bad):\n"
            f"  {reasons}\n{where}; {_correct(summary)}, or raise training.max_reject_share"
        )
    if summary.calls:
        return
    nothing = f"no readable call in {_named(summary.files)} ({summary.rows:,} row{'s' * (summary.rows != 1)})"
    if summary.without_text:
        raise CallLogError(
            f"{nothing}: in {summary.without_text} of them the {TEXT_NOT_KEPT}, but a router learns from "
            "texts; log with log.text 'full' or 'redacted' from now on"
            + (f"\n  {reasons}" if reasons else "")
        )
    if summary.set_apart:
        raise CallLogError(
            f"{nothing}: {_skipped(summary.set_apart)}" + (f"\n  {reasons}" if reasons else "")
        )
    if reasons:
        raise CallLogError(f"{nothing}:\n  {reasons}\n{where}; {_correct(summary)}")
    raise CallLogError(f"{nothing}; the files are empty")


def _correct(summary: ReadSummary) -> str:
    """What to do about rejected rows."""
    ways = ["correct the log", "map its columns with --map field=column"]
    if any("UTF-8" in reject.reason for reject in summary.rejects):
        ways[0] = "save it as UTF-8"
    columns = any("missing" in reject.reason for reject in summary.rejects)
    if columns and OWN_LOG in summary.readers and not summary.calls:
        formats = ", ".join(name for name in known_readers() if name != OWN_LOG)
        ways.append(f"name its format with --format (none of {formats} was recognised)")
    return ", ".join(ways)


def _skipped(counts: Mapping[str, int]) -> str:
    """How many rows were skipped for which reason, and what to do about it."""
    skipped = ", ".join(f"{count:,} x {reason}" for reason, count in counts.items())
    ways = dict.fromkeys(way for reason in counts if (way := _WAYS_OUT.get(reason)))
    return f"the skipped rows hold nothing to learn from ({skipped}); {'; '.join(ways) or _OTHERWISE}"


def _named(files: Sequence[str]) -> str:
    more = len(files) - _FILES_NAMED
    return ", ".join(files[:_FILES_NAMED]) + (f" and {more:,} more" if more > 0 else "")
