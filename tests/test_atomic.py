from pathlib import Path

import pytest

from stagewise.atomic import written


def make(path: Path, text: str, folder: bool) -> None:
    if folder:
        path.mkdir()
        path /= "inside"
    path.write_text(text)


def held(path: Path, folder: bool) -> str:
    return (path / "inside" if folder else path).read_text()


@pytest.mark.parametrize("folder", [False, True])
def test_it_is_there_once_the_body_has_ended(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "new" / "it"
    for text in ("first", "second"):
        with written(path) as partial:
            make(partial, text, folder)
            assert not path.exists() or held(path, folder) == "first"
        assert held(path, folder) == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("folder", [False, True])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "it"
    make(path, "before", folder)

    def broken_off() -> None:
        with written(path) as partial:
            make(partial, "half", folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert held(path, folder) == "before"
    assert list(tmp_path.iterdir()) == [path]
