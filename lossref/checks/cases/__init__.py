"""Which cases a spec is asked about, beside those of material.py: what a target declares, other sizes and numbers."""
