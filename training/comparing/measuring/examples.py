"""Examples: prompts on which the router and the reference policy disagree."""

from __future__ import annotations

import numpy as np

from router.records import IntArray, last_said
from training.comparing.evaluated import Evaluated, Example
from training.statistics.policy_curves import picked

MOST_EXAMPLES = 24
MOST_WITHOUT_TEXT = 5
"""Of examples whose text may not be shown: the models alone teach little."""
TEXT_CHARACTERS = 600


def examples(evaluated: Evaluated, reference: IntArray | None, *, show_text: bool) -> tuple[Example, ...]:
    """Disagreements: the router fails and the reference succeeds, the other way round, and all others.

    A third of each kind as long as there are some. The router's most confident ones, which teach the most,
    come first.

    Args:
        reference: shape (n,); choice of the reference, or None if it has no choice per prompt: no examples.
        show_text: whether the prompts' text may be shown.
    """
    if reference is None:
        return ()
    success = evaluated.success if evaluated.study is None else evaluated.study.logged.success
    router_success, reference_success = picked(success, evaluated.choice), picked(success, reference)
    differ = (evaluated.choice != reference) & (reference >= 0)
    worse, better = router_success < reference_success, router_success > reference_success
    kinds = (differ & worse, differ & better, differ & (router_success == reference_success), differ)
    order = np.argsort(-evaluated.confidence, kind="stable")
    rows: dict[int, None] = {}
    for kind, most in zip(kinds, (8, 16, 24, MOST_EXAMPLES), strict=True):
        new = [int(row) for row in order[kind[order]][:MOST_EXAMPLES] if int(row) not in rows]
        rows |= dict.fromkeys(new[: max(most - len(rows), 0)])
    return tuple(
        Example(
            key=evaluated.keys[row],
            text=last_said(evaluated.requests[row].messages)[:TEXT_CHARACTERS] if show_text else None,
            task_type=evaluated.requests[row].task_type,
            router_model=evaluated.models[evaluated.choice[row]],
            reference_model=evaluated.models[reference[row]],
            router_success=float(router_success[row]),
            reference_success=float(reference_success[row]),
            router_confidence=float(evaluated.confidence[row]),
        )
        for row in list(rows)[: None if show_text else MOST_WITHOUT_TEXT]
    )
