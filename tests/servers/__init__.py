"""Real servers for the tests: on free ports, in folders of their own, ended by who began them."""
