"""How a change of the record is shown to whoever decides about it: on a terminal, as a page, and for programs."""
