"""`python -m orchestrator` is `pcompose`."""

from orchestrator.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
