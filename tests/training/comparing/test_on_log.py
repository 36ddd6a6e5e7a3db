from __future__ import annotations

import json
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from router.errors import CallLogError, ConfigError
from router.records import Json
from router.settings.sections import Config, Objective
from router.version import Version
from tests.training.logs import call, made_table, write_lines
from training.comparing.comparison import Draws
from training.comparing.estimating.off_policy import DOUBLY_ROBUST, POWERED
from training.comparing.evaluated import Comparison
from training.comparing.job import CompareJob, PromiseTerms
from training.comparing.measuring.contenders import LOGGED
from training.comparing.on_log import PARTIAL, SEEN, UNCALLED, compare_on_log, rows_to_judge
from training.comparing.policies.baselines import BEST_SINGLE, ORACLE, RULES
from training.comparing.policies.paced import PACED
from training.complexity_router.litellm_scores import V1, V2
from training.progress import Reporter
from training.prompts.from_logs import ReadOptions
from training.prompts.table import PromptTable

FEW_DRAWS = Draws(number=200)


@pytest.fixture
def job(version: Version, encoder_cache: Path, tmp_path: Path) -> CompareJob:
    reading = ReadOptions(
        mapping={}, rejects=tmp_path / "rejects.jsonl", config=Config(), cache=encoder_cache
    )
    return CompareJob(
        sources=[], routers={"judged": version}, out=tmp_path / "report", reading=reading, draws=FEW_DRAWS
    )


def full_calls(router: Version, prompts: int = 12) -> list[dict[str, Json]]:
    """Every model of the router on prompts that it has not seen; every second prompt is a hard one."""
    return [
        call(prompt=f"a new question, number {number}", model=model, success=number % 2 == 0, cost_usd=0.001)
        for number in range(prompts)
        for model in router.models
    ]


def single_calls(router: Version, prompts: int = 400, *, propensity: bool = True) -> list[dict[str, Json]]:
    """One model on each prompt, drawn evenly; the last one succeeds nine times in ten, the others five."""
    rng = np.random.default_rng(0)
    chance = {"propensity": 1 / len(router.models)} if propensity else {}
    drawn = rng.integers(0, len(router.models), prompts)
    return [
        call(
            prompt=f"a new question, number {number}",
            model=router.models[model],
            success=bool(rng.random() < (0.9 if model == len(router.models) - 1 else 0.5)),
            cost_usd=0.001 * (1 + int(model)),
            **chance,
        )
        for number, model in enumerate(drawn)
    ]


def judged(job: CompareJob, quiet: Reporter, calls: list[dict[str, Json]], **change: object) -> Comparison:
    log = write_lines(job.out.parent / "fresh.jsonl", *calls)
    return compare_on_log(replace(job, sources=[log, *job.sources], **change), quiet)  # type: ignore[arg-type]


def test_a_router_is_judged_on_fresh_prompts_only(
    job: CompareJob, version: Version, sample_log: Path, quiet: Reporter
) -> None:
    found = judged(replace(job, sources=[str(sample_log)]), quiet, full_calls(version))
    assert found.provenance.left_out[SEEN] > 1000
    assert 12 <= found.prompts < 200
    report = json.loads((job.out / "report.json").read_bytes())
    assert (report["prompts"], report["method"]) == (found.prompts, "exact")
    assert (job.out / "report.html").is_file()


