"""Runs the tests of a package and writes one JSON line for each; started by the suite's own Python.

usage: judge.py PACKAGE SHARE SHARES RESULTS WORD NAMES

SHARES processes divide the test classes among themselves; this one takes share SHARE. Only tests
with WORD in their name are run and, when the file NAMES holds any (one a line), only those. Nothing but the
standard library is used, since the environment is a foreign one.
"""

import importlib
import json
import pathlib
import sys
import time
import unittest


def plain(test):
    """The name of a test without the attributes that tempest adds in brackets."""
    return test.id().partition("[")[0]


def cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def discover(package):
    """All test cases under a package, by class: {"module.Class": [case, ...]}."""
    module = importlib.import_module(package)
    folder = pathlib.Path(module.__file__).parent
    top = folder
    for _ in package.split("."):
        top = top.parent
    suite = unittest.TestLoader().discover(str(folder), top_level_dir=str(top))
    found = {}
    for case in cases(suite):
        name = f"{type(case).__module__}.{type(case).__qualname__}"
        found.setdefault(name, []).append(case)
    return found


def divide(classes, share, shares):
    """The classes of one share: the largest first, each to the share with the least to do."""
    loads = [0] * shares
    mine = []
    for name in sorted(classes, key=lambda name: (-len(classes[name]), name)):
        least = loads.index(min(loads))
        loads[least] += len(classes[name])
        if least == share:
            mine.append(name)
    return mine


class Judge(unittest.TestResult):
    """Outcomes by name. What befalls a whole class befalls each of its tests."""

    def __init__(self, write):
        super().__init__()
        self.write = write
        self.told = set()
        self.whole = None
        self.started = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def tell(self, test, outcome, text=""):
        if not hasattr(test, "_testMethodName"):
            self.whole = self.whole or (outcome, text)
            return
        name = plain(test)
        if name in self.told and outcome == "pass":
            return  # a test may report a fault and end well all the same
        self.told.add(name)
        took = round(time.monotonic() - self.started, 3)
        self.write({"test": name, "outcome": outcome, "text": text, "took": took})

    def addSuccess(self, test):
        self.tell(test, "pass")

    def addExpectedFailure(self, test, err):
        self.tell(test, "pass")

    def addUnexpectedSuccess(self, test):
        self.tell(test, "fail", "passed, though its own author expects a failure")

    def addSkip(self, test, reason):
        self.tell(test, "skip", str(reason))

    def addFailure(self, test, err):
        self.tell(test, "fail", self._exc_info_to_string(err, test))

    addError = addFailure


def main():
    package, share, shares, results, word, names = sys.argv[1:]
    only = set(pathlib.Path(names).read_text().split())
    classes = {}
    for name, found in discover(package).items():
        wanted = [
            case for case in found if word in plain(case) and (not only or plain(case) in only)
        ]
        if wanted:
            classes[name] = wanted
    with open(results, "w") as file:

        def write(row):
            file.write(json.dumps(row) + "\n")
            file.flush()

        for name in divide(classes, int(share), int(shares)):
            judge = Judge(write)
            unittest.TestSuite(classes[name])(judge)
            outcome, text = judge.whole or ("fail", "gave no outcome")
            for case in classes[name]:
                if plain(case) not in judge.told or (judge.whole and outcome == "fail"):
                    judge.tell(case, outcome, text)
        write({"done": True})


if __name__ == "__main__":
    main()
