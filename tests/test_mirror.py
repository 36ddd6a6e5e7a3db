"""Every module has a test file of its name, or this list says whose tests cover it."""

from __future__ import annotations

import pytest

from tests.test_arrows import ROOT, module_name, sources

COVERED_BY = {
    "router.addresses": "tests.training.tracking.test_store",
    "router.call_log.alarm": "tests.router.call_log.test_log",
    "router.call_log.tables": "tests.router.call_log.test_store",
    "router.cli.console": "tests.router.cli.test_commands",
    "router.cli.cost_table": "tests.router.cli.test_accounts",
    "router.cli.explanation_tables": "tests.router.cli.test_explaining",
    "router.cli.linting": "tests.router.cli.test_commands",
    "router.cli.proxy": "tests.whole.test_proxy",
    "router.forecasting.added": "tests.training.learning.test_joining",
    "router.forecasting.training_prompts": "tests.router.explaining.test_nearest",
    "router.linting.phrases": "tests.router.linting.test_lint",
    "router.models.litellm_import": "tests.router.calling.test_litellm_call",
    "router.serving.completion": "tests.router.serving.test_client",
    "router.serving.pace": "tests.router.serving.test_client",
    "router.serving.versions": "tests.router.serving.test_client",
    "router.settings.functions": "tests.router.call_log.test_text",
    "router.settings.outcome_rules": "tests.training.reading.outcomes.test_rules",
    "router.settings.section": "tests.router.settings.test_yaml_file",
    "router.settings.sections": "tests.router.settings.test_yaml_file",
    "training.commands.differing": "tests.training.test_differing",
    "training.commands.demo": "tests.whole.test_sample",
    "training.commands.membership": "tests.training.test_membership",
    "training.commands.offline": "tests.training.commands.test_judging",
    "training.commands.paying": "tests.training.commands.test_replaying",
    "training.commands.retraining": "tests.training.test_retraining",
    "training.commands.watching": "tests.training.test_watching",
    "training.comparing.blocks": "tests.training.comparing.test_comparison",
    "training.comparing.evaluated": "tests.training.comparing.test_comparison",
    "training.comparing.evaluating": "tests.training.comparing.test_on_log",
    "training.comparing.job": "tests.training.comparing.test_on_log",
    "training.comparing.measuring.calibration": "tests.training.comparing.test_comparison",
    "training.comparing.measuring.columns": "tests.training.commands.test_comparing",
    "training.comparing.measuring.contenders": "tests.training.comparing.test_comparison",
    "training.comparing.measuring.examples": "tests.training.comparing.test_comparison",
    "training.comparing.measuring.overlap": "tests.training.comparing.test_comparison",
    "training.comparing.report.record": "tests.whole.test_mlflow",
    "training.commands.dashboard": "tests.training.dashboard.test_dashboard_in_browser",
    "training.dashboard.app": "tests.training.dashboard.test_dashboard_in_browser",
    "training.dashboard.cells": "tests.training.dashboard.test_kept",
    "training.dashboard.counting": "tests.training.dashboard.test_kept",
    "training.dashboard.charts": "tests.training.dashboard.test_pages",
    "training.dashboard.figures": "tests.training.dashboard.test_pages",
    "training.inspecting.counting": "tests.training.inspecting.test_inspection",
    "training.judging.plan": "tests.training.judging.test_run",
    "training.options": "tests.training.commands.test_judging",
    "training.pages.rendering": "tests.training.commands.test_comparing",
    "training.progress": "tests.training.test_pipeline",
    "training.prompts.languages": "tests.training.comparing.measuring.test_slices",
    "training.readers.azure_apim": "tests.training.readers.test_exchanges",
    "training.readers.batch_prices": "tests.training.readers.test_batches",
    "training.readers.batch_reader": "tests.training.readers.test_batches",
    "training.readers.braintrust": "tests.training.readers.test_traced_runs",
    "training.readers.langsmith": "tests.training.readers.test_traced_runs",
    "training.readers.opik": "tests.training.readers.test_traced_runs",
    "training.readers.weave": "tests.training.readers.test_traced_runs",
    "training.readers.bedrock": "tests.training.readers.test_exchanges",
    "training.readers.cloudflare": "tests.training.readers.test_exchanges",
    "training.readers.langfuse_fields": "tests.training.readers.test_langfuse",
    "training.readers.langfuse_pages": "tests.training.readers.test_langfuse",
    "training.readers.litellm_records": "tests.training.readers.test_litellm",
    "training.readers.litellm_shadow": "tests.training.readers.test_litellm",
    "training.readers.litellm_spend": "tests.training.readers.test_litellm",
    "training.readers.message_shapes": "tests.training.readers.test_request_shapes",
    "training.readers.mlflow_spans": "tests.training.readers.test_mlflow_traces",
    "training.readers.otel_messages": "tests.training.readers.test_otel_genai",
    "training.readers.otel_records": "tests.training.readers.test_otel_genai",
    "training.readers.portkey": "tests.training.readers.test_exchanges",
    "training.readers.protocol": "tests.training.readers.test_every_reader",
    "training.readers.stored_bodies": "tests.training.readers.test_exchanges",
    "training.readers.stream_chunks": "tests.training.readers.test_exchanges",
    "training.readers.vertex_ai": "tests.training.readers.test_exchanges",
    "training.readers.vllm_sr": "tests.training.readers.test_exchanges",
    "training.reading.files.csv_rows": "tests.training.reading.files.test_database",
    "training.reading.files.first_look": "tests.training.reading.files.test_database",
    "training.reading.files.log_file": "tests.training.reading.files.test_sources",
    "training.reading.files.raw": "tests.training.reading.files.test_database",
    "training.reading.outcomes.amendments": "tests.training.reading.outcomes.test_session_rules",
    "training.reading.read_pass": "tests.training.reading.test_calls",
    "training.reading.rows.converting": "tests.training.reading.rows.test_own_log",
    "training.reading.rows.joining": "tests.training.reading.rows.test_own_log",
    "training.reading.rows.source_rows": "tests.training.reading.rows.test_own_log",
    "training.reading.rows.task_summary": "tests.training.reading.rows.test_own_log",
    "training.reading.summary": "tests.training.reading.test_calls",
    "training.spending.paid_calls": "tests.training.replaying.test_run",
    "training.spending.tally": "tests.training.replaying.test_run",
    "training.tracking.pyfunc_model": "tests.whole.test_mlflow",
}
"""Each module without a test file of its name, and the test file that covers it through a caller."""

MODULES = [
    module_name(path)
    for path in sources("router", "training")
    if path.name not in {"__init__.py", "__main__.py"}
]


def own_test(module: str) -> str:
    """The test file of a module's own name, in the same place under `tests`."""
    home, _, name = module.rpartition(".")
    return f"tests.{home}.test_{name}"


def is_file(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_test_file(module: str) -> None:
    assert is_file(COVERED_BY.get(module, own_test(module))), (
        f"write {own_test(module)}, or name what covers it"
    )


def test_the_list_is_no_longer_than_it_must_be() -> None:
    assert [module for module in COVERED_BY if module not in MODULES or is_file(own_test(module))] == []
