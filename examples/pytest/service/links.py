"""Short names for long addresses.

    PUT /NAME      the address is the body; 201, or 409 where the name is taken
    GET /NAME      302 to the address; 404 where nobody has put it
    GET /health    200

postgres has all of them, redis those that were asked for lately.  Without redis everything goes on,
slower; without postgres what redis remembers is still answered, and the rest is 503.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis

MIGRATIONS = (
    "CREATE TABLE link (name text PRIMARY KEY, address text NOT NULL)",
    "ALTER TABLE link ADD COLUMN visits integer NOT NULL DEFAULT 0",
)
remembered = redis.Redis(host="redis", socket_timeout=1, socket_connect_timeout=1)


def ask(query, *values):
    """The first row, or None."""
    connection = psycopg2.connect(os.environ["DATABASE"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def migrate():
    """Bring the database to the newest version, one step after the other."""
    ask("CREATE TABLE IF NOT EXISTS version (done integer NOT NULL)")
    done = (ask("SELECT max(done) FROM version") or (None,))[0] or 0
    for number, statement in enumerate(MIGRATIONS[done:], start=done + 1):
        ask(f"{statement}; INSERT INTO version VALUES (%s)", number)
        print(f"migrated to version {number}", flush=True)


def address_of(name):
    try:
        found = remembered.get(name)
        if found is not None:
            return found.decode()
    except redis.RedisError as error:
        print(f"without redis: {error}", flush=True)
    row = ask("UPDATE link SET visits = visits + 1 WHERE name = %s RETURNING address", name)
    if row is None:
        return None
    try:
        remembered.set(name, row[0], ex=int(os.environ["KEEP_SECONDS"]))
    except redis.RedisError as error:
        print(f"not remembered: {error}", flush=True)
    return row[0]


class Links(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path[1:]
        try:
            address = "" if name == "health" else address_of(name)
        except psycopg2.Error as error:
            self.answer(503, f"no database: {error}\n")
            return
        if name == "health":
            self.answer(200, "ok\n")
        elif address is None:
            self.answer(404, "no such link\n")
        else:
            self.answer(302, "", Location=address)

    def do_PUT(self):
        address = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            ask("INSERT INTO link (name, address) VALUES (%s, %s)", self.path[1:], address)
        except psycopg2.IntegrityError:
            self.answer(409, "the name is taken\n")
        except psycopg2.Error as error:
            self.answer(503, f"no database: {error}\n")
        else:
            self.answer(201, "")

    def answer(self, status, text, **headers):
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, text, *values):
        if self.path != "/health":
            print(text % values, flush=True)


if __name__ == "__main__":
    # as PID 1 a signal without a handler would be ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    migrate()
    ThreadingHTTPServer(("", 8000), Links).serve_forever()
