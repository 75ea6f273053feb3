"""Looking into a backend without taking anything: what is there, is it intact, one file of it. Nothing here writes."""