def test_the_routers_own_decisions_are_what_is_judged(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    found = judged(job, quiet, full_calls(version))
    assert (found.prompts, found.router.success.value) == (12, 0.5)
    assert found.router.cost_usd_per_call.value == pytest.approx(0.001)


def test_prompts_that_a_replay_drew_stand_for_the_log_they_were_drawn_from(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    drawn = [
        {**one, "sampling_probability": 0.25 if one["success"] else 0.5, "outcome_source": "replay"}
        for one in full_calls(version)
    ]
    found = judged(job, quiet, drawn)
    assert found.prompts == 12
    assert found.router.success.value == pytest.approx(6 * 4 / (6 * 4 + 6 * 2))
    assert any("a replay drew 12 of the 12 prompts" in warning for warning in found.warnings)


def test_a_budget_of_a_day_is_simulated_on_the_log(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    paced = copy(version)
    objective = Objective(kind="budget", usd_per_day=0.01)
    paced.config = version.config.model_copy(update={"objective": objective})
    calls = [
        {**one, "time": f"2026-01-{1 + number // 8:02}T00:00:00Z"}
        for number, one in enumerate(full_calls(version, 24))
    ]
    found = judged(replace(job, routers={"judged": paced}), quiet, calls)
    assert PACED in {policy.name for policy in found.policies}
    assert any(warning.startswith(PACED) and "of $0.010 a day" in warning for warning in found.warnings)


def test_every_policy_that_there_is_stands_beside_the_router(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    names = {policy.name for policy in judged(job, quiet, full_calls(version)).policies}
    kept = {BEST_SINGLE, ORACLE, RULES, V1, V2, "keyword heuristic", "k nearest neighbours", "random"}
    assert kept | {"label estimator", "cost-matched shuffle", "all-cheap", "all-strong"} <= names


def test_one_call_a_prompt_is_judged_off_policy(job: CompareJob, version: Version, quiet: Reporter) -> None:
    calls = single_calls(version)
    found = judged(job, quiet, calls)
    assert found.method == "off-policy"
    assert found.off_policy is not None
    assert found.off_policy.propensities == "logged"
    assert found.change.today == LOGGED
    strong = next(policy for policy in found.policies if policy.name == f"always {version.models[-1]}")
    assert strong.support is not None
    assert strong.support.refused is None
    logged = np.mean([one["success"] for one in calls if one["model"] == version.models[-1]])
    assert strong.success.value == pytest.approx(logged, abs=0.02)
    assert {policy.name for policy in found.policies}.isdisjoint({ORACLE})


def test_grades_power_the_success_rates_of_a_log_with_few_outcomes(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    rng = np.random.default_rng(2)
    calls = [
        {
            **one,
            "success": one["success"] if rng.random() < 0.4 else None,
            "graded": 0.9 if one["success"] else 0.2,
            "graded_source": "grader",
        }
        for one in single_calls(version, 900)
    ]
    found = judged(job, quiet, calls)
    bare = judged(job, quiet, [{**one, "graded": None} for one in calls])
    assert found.off_policy is not None
    assert bare.off_policy is not None
    assert (found.prompts, found.off_policy.calls) == (900, bare.off_policy.calls)
    assert bare.prompts == bare.off_policy.calls
    assert (found.off_policy.success_estimator, bare.off_policy.success_estimator) == (POWERED, DOUBLY_ROBUST)
    assert min(found.off_policy.grade_shares.values()) > 0.5
    report = json.loads((job.out / "report.json").read_bytes())
    assert report["off_policy"]["grade_shares"] == {}
    for one, other in zip(found.policies, bare.policies, strict=True):
        if one.kind != "control" and one.support is not None and one.support.refused is None:
            assert asdict(one.success) == pytest.approx(asdict(one.support.estimates[POWERED]))
            assert other.support is not None
            assert POWERED not in other.support.estimates
            assert one.success.high - one.success.low < other.success.high - other.success.low
    html_of = judged(job, quiet, calls)
    assert "Prediction-powered" in (job.out / "report.html").read_text()
    assert html_of.method == "off-policy"


def test_propensities_that_were_not_logged_are_estimated_and_it_is_said(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    found = judged(job, quiet, single_calls(version, propensity=False))
    assert found.off_policy is not None
    assert found.off_policy.propensities == "estimated"
    assert any("without a propensity" in warning for warning in found.off_policy.warnings)


def test_a_model_that_the_log_never_called_gets_no_number(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    calls = [one for one in single_calls(version) if one["model"] != version.models[0]]
    unseen = next(
        policy
        for policy in judged(job, quiet, calls).policies
        if policy.name == f"always {version.models[0]}"
    )
    assert unseen.support is not None
    assert "no known outcome" in str(unseen.support.refused)
    assert np.isnan(unseen.success.value)


def test_several_routers_are_compared_at_once(job: CompareJob, version: Version, quiet: Reporter) -> None:
    found = judged(job, quiet, full_calls(version), routers={"judged": version, "the other": version})
    other = next(policy for policy in found.policies if policy.name == "the other")
    assert (other.kind, other.same_as_router) == ("other router", True)
    assert set(found.provenance.routers) == {"judged", "the other"}


def test_a_policy_of_the_teams_own_takes_part(
    job: CompareJob, version: Version, quiet: Reporter, tmp_path: Path
) -> None:
    choices = [{"prompt": f"a new question, number {n}", "model": version.models[0]} for n in range(6)]
    file = write_lines(tmp_path / "choices.jsonl", *choices)
    found = judged(job, quiet, full_calls(version), policies=[f"ours={file}"])
    ours = next(policy for policy in found.policies if policy.name == "ours")
    assert (ours.kind, ours.prompts) == ("own policy", 6)


def test_a_policy_may_not_take_the_name_of_another(
    job: CompareJob, version: Version, quiet: Reporter, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "choices.jsonl", {"prompt": "x", "model": "y"})
    with pytest.raises(ConfigError, match="the name 'random' is taken"):
        judged(job, quiet, full_calls(version), policies=[f"random={file}"])


def test_a_promise_is_made_on_one_half_and_reported_on_the_other(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    found = judged(job, quiet, full_calls(version, 80), promise=PromiseTerms(max_loss=0.3)).promise
    assert found is not None
    assert (found.calibration_prompts, found.test_prompts) == (40, 40)
    assert found.kept


def test_a_log_that_judges_nothing_is_refused_with_the_reason(
    job: CompareJob, version: Version, quiet: Reporter
) -> None:
    one = call(prompt="new", model=version.models[0], success=True)
    with pytest.raises(
        CallLogError, match="no prompt to judge the router on: 1 prompts, 1 without the outcome"
    ):
        judged(job, quiet, [one], method="exact")
    assert not job.out.exists()


def numbered(table: PromptTable, version: Version) -> PromptTable:
    """The table with keys of which the router has seen the first."""
    seen = f"{next(iter(version.training_keys())):016x}{0:016x}"
    return replace(table, keys=[seen, *(f"{row:032x}" for row in range(len(table) - 1))])


def test_rows_are_left_out_by_reason(job: CompareJob, version: Version) -> None:
    known = [[1.0] * len(version.models)] * 5
    gap, nothing = [np.nan, *known[0][1:]], [np.nan] * len(version.models)
    table = numbered(made_table([*known[:3], gap, nothing], known), version)
    exact = rows_to_judge(table, replace(job, method="exact"))
    assert (exact.rows.tolist(), exact.left_out) == ([1, 2], {SEEN: 1, PARTIAL: 2})
    partly = rows_to_judge(table, replace(job, method="off-policy"))
    assert (partly.rows.tolist(), partly.left_out) == ([1, 2, 3], {SEEN: 1, UNCALLED: 1})


def test_a_comparison_is_exact_where_most_prompts_have_every_outcome(
    job: CompareJob, version: Version
) -> None:
    known = [[1.0] * len(version.models)] * 4
    gap = [np.nan, *known[0][1:]]
    assert rows_to_judge(numbered(made_table([*known[:3], gap], known), version), job).exact
    assert not rows_to_judge(numbered(made_table([*known[:2], gap, gap], known), version), job).exact
