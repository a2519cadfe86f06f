"""Redfish trees of real controllers in small: each vendor's shapes, names, gaps and refusals.

Made by us from the facts of public captures and of other clients' notes; no document of theirs is here.
"""

from tests.trees.build import Tree, Wanted
from tests.trees.vendors import TREES

__all__ = ["TREES", "Tree", "Wanted"]
