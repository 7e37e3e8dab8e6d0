#!/bin/sh
# What `make demo` runs: the quickstart stack from nothing to nothing.  It works in a network and
# mount namespace of its own and keeps its state in a temporary directory, so the machine is
# left as it was.
set -eu
cd "$(dirname "$0")"

if [ "$(id -u)" != 0 ]; then
  echo "demo: it needs root, for namespaces of its own; as an ordinary user, do it yourself:" >&2
  echo "      cd examples/quickstart && pcompose up -d --wait; docs/rootless.md says what you need" >&2
  exit 1
fi
if [ -z "${PCOMPOSE_DEMO:-}" ]; then
  PCOMPOSE_DEMO=$(mktemp -d)
  export PCOMPOSE_DEMO PCOMPOSE_DATA="$PCOMPOSE_DEMO/data" PCOMPOSE_RUN="$PCOMPOSE_DEMO/run"
  status=0
  unshare --net --mount -- sh ./demo.sh || status=$?
  rm -rf "$PCOMPOSE_DEMO"
  exit "$status"
fi

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }
page() { python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:8080", timeout=5).read().decode(), end="")'; }

# A new network namespace has its loopback interface down.
python3 - <<'PY'
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1 | 64))  # SIOCSIFFLAGS: UP, RUNNING
PY

trap 'pcompose down -v -t 1 >/dev/null 2>&1 || true' EXIT
say pcompose plan || [ $? -eq 2 ]
say pcompose up -d --wait
say pcompose ps
echo; echo "the page on 127.0.0.1:8080, twice:"
page
page
say pcompose exec -T worker cat /etc/hosts
say pcompose logs --tail 2
say pcompose up -d
echo; echo "with GREETING changed, only web is to be replaced:"
sed 's/Hello from pcompose/Good evening/' compose.yaml >"$PCOMPOSE_DEMO/evening.yaml"
say pcompose --project-directory . -f "$PCOMPOSE_DEMO/evening.yaml" up -d --wait
page
say pcompose down -v
trap - EXIT
echo; echo "demo: done, nothing is left"
