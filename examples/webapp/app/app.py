"""One page: the newest row of a table in postgres, and how often redis has counted a visit."""

import html
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis

counter = redis.Redis(host="redis", socket_timeout=2)


def database():
    return psycopg2.connect(
        host="postgres",
        user=os.environ["POSTGRES_USER"],
        password=os.environ["POSTGRES_PASSWORD"],
        dbname=os.environ["POSTGRES_DB"],
        connect_timeout=2,
    )


def prepare():
    """The table and, the first time, its first row."""
    connection = database()
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS greeting (id serial PRIMARY KEY, words text)")
        cursor.execute(
            "INSERT INTO greeting (words) SELECT %s WHERE NOT EXISTS (SELECT 1 FROM greeting)",
            ("hello from postgres",),
        )
    connection.close()


def newest_row():
    connection = database()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, words FROM greeting ORDER BY id DESC LIMIT 1")
            return cursor.fetchone()
    finally:
        connection.close()


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            if self.path == "/health":
                counter.ping()
                body = "ok\n"
            else:
                body = self.page()
            self.answer(200, body)
        except (psycopg2.Error, redis.RedisError) as error:
            self.answer(503, f"not now: {html.escape(str(error))}\n")

    def page(self):
        number, words = newest_row()
        visits = counter.incr("visits")
        return (
            f"<!doctype html>\n<title>{html.escape(os.environ['TITLE'])}</title>\n"
            f"<h1>{html.escape(os.environ['TITLE'])}</h1>\n"
            f"<p>row {number}: {html.escape(words)}</p>\n<p>visits: {visits}</p>\n"
        )

    def answer(self, status, body):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, text, *values):
        if self.path != "/health":
            print(text % values, file=sys.stderr)


if __name__ == "__main__":
    # as PID 1 a signal without a handler would be ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prepare()
    ThreadingHTTPServer(("", 8000), Page).serve_forever()
