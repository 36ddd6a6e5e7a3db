"""Read a log format of your own: JSON lines with `question`, `engine`, `answer`, `thumb` and `cents`.

Put this module into a package of yours, with an entry point in its `pyproject.toml`, and install it:

    [project.entry-points."pointsman.readers"]
    support_desk = "custom_reader:READER"

Then `pointsman import desk.jsonl --out calls.parquet` recognises the format, and `--format support_desk` is
its name.
"""

from training.readers.protocol import Call, Reader, Record, Rejected, Result, Sample, Skipped


class SupportDesk(Reader):
    """The log of a support desk. No method raises, whatever a record looks like."""

    name = "support_desk"

    def recognise(self, sample: Sample) -> float:
        """Be sure where no other format has these members."""
        return sample.share("question", "engine", "thumb")

    def convert(self, row: Record) -> Result:
        """Say what a row holds; leave out what is unknown. Values are checked afterwards."""
        if row.get("engine") == "human":
            return Skipped("answered by a person")
        cents = row.get("cents")
        if cents is not None and not isinstance(cents, int | float):
            return Rejected("cents are no number", cents)
        return Call(
            prompt=row.get("question"),
            model=row.get("engine"),
            answer=row.get("answer"),
            success={"up": True, "down": False}.get(str(row.get("thumb"))),
            cost_usd=None if cents is None else cents / 100,
        )


READER = SupportDesk()
