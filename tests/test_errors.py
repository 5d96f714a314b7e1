import errno

import pytest

from stagewise.errors import ConfigError, DiskError, UserError, foreseen


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_what_a_disk_says_is_one_line_that_names_the_file(number: int) -> None:
    said = foreseen(OSError(number, "what the system says", "/x/y"))
    assert isinstance(said, DiskError)
    assert str(said).startswith("/x/y: what the system says; make room")
    assert said.exit_code == 6


def test_a_full_disk_is_known_by_its_words_in_other_libraries_errors() -> None:
    assert isinstance(foreseen(RuntimeError("I/O error: No space left on device (os error 28)")), DiskError)


def test_a_file_that_may_not_be_touched_is_the_users_to_mend() -> None:
    said = foreseen(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert type(said) is UserError
    assert said.exit_code == 2


def test_a_mistake_is_itself_and_a_failure_of_ours_is_none() -> None:
    mistake = ConfigError("a line")
    assert foreseen(mistake) is mistake
    assert foreseen(KeyError("x")) is None
    assert foreseen(FileNotFoundError(errno.ENOENT, "No such file", "/x")) is None
