"""Seeded fault schedules in virtual time: one seed, one world, and nothing in it may ever get stuck.

    python -m tests.schedules --seed 17 -v         one world, told
    python -m tests.schedules --first 1 --count 60 many

virtual   an event loop whose time jumps from sleeper to sleeper, without threads
rig       imaginary machines, their controllers and their agents: the far ends of both wires
host      one process of the cluster; it may be killed, frozen, cut off from its database, set to another time
site      nodes, hosts and the rig of one seed; what clients ask; what must always hold
acts      what may happen, drawn from the seed
run       one seed from its start to the proof that everything comes home
"""
