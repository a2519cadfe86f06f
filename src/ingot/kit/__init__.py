"""The ground floor: what every service stands on. It knows no cloud words and imports nothing of ours.

faults      what can go wrong, told without HTTP
clock       the only source of time and of sleep
ids         identifiers
db          connections and transactions on SQLite and PostgreSQL
dbfaults    what a database's errors mean
dbfile      SQLite's file, which may be taken away
dburls      URLs of PostgreSQL, for its driver and its programs
gate        how many serializable transactions are under way at once
kept        statements whose text is made once, for one row or for many
together    rows that many ask for at the same moment, read by one query
ending      tasks of our own are cancelled, and seen to end
audit       who changed what, and who was refused: written, and told
auditrecords  one such record
deeds       a request in the words of such a record
refusals    refused requests, gathered
events      what happened, as rows and as a live stream
lease       whether this process may still give orders to hardware
processes   whether another process of this machine still lives
vault       secrets at rest
keyfiles    files of secret keys
policy      who may do what: oslo.policy's rule language, compiled
policyfile  an operator's own rules
brake       who guesses passwords waits, and nobody else
standalone  callers where there is no identity service
versions    microversions and fields that appear with them
web         the table of operations, from which routing, checks and documents come
routes      which endpoint answers on a path
asgi        from that table to the web framework
channels    websockets beside it
wire        from octets to checked values
openapi     documents from the table
paging      limit, marker and next links
files       sending files with ranges
places      where the value of a setting came from
foreign     what others send us, made safe to hold and to show
patterns    regular expressions that others write
peers       network addresses of whoever sends
proxies     proxies before us, and whom they speak for
egress      whom this process asks because others said so
ownhost     which addresses are this host's own
outgoing    asking others over HTTP, within bounds
serverevents  what an outside Nova is told
namespace   living in a network namespace
installers  where Python packages come from
log         one calm log, secrets filtered
"""
