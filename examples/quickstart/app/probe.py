"""Health of the store: it answers with a number."""

from urllib.request import urlopen

with urlopen("http://127.0.0.1:8000/count", timeout=2) as answer:
    print("count is", int(answer.read()))
