"""What lies in `golden/`: strict JSON, packed arrays, the volume of a spec, the list of files. No torch, no oracle."""
