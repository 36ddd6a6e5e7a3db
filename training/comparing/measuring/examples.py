"""Prompts on which the router and the policy of today disagree, to look at."""

from __future__ import annotations

import numpy as np

from router.records import IntArray, last_said
from training.comparing.evaluated import Evaluated, Example
from training.statistics.policy_curves import picked

MOST_EXAMPLES = 24
TEXT_CHARACTERS = 600


def examples(evaluated: Evaluated, reference: IntArray | None, *, show_text: bool) -> tuple[Example, ...]:
    """Disagreements: where the router fails and the reference succeeds, the other way round, and any others.

    A third of each while there are some, the router's most confident first: those teach the most.

    Args:
        reference: shape (n,); None where it has no choice per prompt, so that nothing can be shown.
        show_text: whether the prompts' text may be shown.
    """
    if reference is None:
        return ()
    success = evaluated.success if evaluated.study is None else evaluated.study.logged.success
    ours, theirs = picked(success, evaluated.choice), picked(success, reference)
    apart = (evaluated.choice != reference) & (reference >= 0)
    kinds = (apart & (ours < theirs), apart & (ours > theirs), apart & ~(ours != theirs), apart)
    order = np.argsort(-evaluated.confidence, kind="stable")
    rows: dict[int, None] = {}
    for kind, most in zip(kinds, (8, 16, 24, MOST_EXAMPLES), strict=True):
        wanted = [int(row) for row in order[kind[order]][:MOST_EXAMPLES] if int(row) not in rows]
        rows |= dict.fromkeys(wanted[: max(most - len(rows), 0)])
    return tuple(
        Example(
            key=evaluated.keys[row],
            text=last_said(evaluated.requests[row].messages)[:TEXT_CHARACTERS] if show_text else None,
            task_type=evaluated.requests[row].task_type,
            router_model=evaluated.models[evaluated.choice[row]],
            reference_model=evaluated.models[reference[row]],
            router_success=float(ours[row]),
            reference_success=float(theirs[row]),
            router_confidence=float(evaluated.confidence[row]),
        )
        for row in rows
    )
