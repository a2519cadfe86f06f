"""HTTP on both sides: the server adapter, websockets, the client, and what of a peer is believed."""
