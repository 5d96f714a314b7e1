import pytest

from stagewise.tracking.pages import address, run_page


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////home/me/mlflow.db", ""),
        ("postgresql://me:secret@db/mlflow", ""),
        ("https://mlflow.example:5000/", "https://mlflow.example:5000"),
        ("http://me:secret@mlflow.example/team", "http://mlflow.example/team"),
    ],
)
def test_only_a_server_has_an_address_and_it_names_nobody(uri: str, expected: str) -> None:
    assert address(uri) == expected


def test_a_runs_page_is_put_behind_the_address() -> None:
    assert run_page("3", "9c1e") == "#/experiments/3/runs/9c1e"
