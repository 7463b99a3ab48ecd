"""What a host is made of: a folder that stands alone. It needs torch, numpy and the standard library, nothing else."""
