"""Adds one to the counter five times a second and says so now and then."""

import os
import time
from urllib.request import Request, urlopen

while True:
    with urlopen(Request(f"{os.environ['STORE']}/count", method="POST"), timeout=5) as answer:
        count = int(answer.read())
    if count % 25 == 1:
        print(f"worker: counted to {count}")
    time.sleep(0.2)
