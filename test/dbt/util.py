"""Small things that the test modules share."""
from dbt.tests.util import run_dbt


def build(args=("run",), expect_pass=True):
    """Run dbt; the action of each stream table by model name, such as {'m': 'UNCHANGED'}."""
    results = run_dbt(list(args), expect_pass=expect_pass)
    return {r.node.name: action(r) for r in results}


def action(result):
    return (result.message or "").split(" ")[0]


def error_of(args, name):
    """The message of one failing model."""
    results = run_dbt(list(args), expect_pass=False)
    return next(r.message for r in results if r.node.name == name)
