"""How it is shown what is different between runs, releases and packages."""
