"""A plan carried out on the workers of a cluster: each job to its end once, whichever of them are lost on the way."""
