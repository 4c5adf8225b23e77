"""Real dbt on the private cluster that test/run.sh has started: one database for each worker process."""
import os
import shutil
from pathlib import Path

import psycopg2
import pytest

pytest_plugins = ["dbt.tests.fixtures.project"]

PACKAGE = Path(__file__).resolve().parents[2] / "dbt_package"


def connect(dbname):
    connection = psycopg2.connect(host=os.environ["PGHOST"], port=os.environ["PGPORT"], user=os.environ["PGUSER"], dbname=dbname)
    connection.autocommit = True
    return connection


@pytest.fixture(scope="session")
def database(worker_id):
    name = f"dbt_{worker_id}"
    admin = connect("postgres").cursor()
    admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    admin.execute(f'CREATE DATABASE "{name}"')
    with connect(name) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION dbt_pgstream")
        for role in ("dbt_reader", "dbt_writer", "dbt_auditor"):
            cursor.execute(f"DO $$BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END$$")
    return name


@pytest.fixture(scope="class")
def dbt_profile_target(database):
    return {
        "type": "postgres",
        "threads": 4,
        "host": os.environ["PGHOST"],
        "port": int(os.environ["PGPORT"]),
        "user": os.environ["PGUSER"],
        "pass": "",
        "dbname": database,
    }


@pytest.fixture(scope="class")
def packages(project_root):
    """Instead of "dbt deps": the package where dbt looks for installed ones."""
    shutil.copytree(PACKAGE, Path(project_root) / "dbt_packages" / "dbt_pgstream", dirs_exist_ok=True)
    return {}


@pytest.fixture(scope="class", autouse=True)
def installed_package(project_root):
    shutil.copytree(PACKAGE, Path(project_root) / "dbt_packages" / "dbt_pgstream", dirs_exist_ok=True)


class Sql:
    """SQL beside dbt, and the oracle."""

    def __init__(self, project):
        self.connection = connect(project.database)
        self.cursor = self.connection.cursor()
        self.schema = project.test_schema
        self.cursor.execute(f'SET search_path = "{self.schema}", public')

    def __call__(self, statement):
        self.cursor.execute(statement)
        return self.cursor.fetchall() if self.cursor.description else None

    def value(self, statement):
        return self(statement)[0][0]

    def refresh(self, name):
        self(f"SELECT dbt_pgstream.refresh_stream_table('{self.schema}.{name}')")

    def right(self, name):
        """The stream table is its query: by verify, and by an EXCEPT ALL of our own."""
        view = self.value(f"SELECT viewid::text FROM dbt_pgstream_internal.stream WHERE relid = '{self.schema}.{name}'::regclass")
        for a, b in ((view, f'"{self.schema}"."{name}"'), (f'"{self.schema}"."{name}"', view)):
            if self(f"SELECT (x.*)::text FROM {a} x EXCEPT ALL SELECT (y.*)::text FROM {b} y"):
                return False
        return self.value(f"SELECT ok FROM dbt_pgstream.verify_stream_table('{self.schema}.{name}')")

    def oid(self, name):
        return self.value(f"SELECT '{self.schema}.{name}'::regclass::oid::int8")


@pytest.fixture
def sql(project):
    helper = Sql(project)
    yield helper
    helper.connection.close()
