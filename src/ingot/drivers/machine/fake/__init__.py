"""Hardware that is not there: every capability, instant or with seeded delays and failures."""
