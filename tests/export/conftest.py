"""The finished study of all tests, as the formats take it."""

import pytest
from conftest import Finished

from stagewise.export import Study


@pytest.fixture(scope="session")
def study(finished: Finished) -> Study:
    from stagewise.commands.export import read_study

    return read_study(finished.client, finished.run_id)
