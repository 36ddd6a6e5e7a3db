from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

from litellm.integrations.custom_logger import CustomLogger
from litellm.types.router import ClassifierPlugin

from router import litellm_plugin
from router.litellm_plugin import callback, classifier

FILE = Path(litellm_plugin.__file__)


def test_the_names_of_litellms_configuration_have_the_forms_that_it_checks() -> None:
    assert isinstance(classifier, ClassifierPlugin)
    assert inspect.iscoroutinefunction(classifier.classify)
    assert isinstance(callback, CustomLogger)


def test_a_copy_that_litellm_executes_beside_its_configuration_shares_the_router() -> None:
    spec = importlib.util.spec_from_file_location("copy_of_the_plugin", FILE)
    assert spec is not None
    assert spec.loader is not None
    second = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(second)
    assert second.callback is not callback
    assert second.callback._dispatcher is callback._dispatcher is classifier._dispatcher


def test_importing_the_plugin_loads_no_router_and_needs_no_setting() -> None:
    code = "import sys, router.litellm_plugin; print(*{'onnxruntime', 'mlflow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
