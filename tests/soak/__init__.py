"""A soak: steady load, random faults and key rotations, and nothing may be lost or pile up."""
