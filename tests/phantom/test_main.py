import pytest

from cxr_jax.errors import InputError
from cxr_jax.phantom.__main__ import main


def test_command_line(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "new"), "--studies", "1", "--size", "48", "--workers", "1"]
    main(arguments)
    assert (tmp_path / "new" / "release.json").exists()
    assert "1 drawn studies of 48 x 48 pixels" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--studies", "0"], ["--studies", "many"], ["--nothing"]])
def test_bad_arguments_end_in_one_line(tmp_path, arguments):
    with pytest.raises(InputError) as error:
        main(["--out", str(tmp_path / "new"), *arguments])
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        main(["--out", str(tmp_path / "file" / "new"), "--studies", "1", "--size", "48"])
