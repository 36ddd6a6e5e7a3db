from pathlib import Path
import pytest
@pytest.fixture(scope="session")
def router_folder() -> Path:
    return Path("/tmp/ptest/minilm/router")
