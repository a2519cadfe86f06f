"""Tests of the house itself: rules, routes, schema, drawings, documents."""
