"""Clusters that a test starts, crashes, restarts, copies: each with the extension preloaded, or not."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2
import pytest

BIN = subprocess.run([os.environ["PG_CONFIG"], "--bindir"], check=True, capture_output=True, text=True).stdout.strip()
ROOT = os.getuid() == 0
USER = next(u for u in ("postgres", "nobody") if subprocess.run(["id", u], capture_output=True).returncode == 0)


def as_server(*command, check=True):
    """PostgreSQL's programs refuse to run as root."""
    if ROOT:
        group = subprocess.run(["id", "-g", USER], capture_output=True, text=True).stdout.strip()
        command = ["setpriv", "--reuid", USER, "--regid", group, "--clear-groups", "env", "HOME=/tmp", *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done


def server_is_away(error):
    """Whether an error is of the connection, not of the statement: none from the server, or one of its shutting down."""
    return error.pgcode is None or error.pgcode.startswith("57P")


class Cluster:
    def __init__(self, preload=True, settings=(), base_of=None, start=True):
        self.dir = Path(tempfile.mkdtemp(prefix="pgstream-t-", dir="/tmp"))
        self.dir.chmod(0o755)
        if ROOT:
            shutil.chown(self.dir, USER)
        self.data = self.dir / "data"
        if base_of:
            as_server(f"{BIN}/pg_basebackup", "-h", str(base_of.dir), "-p", "5432", "-U", "postgres", "-D", str(self.data), "-R", "-c", "fast")
        else:
            as_server(f"{BIN}/initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync")
        lines = ["port = 5432", "listen_addresses = ''", f"unix_socket_directories = '{self.dir}'", "fsync = off", "max_worker_processes = 20",
                 "restart_after_crash = on", "log_min_messages = info", *settings]
        if preload:
            lines.append("shared_preload_libraries = 'dbt_pgstream'")
        with open(self.data / "postgresql.conf", "a") as f:
            f.write("\n".join(lines) + "\n")
        if start:
            self.start()

    def start(self):
        try:
            as_server(f"{BIN}/pg_ctl", "-D", str(self.data), "-l", str(self.dir / "log"), "-w", "-t", "60", "start")
        except RuntimeError as e:
            raise RuntimeError(f"{e}\n{self.log()[-2000:]}") from e

    def stop(self, mode="fast"):
        as_server(f"{BIN}/pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop", check=False)

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def promote(self):
        as_server(f"{BIN}/pg_ctl", "-D", str(self.data), "-w", "promote")

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect(self, dbname="postgres", seconds=30):
        """A new connection; waits for a server that is recovering from a crash."""
        end = time.monotonic() + seconds
        while True:
            try:
                connection = psycopg2.connect(host=str(self.dir), port=5432, user="postgres", dbname=dbname)
                connection.autocommit = True
                return connection
            except psycopg2.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def __call__(self, statement, dbname="postgres"):
        connection = self.connect(dbname)
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def value(self, statement, dbname="postgres"):
        rows = self(statement, dbname)
        return rows[0][0] if rows else None

    def retried(self, statement, seconds=30):
        """The value of a query on a server that may be going down or coming up."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.value(statement)
            except psycopg2.Error as e:
                if not server_is_away(e) or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def until(self, statement, wanted=True, seconds=60, dbname="postgres"):
        """Wait until a query gives what is wanted; says what it gave if it never does. Survives a server that restarts."""
        got = None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                got = self.value(statement, dbname)
                if got == wanted:
                    return
            except psycopg2.Error as e:
                if not server_is_away(e):
                    raise
                got = e
            time.sleep(0.05)
        raise AssertionError(f"{statement}: {got}, not {wanted}\n{self.log()[-2000:]}")

    def kill(self, pattern):
        """kill -9 the server processes of that title: a crash."""
        pids = [pid for (pid, kind) in self("SELECT pid, backend_type FROM pg_stat_activity") if kind == pattern]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def kill_postmaster(self):
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
        for p in [pid, *map(int, children)]:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.5)
        # where nobody reaps the dead, their process ids seem alive to the next postmaster
        for lock in (self.data / "postmaster.pid", self.dir / ".s.PGSQL.5432.lock", self.dir / ".s.PGSQL.5432"):
            lock.unlink(missing_ok=True)

    def log(self):
        return (self.dir / "log").read_text()

    def right(self, name, dbname="postgres"):
        """The stream table is its query: by verify, and by an EXCEPT ALL of our own."""
        view = self.value(f"SELECT viewid::text FROM dbt_pgstream_internal.stream WHERE relid = '{name}'::regclass", dbname)
        for a, b in ((view, name), (name, view)):
            if self(f"SELECT (x.*)::text FROM {a} x EXCEPT ALL SELECT (y.*)::text FROM {b} y", dbname):
                return False
        return self.value(f"SELECT ok FROM dbt_pgstream.verify_stream_table('{name}')", dbname)


@pytest.fixture
def make_cluster():
    made = []

    def make(*args, **kwargs):
        made.append(Cluster(*args, **kwargs))
        return made[-1]

    yield make
    for cluster in made:
        cluster.remove()
