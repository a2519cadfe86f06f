"""Outside judges: the conformance suites of others, run against a real `ingot serve`.

    python -m tools.conformance                    all suites, as `make conformance` does
    python -m tools.conformance tempest -k Ports   the tests of one suite whose names hold a word

Each suite lives in a Python environment of its own, made by uv from the pinned lists in `requirements/` and
kept under ~/.cache/ingot/conformance. `expected.txt` lists, one by one and with the reason, the tests that
must not pass yet. Anything else that fails or is skipped is an error, and so is a listed test that passes.
"""
