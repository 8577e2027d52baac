"""`simulate ifs` on the command line."""

from click.testing import CliRunner

from archive_proc.cli.simulate_ import command


def test_what_cannot_be_simulated_is_said_before_anything_is_written(tmp_path):
    refused = CliRunner().invoke(command, ["ifs", str(tmp_path / "raw"), "--mode", "K"])
    assert refused.exit_code == 2
    unknown = CliRunner().invoke(command, ["ifs", str(tmp_path / "raw"), "--scenes", "galaxy"])
    assert "AP-SIM-002" in str(unknown.exception)
    assert not (tmp_path / "raw").exists()
