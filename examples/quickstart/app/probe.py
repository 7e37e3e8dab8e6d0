"""Health of a service: it answers the given address with a page."""

import sys
from urllib.request import urlopen

with urlopen(sys.argv[1], timeout=2) as answer:
    print(answer.status, answer.read(80))
