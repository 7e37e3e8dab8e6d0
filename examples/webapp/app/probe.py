"""Exit 0 if the address given answers with 200."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=2) as answer:
    sys.exit(answer.status != 200)
