"""Commands run in this process, and the search that their tests begin with."""

from nas.cli import main

SEARCH = ("search", "--space", "small.grammar", "--target", "a100", "--evaluations", "40")


def call(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    return code, out, err


def printed(capsys, *arguments):
    """What a command that must end well prints to standard output."""
    code, out, err = call(capsys, *arguments)
    assert code == 0, err
    return out


def fault(capsys, *arguments):
    """Code and the one line that a user's fault ends in."""
    code, out, err = call(capsys, *arguments)
    assert out == "", out
    assert "Traceback" not in err, err
    (line,) = [line for line in err.splitlines() if line.startswith("nas")]
    if not err.startswith("usage:"):
        assert err == line + "\n", err
    return code, line
