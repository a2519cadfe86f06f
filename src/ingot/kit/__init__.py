"""The ground floor: what every room stands on. It knows no cloud words and imports nothing of ours.

faults    what can go wrong, told without HTTP
clock     the only source of time and of sleep
ids       identifiers
db        connections and transactions on SQLite and PostgreSQL
policy    who may do what: oslo.policy's rule language, compiled
versions  microversions and fields that appear with them
web       the table of operations, from which routing, checks and documents come
paging    limit, marker and next links
log       one calm log, secrets filtered
"""
