"""Hands on a host: daemons that follow plans.

Services write plans (`plans`), whole documents with a generation; the daemons here make the host agree with
them and say which generation they have reached.
"""
